"""Stored tensors that are hidden from kernels as constants are read at every run."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from onnx_zoo import model_of, random_floats

from ftonnx.graphs import copy_of, hide_constants


def dense():
    """Return a MatMul, whose kernel packs its weight, and an Add."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    return model_of(nodes, [("w", random_floats(8, 5)), ("b", random_floats(5))])


def opened(model, weight):
    """Open a session that reads an array of ours in place of a weight; the file for it is a hole."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    value = ort.OrtValue.ortvalue_from_numpy(weight)
    options.add_initializer("w", value)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), value


@pytest.mark.parametrize("hidden", [True, False])
def test_a_kernel_packs_a_constant_and_reads_what_is_hidden(hidden):
    """An array that is changed afterwards is seen only where it is no constant."""
    model = dense()
    if hidden:
        hide_constants(model, {"w"})
    weight = random_floats(8, 5).copy()
    session, _ = opened(model, weight)
    x = random_floats(1, 3, 8, 8, seed=1)
    before = session.run(None, {"x": x})[0]
    weight *= 2
    assert np.array_equal(session.run(None, {"x": x})[0], before) is not hidden


def test_only_the_named_are_listed_once_and_nobody_has_to_feed_them():
    """With their types and shapes; the model stays valid."""
    model = dense()
    original = copy_of(model)
    hide_constants(model, {"w", "nobody"})
    hide_constants(model, {"w"})
    assert [value.name for value in model.graph.input] == ["x", "w"]
    assert model.graph.input[1] == helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [8, 5])
    onnx.checker.check_model(model, full_check=True)
    del model.graph.input[1:]
    assert model == original
