"""Models that store their values in many places."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from small_models.base import BATCH, Kind, cnn, floats, ints, model_of, value
from small_models.layers import SEQUENCE

__all__ = ["KINDS"]

node = helper.make_node

_ROWS: Final = floats(2, 32, seed=98)
_TABLE: Final = (value("x", (BATCH, 32)),)
_STEPS: Final = (value("x", (BATCH, 7, 4)),)
_HIDDEN: Final = 6


def _constants(_: Path) -> onnx.ModelProto:
    model = cnn()
    for tensor in reversed(model.graph.initializer):
        constant = node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, constant)
    del model.graph.initializer[:]
    return model


def _subgraph(
    nodes: Sequence[onnx.NodeProto],
    output: Sequence[onnx.ValueInfoProto],
    inputs: Sequence[onnx.ValueInfoProto] = (),
    **stored: np.ndarray,
) -> onnx.GraphProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    return helper.make_graph(nodes, "body", inputs, output, tensors)


def _branches(_: Path) -> onnx.ModelProto:
    then = _subgraph([node("MatMul", ["x", "then_w"], ["then_y"])], [value("then_y", None)], then_w=floats(32, 5))
    other = _subgraph(
        [node("MatMul", ["x", "else_w"], ["else_y"])], [value("else_y", None)], else_w=floats(32, 5, seed=1)
    )
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["z"], then_branch=then, else_branch=other),
        node("MatMul", ["z", "last"], ["y"]),
    ]
    return model_of(nodes, {"zero": np.float32(0), "last": floats(5, 5, seed=2)}, inputs=_TABLE)


def _loop(_: Path) -> onnx.ModelProto:
    body = _subgraph(
        [
            node("Identity", ["go"], ["still"]),
            node("MatMul", ["state", "again"], ["m"]),
            node("Tanh", ["m"], ["next"]),
        ],
        [value("still", (), TensorProto.BOOL), value("next", None)],
        [value("step", (), TensorProto.INT64), value("go", (), TensorProto.BOOL), value("state", None)],
        again=floats(5, 5, seed=1),
    )
    nodes = [
        node("MatMul", ["x", "first"], ["start"]),
        node("Loop", ["times", "", "start"], ["y"], body=body),
    ]
    return model_of(nodes, {"first": floats(32, 5), "times": np.int64(3)}, inputs=_TABLE)


def _scan(_: Path) -> onnx.ModelProto:
    body = _subgraph(
        [
            node("MatMul", ["state", "recurrent"], ["r"]),
            node("MatMul", ["now", "entering"], ["e"]),
            node("Add", ["r", "e"], ["a"]),
            node("Tanh", ["a"], ["next"]),
        ],
        [value("next", None)],
        [value("state", None), value("now", None)],
        recurrent=floats(5, 5),
        entering=floats(4, 5, seed=1),
    )
    nodes = [
        node("MatMul", ["x", "to_state"], ["all"]),
        node("ReduceMean", ["all", "steps"], ["start"], keepdims=0),
        node("Scan", ["start", "x"], ["y"], body=body, num_scan_inputs=1, scan_input_axes=[1]),
    ]
    return model_of(nodes, {"to_state": floats(4, 5, seed=2), "steps": ints(1)}, inputs=_STEPS)


def _function(*, holds_weights: bool) -> onnx.ModelProto:
    """Return a dense layer as a function, which is given its weight or holds it in a Constant."""
    body = [node("MatMul", ["a", "w"], ["out"])]
    given = ["a", "w"]
    stored = {"last": floats(5, 5, seed=1)}
    if holds_weights:
        inside = numpy_helper.from_array(floats(32, 5), "w")
        body.insert(0, node("Constant", [], ["w"], value=inside))
        given.remove("w")
    else:
        stored["first"] = floats(32, 5)
    dense = helper.make_function("local", "Dense", given, ["out"], body, [helper.make_opsetid("", 21)])
    sources = ["x"] if holds_weights else ["x", "first"]
    nodes = [
        node("Dense", sources, ["h"], domain="local"),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "last"], ["y"]),
    ]
    return model_of(nodes, stored, inputs=_TABLE, functions=[dense], domains=["local"])


def _turned(_: Path) -> onnx.ModelProto:
    """Return weights that are transposed and reshaped before they are used."""
    nodes = [
        node("Transpose", ["w1"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Reshape", ["w2", "square"], ["s"]),
        node("MatMul", ["r", "s"], ["y"]),
    ]
    stored = {"w1": floats(16, 32), "w2": floats(80, seed=1), "square": ints(16, 5)}
    return model_of(nodes, stored, inputs=_TABLE)


def _lstm(_: Path) -> onnx.ModelProto:
    """Return an LSTM whose gates torch's exporter puts into ONNX's order, by Slice and Concat."""
    nodes = [node("Transpose", ["x"], ["steps"], perm=[1, 0, 2])]
    for source, target in (("w", "W"), ("r", "R"), ("b", "B")):
        gates = []
        for gate in ("input", "output", "forget", "cell"):
            part = f"{source}.{gate}"
            nodes.append(node("Slice", [source, f"{gate}.from", f"{gate}.to", "first"], [part]))
            gates.append(part)
        nodes.append(node("Concat", gates, [f"{target}.flat"], axis=0))
    nodes += [
        node("Concat", ["B.flat", "recurrent.b"], ["B.both"], axis=0),
        node("Unsqueeze", ["W.flat", "first"], ["W"]),
        node("Unsqueeze", ["R.flat", "first"], ["R"]),
        node("Unsqueeze", ["B.both", "first"], ["B"]),
        node("LSTM", ["steps", "W", "R", "B"], ["", "last"], hidden_size=_HIDDEN, name="lstm"),
        node("Squeeze", ["last", "first"], ["h"]),
        node("MatMul", ["h", "fc"], ["y"]),
    ]
    rows = 4 * _HIDDEN
    stored = {
        "w": floats(rows, 4),
        "r": floats(rows, _HIDDEN, seed=1),
        "b": floats(rows, seed=2),
        "recurrent.b": floats(rows, seed=3),
        "fc": floats(_HIDDEN, 5, seed=4),
        "first": ints(0),
    }
    for place, gate in enumerate(("input", "forget", "cell", "output")):
        stored[f"{gate}.from"] = ints(place * _HIDDEN)
        stored[f"{gate}.to"] = ints((place + 1) * _HIDDEN)
    return model_of(nodes, stored, inputs=_STEPS)


def _gru(_: Path) -> onnx.ModelProto:
    """Return a GRU whose weights are a part of one tensor, transposed."""
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node("Split", ["all", "sizes"], ["wt", "rt"], axis=1),
        node("Transpose", ["wt"], ["W"], perm=[0, 2, 1]),
        node("Transpose", ["rt"], ["R"], perm=[0, 2, 1]),
        node("GRU", ["steps", "W", "R"], ["", "last"], hidden_size=_HIDDEN, name="gru"),
        node("Squeeze", ["last", "first"], ["h"]),
        node("MatMul", ["h", "fc"], ["y"]),
    ]
    stored = {
        "all": floats(1, 4 + _HIDDEN, 3 * _HIDDEN),
        "sizes": ints(4, _HIDDEN),
        "first": ints(0),
        "fc": floats(_HIDDEN, 5, seed=1),
    }
    return model_of(nodes, stored, inputs=_STEPS)


def _shared(_: Path) -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "w"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("MatMul", ["b", "w"], ["c"], name="second"),
        node("Relu", ["c"], ["d"]),
        node("MatMul", ["d", "last"], ["y"]),
    ]
    return model_of(nodes, {"w": floats(32, 32) / 4, "last": floats(32, 5, seed=1)}, inputs=_TABLE)


def _computed(_: Path) -> onnx.ModelProto:
    """Return a weight normalization: direction and length are stored, the weight is computed."""
    nodes = [
        node("ReduceL2", ["direction", "rows"], ["norm"]),
        node("Div", ["length", "norm"], ["factor"]),
        node("Mul", ["direction", "factor"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    stored = {"direction": floats(32, 5), "rows": ints(0), "length": floats(1, 5, seed=1)}
    return model_of(nodes, stored, inputs=_TABLE)


def _position_table(_: Path) -> onnx.ModelProto:
    """Return attention with a relative position bias: constant indices read some rows of a table more often."""
    nodes = [
        node("Gather", ["table", "offsets"], ["bias"]),
        node("MatMul", ["x", "query"], ["q"]),
        node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "xt"], ["scores"]),
        node("Add", ["scores", "bias"], ["biased"]),
        node("Softmax", ["biased"], ["a"], axis=-1),
        node("MatMul", ["a", "x"], ["m"]),
        node("ReduceMean", ["m", "steps"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "fc"], ["y"]),
    ]
    places = np.arange(7)
    stored = {
        "table": floats(13),
        "offsets": places[:, None] - places[None, :] + 6,
        "query": floats(4, 4, seed=1),
        "steps": ints(1),
        "fc": floats(4, 5, seed=2),
    }
    return model_of(nodes, stored, inputs=_STEPS)


def _sparse(_: Path) -> onnx.ModelProto:
    """Return a dense and a sparse weight."""
    nodes = [
        node("MatMul", ["x", "first"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "sparse"], ["y"]),
    ]
    model = model_of(nodes, {"first": floats(32, 16)}, inputs=_TABLE)
    values = numpy_helper.from_array(floats(20, seed=1), "sparse")
    places = numpy_helper.from_array(np.arange(0, 80, 4), "sparse.places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [16, 5]))
    return model


def _none(_: Path) -> onnx.ModelProto:
    nodes = [node("Relu", ["x"], ["a"]), node("ReduceMean", ["a", "all"], ["y"], keepdims=0)]
    return model_of(nodes, {"all": ints(2, 3)}, outputs=[value("y", (BATCH, 3))])


KINDS: Final = (
    Kind(name="Constant nodes", make=_constants),
    Kind(name="behind Transpose and Reshape", make=_turned, data=_ROWS),
    Kind(name="LSTM gates behind Slice, Concat and Unsqueeze", make=_lstm, data=SEQUENCE),
    Kind(name="GRU weights behind Split and Transpose", make=_gru, data=SEQUENCE),
    Kind(name="table of relative positions behind Gather", make=_position_table, data=SEQUENCE),
    Kind(name="one weight read by two nodes", make=_shared, data=_ROWS),
    Kind(name="weights computed from stored ones (weight norm)", make=_computed, data=_ROWS),
    Kind(name="branches of an If", make=_branches, data=_ROWS),
    Kind(name="body of a Loop", make=_loop, data=_ROWS),
    Kind(name="body of a Scan", make=_scan, data=SEQUENCE),
    Kind(name="given to a function of the model", make=lambda _: _function(holds_weights=False), data=_ROWS),
    Kind(name="inside a function of the model", make=lambda _: _function(holds_weights=True), data=_ROWS),
    Kind(name="sparse initializer, whose own values cannot flip", make=_sparse, data=_ROWS),
    Kind(name="no weights at all", make=_none),
)
"""By the place of stored values."""
