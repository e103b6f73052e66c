"""Sparse weights are quantized as the dense ones that they stand for."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import model_of, random_floats
from quant_graphs import disagreement

from ftonnx.errors import ModelError
from ftonnx.quant import quantize

node = helper.make_node
ROWS = random_floats(16, 8, seed=9, scale=1)
FLAT = np.array([0, 7, 13, 21, 22, 29])


def sparse_weight(name, *, axes=1, shape=(6, 5)):
    """Return a sparse tensor, its indices counting through it or along every axis."""
    values = numpy_helper.from_array(random_floats(len(FLAT), seed=1), name)
    where = FLAT if axes == 1 else np.stack(np.divmod(FLAT, shape[1]), axis=1)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(where, "where"), list(shape))


def net(*more):
    """Return a dense layer and one whose weight ``rare`` is left to the test."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "rare"], ["y"])]
    return model_of(
        [*more, *nodes], [("w", random_floats(8, 6))], inputs={"x": ("n", 8)}, outputs={"y": ("n", 5)}
    )  # fmt: skip


def sparse_initializer(axes):
    """Return the net with a sparse initializer."""
    model = net()
    model.graph.sparse_initializer.append(sparse_weight("rare", axes=axes))
    return model


MODELS = {
    "counted through": lambda: sparse_initializer(1),
    "along every axis": lambda: sparse_initializer(2),
    "in a Constant": lambda: net(node("Constant", [], ["rare"], sparse_value=sparse_weight(""))),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_sparse_weight_is_quantized_in_its_places(name):
    """Wherever it is stored; its zeros stay exact zeros."""
    model = MODELS[name]()
    result, report = quantize(model, [ROWS])
    assert report.weights == 2
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    codes = stored["rare_quantized"]
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(np.flatnonzero(codes), FLAT)
    assert disagreement(model, result, ROWS) < 0.05


def test_a_sparse_weight_that_no_memory_holds_is_refused():
    """By name, before anything is made of it."""
    model = net()
    model.graph.sparse_initializer.append(sparse_weight("rare", shape=(2**20, 2**20)))
    with pytest.raises(ModelError, match=r"'rare' of shape \(1048576, 1048576\) is over 2 GiB as a dense one"):
        quantize(model, [ROWS])
