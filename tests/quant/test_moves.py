"""Stored tensors that are only moved before they are used: stored as they are used, whatever else reads them."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from quant_graphs import branch, disagreement, run_all
from quant_kit import node, tensors

from ftonnx.export import clip_activations, find_activations
from ftonnx.quant import QuantSettings, quantize
from ftonnx.quant.moves import store_moved
from ftonnx.runtime import FaultySession

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 2, 8, 8)).astype(np.float32)
TABLE = RNG.normal(size=(64, 2)).astype(np.float32)
CHAIN = (
    node("Reshape", ["table", "shape"], ["t1"], name="reshape"),
    node("Transpose", ["t1"], ["t2"], name="transpose", perm=[2, 0, 1]),
    node("Unsqueeze", ["t2", "axes"], ["bias"], name="unsqueeze"),
)
"""How a transformer's table of relative positions becomes the bias of its heads."""


def attention(*more, outputs=("y",)):
    """A GELU between two products, the bias of heads added behind it, and further nodes."""
    stored = [numpy_helper.from_array(RNG.normal(0, 0.3, (8, 8)).astype(np.float32), name) for name in ("w1", "w2")]
    stored += [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array([8, 8, 2]), "shape")]
    stored += [numpy_helper.from_array(np.array([0]), "axes")]
    nodes = [
        node("MatMul", ["x", "w1"], ["a"], name="first"),
        node("Gelu", ["a"], ["g"], name="gelu"),
        *CHAIN,
        node("Add", ["g", "bias"], ["s"], name="add"),
        node("MatMul", ["s", "w2"], ["y"], name="second"),
        *more,
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 8, 8])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "attention", given, made, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def operators(model):
    """Names of its nodes."""
    return [each.name for each in model.graph.node]


def moved(model, *excluded):
    """The model with what is moved stored as it is used, which computes the same to the last bit."""
    after = type(model).FromString(model.SerializeToString())
    store_moved(after, frozenset(excluded))
    wanted, got = run_all(model, {"x": X}), run_all(after, {"x": X})
    assert {name: value.tobytes() for name, value in wanted.items()} == {n: v.tobytes() for n, v in got.items()}
    return after


def test_a_table_is_stored_as_the_bias_that_it_becomes():
    """Under its name; shapes and axes are gone with the nodes."""
    after = moved(attention())
    assert operators(after) == ["first", "gelu", "add", "second"]
    stored = tensors(after)
    assert stored.keys() == {"w1", "w2", "table"}
    np.testing.assert_array_equal(stored["table"], TABLE.reshape(8, 8, 2).transpose(2, 0, 1)[np.newaxis])


def test_a_table_that_others_read_stays_beside_it():
    """Both uses have what they had."""
    after = moved(attention(node("ReduceSum", ["table"], ["z"], name="sum"), outputs=("y", "z")))
    stored = tensors(after)
    np.testing.assert_array_equal(stored["table"], TABLE)
    assert stored["t1"].shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (attention(outputs=("y", "bias")), ["unsqueeze"]),
        (attention(outputs=("y", "t1")), ["reshape", "transpose", "unsqueeze"]),
        (
            attention(
                node("ReduceSum", ["x"], ["total"], name="total", keepdims=0),
                node("Greater", ["total", "total"], ["more"], name="greater"),
                node(
                    "If", ["more"], ["z"], name="if", then_branch=branch([node("Abs", ["bias"], ["p"])], "p"),
                    else_branch=branch([node("Neg", ["bias"], ["q"])], "q"),
                ),
                outputs=("y", "z"),
            ),
            ["unsqueeze"],
        ),
    ],
)  # fmt: skip
def test_what_is_asked_for_by_name_is_still_made(model, left):
    """Outputs of the model, and what branches read."""
    assert [name for name in operators(moved(model)) if name in {each.name for each in CHAIN}] == left


def test_excluded_nodes_stay():
    """And what is behind them."""
    assert operators(moved(attention(), "transpose"))[2:4] == ["transpose", "unsqueeze"]


def clipped():
    """The same with a clipped GELU, which is a function."""
    model = attention()
    limits = {found.name: np.float32(1.5).reshape(()) for found in find_activations(model)}
    return clip_activations(model, limits)[0]


def test_in_a_protected_model_the_table_is_quantized_and_flipped_in_place():
    """Its bits are those of the int8 codes, and runs with faults are no runs of files that are written anew."""
    model = clipped()
    quantized = quantize(model, [X], QuantSettings(calibration="minmax")).proto
    stored = tensors(quantized)
    assert stored["table_quantized"].itemsize == 1
    assert disagreement(model, quantized, X) < 0.05
    session = FaultySession(quantized, threads=1, strategy="live", sample=X)
    assert (session.strategy, session.fallback) == ("live", None)
