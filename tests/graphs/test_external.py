"""Copies, and tensors whose bytes are taken."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import small_cnn

from ftonnx.graphs import LOCATION, copy_of, take_bytes, with_outputs_too


@pytest.mark.parametrize("raw", [True, False])
def test_a_tensor_without_bytes_keeps_name_type_and_shape(raw):
    """Whichever field its data was in."""
    array = np.ones((2, 3), np.float32)
    tensor = (
        numpy_helper.from_array(array, "w")
        if raw
        else helper.make_tensor("w", onnx.TensorProto.FLOAT, (2, 3), array.ravel())
    )
    take_bytes(tensor, array.nbytes)
    assert (tensor.name, tensor.data_type, list(tensor.dims)) == ("w", onnx.TensorProto.FLOAT, [2, 3])
    assert not tensor.raw_data
    assert not tensor.float_data
    entries = {entry.key: entry.value for entry in tensor.external_data}
    assert entries == {"location": LOCATION, "offset": "0", "length": "24"}
    assert tensor.data_location == onnx.TensorProto.EXTERNAL


def test_a_copy_with_more_outputs_leaves_the_model_alone():
    """Outputs that are there already are not given twice."""
    model = small_cnn()
    before = model.SerializeToString()
    more = with_outputs_too(model, ["b", "y", "c"])
    assert [value.name for value in more.graph.output] == ["y", "b", "c"]
    copy = copy_of(model)
    copy.graph.name = "another"
    assert model.SerializeToString() == before
