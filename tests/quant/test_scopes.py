"""Branches and loop bodies that read values of the graph around them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats
from quant_graphs import branch, conv, disagreement, head, run_all
from quant_kit import batches, crelu_function, node, operators

from ftonnx.quant import QuantSettings, quantize
from ftonnx.quant.scopes import show_outer_reads

DATA = batches(2, 8)
CLOSE = 0.04
FORMATS = pytest.mark.parametrize("form", ["qdq", "qoperator"])
VALUES = pytest.mark.parametrize("value", ["a", "r", "e"])
"""Output of a Conv before a Relu, of the Relu, of the last Conv."""


def settings(form):
    """Return settings whose ranges are those of the data, so that nothing saturates."""
    return QuantSettings(quant_format=form, calibration="minmax")


def condition(low):
    """Return nodes and initializers of ``so``: whether the inputs sum to more than ``low``."""
    nodes = [
        node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
        node("Greater", ["sum", "low"], ["so"], name="so"),
    ]
    return nodes, [("low", np.float32(low))]


def net_around(control, *, stored=()):
    """Return Conv, Relu, Conv, the given nodes, which make ``d`` out of ``a``, ``r`` or ``e``, and a head."""
    nodes, of_head = head("s")
    before, of_condition = condition(-1e6)
    return model_of(
        [
            conv("x", "a", "w", "b"), node("Relu", ["a"], ["r"], name="relu"), conv("r", "e", "v"),
            *before, *control, node("Add", ["d", "e"], ["s"], name="add"), *nodes,
        ],
        [
            ("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1)),
            ("v", random_floats(8, 8, 3, 3, seed=2, scale=0.1)), *of_head, *of_condition, *stored,
        ],
    )  # fmt: skip


def if_node(value, outcome="d"):
    """Return an If whose branches give a value of the graph as it is, and negated."""
    as_it_is = branch([node("Identity", [value], ["same"])], "same")
    negated = branch([node("Neg", [value], ["other"])], "other")
    return node("If", ["so"], [outcome], name="if", then_branch=as_it_is, else_branch=negated)


def loop_node(value, inner=None):
    """Return a Loop that adds a value of the graph to ``e`` three times."""
    nodes = [node("Identity", ["go"], ["go_on"])]
    source = value
    if inner is not None:
        nodes.append(inner)
        source = inner.output[0]
    nodes.append(node("Add", ["carried", source], ["added"]))
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("added", TensorProto.FLOAT, None),
        ],
    )
    return node("Loop", ["turns", "", "e"], ["d"], name="loop", body=body)


@FORMATS
@VALUES
def test_an_if_reads_what_it_read(form, value):
    """Not what a Relu that was removed got, nor a value that is gone; nodes stand in order."""
    model = net_around([if_node(value)])
    result, _ = quantize(model, DATA, settings(form))
    onnx.checker.check_model(result, full_check=True)
    assert operators(result)["If"] == 1
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@VALUES
def test_a_loop_reads_what_it_read(form, value):
    """In every turn."""
    model = net_around([loop_node(value)], stored=[("turns", np.array(3))])
    result, _ = quantize(model, DATA, settings(form))
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@VALUES
def test_an_if_in_a_loop_reads_what_it_read(form, value):
    """Two graphs around it."""
    model = net_around([loop_node(value, if_node(value, "chosen"))], stored=[("turns", np.array(2))])
    result, _ = quantize(model, DATA, settings(form))
    assert disagreement(model, result, DATA[0]) < CLOSE


def test_a_branch_reads_a_pooling_behind_codes():
    """ONNX Runtime's optimizer ended the process over a MaxPool between a DequantizeLinear and an If."""
    nodes, stored = head("s")
    before, bound = condition(-1e6)
    pool = node("MaxPool", ["t"], ["m"], name="moved", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    model = model_of(
        [
            # the pooling comes before the Add, for which its input gets codes
            conv("x", "a", "w"), node("Tanh", ["a"], ["t"], name="tanh"), pool, *before, if_node("m"),
            node("Add", ["d", "t"], ["s"], name="add"), *nodes,
        ],
        [("w", random_floats(8, 3, 3, 3)), *stored, *bound],
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings("qdq"))
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_a_branch_reads_a_crelu(form):
    """It gets what was clipped."""
    model = net_around([if_node("r")])
    clamp = next(each for each in model.graph.node if each.name == "relu")
    clamp.domain = "ftonnx"
    clamp.op_type = "CReLU"
    clamp.input.append("T")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "T"))
    model.functions.append(crelu_function(20))
    model.opset_import.add(domain="ftonnx", version=1)
    model.graph.output.append(helper.make_tensor_value_info("d", TensorProto.FLOAT, [None, 8, 8, 8]))
    result, report = quantize(model, DATA, settings(form))
    assert report.clipped[0].quantized_threshold is not None
    assert run_all(result, {"x": DATA[0]})["d"].max() <= 255 / 254


def test_a_name_that_a_branch_defines_means_its_own_value():
    """It is not renamed, though the graph around it has one of that name."""
    then = branch([node("Neg", ["x"], ["a"]), node("Abs", ["a"], ["t"])], "t")
    other = branch([node("Abs", ["a"], ["u"])], "u")
    model = model_of(
        [
            node("Neg", ["x"], ["a"], name="first"),
            *condition(0)[0],
            node("If", ["so"], ["y"], name="if", then_branch=then, else_branch=other),
        ],
        condition(0)[1],
        outputs={"y": ["batch", 3, 8, 8]},
    )
    typed = onnx.shape_inference.infer_shapes(model)
    show_outer_reads(typed)
    copy = next(each for each in typed.graph.node if each.op_type == "Sum")
    assert list(copy.input) == ["a"]
    control = next(each for each in typed.graph.node if each.op_type == "If")
    inner = {attribute.name: attribute.g for attribute in control.attribute}
    assert [list(each.input) for each in inner["then_branch"].node] == [["x"], ["a"]]
    assert [list(each.input) for each in inner["else_branch"].node] == [list(copy.output)]


def test_a_graph_without_subgraphs_is_left_alone():
    """As most are."""
    nodes, stored = head("a")
    model = onnx.shape_inference.infer_shapes(
        model_of([conv("x", "a", "w"), *nodes], [("w", random_floats(8, 3, 3, 3)), *stored])
    )
    before = model.SerializeToString(deterministic=True)
    show_outer_reads(model)
    assert model.SerializeToString(deterministic=True) == before
