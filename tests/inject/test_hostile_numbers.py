"""Models whose numbers are too long for Python to write out, or whose tensors are parts of others."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, random_floats

from ftonnx.errors import ModelError
from ftonnx.inject import load_model


def matmul():
    """Return ``y = x @ w``."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weight = numpy_helper.from_array(random_floats(4, 4), "w")
    return model_of([node], [weight], inputs={"x": ("batch", 4)}, outputs={"y": ("batch", 4)})


def with_external(**keys):
    """Return the model with its weight in a file."""
    model = matmul()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin"} | keys).items():
        weight.external_data.add(key=key, value=value)
    return model


def with_a_constant(sizes):
    """Return the model with a constant of some shape beside it."""
    model = matmul()
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes), "shape"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["c"], name="huge"))
    return model


def with_a_segment():
    """Return the model whose weight says that it is the first part of one."""
    model = matmul()
    model.graph.initializer[0].segment.begin = 0
    model.graph.initializer[0].segment.end = 1
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (with_external(offset="9" * 19), r"external_data offset '9{18}'…, a whole number was expected"),
        (with_external(offset="9" * 5000), r"external_data offset '9{18}'…, a whole number was expected"),
        (with_external(length="9" * 5000), r"external_data length '9{18}'…, a whole number was expected"),
        (with_external(length="-1"), r"external_data length '-1', a whole number was expected"),
        (with_a_constant([2**40]), r"'huge' makes a constant of 1,099,511,627,776 elements"),
        (with_a_constant([2**62] * 300), r"'huge' makes a constant of 2\^18600 or more elements"),
        (with_a_segment(), r"tensor 'w' is one segment of a larger one"),
    ],
    ids=["offset", "long offset", "long length", "negative length", "constant", "large constant", "segment"],
)
def test_they_are_refused_in_one_line(tmp_path, model, message):
    """As any other model that is none."""
    (tmp_path / "w.bin").write_bytes(bytes(64))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=message) as raised:
        load_model(tmp_path / "m.onnx")
    assert len(str(raised.value)) < 400
