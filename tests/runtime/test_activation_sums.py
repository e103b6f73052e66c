"""Sums of integers between convolutions that keep channels last: in that layout, with the same numbers."""

import numpy as np
import onnxruntime as ort
import pytest
from mitigate_kit import images_of, residual_net
from onnx import TensorProto, helper, numpy_helper

from ftonnx.graphs import copy_of
from ftonnx.inject import FaultSpace, load_model
from ftonnx.quant import quantize
from ftonnx.runtime.activations.optimized import optimized_graph
from ftonnx.runtime.activations.sums import sum_before_turning
from ftonnx.sessions import SessionOptions

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def summed(other=FIRST, outputs=("y",)):
    """Two tensors that are turned round and summed; the sum is turned back for one reader, and read by another."""
    nodes = [
        helper.make_node("Transpose", ["a"], ["ta"], perm=FIRST),
        helper.make_node("Transpose", ["b"], ["tb"], perm=other),
        helper.make_node("QLinearAdd", ["ta", "s", "z", "tb", "s", "z", "s", "z"], ["sum"], domain="com.microsoft"),
        helper.make_node("Transpose", ["sum"], ["back"], perm=LAST),
        helper.make_node("DequantizeLinear", ["back", "s", "z"], ["y"]),
        helper.make_node("DequantizeLinear", ["sum", "s", "z"], ["x"]),
    ]
    kinds = {"y": TensorProto.FLOAT, "x": TensorProto.FLOAT, "back": TensorProto.UINT8}
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, [2, 3, 3, 3]) for name in "ab"],
        [helper.make_tensor_value_info(name, kinds[name], None) for name in (*outputs, "x")],
        [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.uint8(3), "z")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def run(model):
    """Return the outputs of two random tensors."""
    rng = np.random.default_rng(0)
    feeds = {name: rng.integers(0, 256, (2, 3, 3, 3), np.uint8) for name in "ab"}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


@pytest.mark.parametrize("outputs", [("y",), ("y", "back")])
def test_a_sum_comes_before_its_tensors_are_turned(outputs):
    """Nobody reads the transposes any more but who wants the turned sum; what is an output keeps its node."""
    before = summed(outputs=outputs)
    after = copy_of(before)
    sum_before_turning(after)
    for mine, theirs in zip(run(after), run(before), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    made = {name: node for node in after.graph.node for name in node.output}
    total = next(node for node in after.graph.node if node.op_type == "QLinearAdd")
    assert (total.input[0], total.input[3]) == ("a", "b")
    read = made["y"].input[0]
    assert read == ("back" if "back" in outputs else total.output[0])
    assert made[made["x"].input[0]].op_type == "Transpose"


def test_tensors_that_are_turned_otherwise_are_left_alone():
    """Their sum is another one."""
    model = summed(other=LAST)
    before = model.SerializeToString(deterministic=True)
    sum_before_turning(model)
    assert model.SerializeToString(deterministic=True) == before


def test_no_sum_of_a_network_waits_for_a_transpose():
    """Though all its activations are outputs while ONNX Runtime optimizes it."""
    model = quantize(residual_net("relu"), [images_of(16)]).proto
    space = FaultSpace.of(model, roles=("activation",)).for_units(4)
    graph = optimized_graph(load_model(model), space, SessionOptions(threads=1)).model.graph
    turned = {name for node in graph.node if node.op_type == "Transpose" for name in node.output}
    sums = [node for node in graph.node if node.op_type == "QLinearAdd"]
    assert len(sums) == 1
    assert not turned & set(sums[0].input)
