"""Batch sizes that a model insists on."""

import numpy as np
import onnx
import pytest

import ftonnx
from ftonnx.models import resolve
from ftonnx.runtime import fixed_batch


@pytest.mark.parametrize(("declared", "expected"), [(4, 4), (0, None), (-1, None), ("n", None)])
def test_a_batch_size_is_fixed_only_when_it_is_a_positive_number(declared, expected):
    """Exporters write a free size as a name, as nothing, or as -1."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    dim = value.type.tensor_type.shape.dim[0]
    dim.Clear()
    setattr(dim, "dim_param" if isinstance(declared, str) else "dim_value", declared)
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [value], []))
    assert fixed_batch(model) == expected


def test_a_campaign_runs_a_model_whose_free_batch_is_written_as_minus_one():
    """A size of -1 is free in a whole campaign, not a batch of minus one image."""
    path = ftonnx.load_model(resolve("digits"))
    model = onnx.ModelProto()
    model.CopyFrom(path.proto)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    result = ftonnx.evaluate(model, [(images, np.arange(5))], rates=[0.0], repeats=2)
    assert result.settings["batch_size"] == 128
    assert result.rates[0].masked.mean == 1.0
