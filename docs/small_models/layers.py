"""Models of many architectures."""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from small_models.base import BATCH, Kind, floats, ints, model_of, value

__all__ = ["KINDS", "SEQUENCE", "recurrent"]

node = helper.make_node

_HIDDEN: Final = 6
_GATES: Final = {"RNN": 1, "GRU": 3, "LSTM": 4}
_TOKENS: Final = np.arange(12, dtype=np.int64).reshape(2, 6)

SEQUENCE: Final = floats(2, 7, 4, seed=97)
"""Two signals of seven steps with four features."""


def recurrent(operator: str) -> onnx.ModelProto:
    """Return a recurrent layer and a dense one, on (batch, 7, 4)."""
    rows = _GATES[operator] * _HIDDEN
    nodes = [
        node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        node(operator, ["steps", "w", "r", "b"], ["", "last"], hidden_size=_HIDDEN, name="recurrent"),
        node("Squeeze", ["last", "first"], ["h"]),
        node("MatMul", ["h", "fc"], ["y"], name="fc"),
    ]
    stored = {
        "w": floats(1, rows, 4),
        "r": floats(1, rows, _HIDDEN, seed=1),
        "b": floats(1, 2 * rows, seed=2),
        "first": ints(0),
        "fc": floats(_HIDDEN, 5, seed=3),
    }
    return model_of(nodes, stored, inputs=[value("x", (BATCH, 7, 4))])


def _vision_transformer(_: Path) -> onnx.ModelProto:
    """Return patches, a class token, position embeddings, and one block with one head."""
    nodes = [
        node("Conv", ["x", "patch"], ["p"], strides=[4, 4], name="patches"),
        node("Reshape", ["p", "rows"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        node("Shape", ["t"], ["size"], end=1),
        node("Concat", ["size", "one_row"], ["times"], axis=0),
        node("Expand", ["token", "times"], ["tokens"]),
        node("Concat", ["tokens", "t"], ["c"], axis=1),
        node("Add", ["c", "positions"], ["e"], name="positions_add"),
        node("LayerNormalization", ["e", "norm.w", "norm.b"], ["n"], name="norm"),
        node("MatMul", ["n", "q.w"], ["q"], name="query"),
        node("MatMul", ["n", "k.w"], ["k"], name="key"),
        node("MatMul", ["n", "v.w"], ["v"], name="value"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"], name="scores"),
        node("Softmax", ["s"], ["a"], axis=-1),
        node("MatMul", ["a", "v"], ["m"], name="mixed"),
        node("Add", ["m", "e"], ["o"]),
        node("Gelu", ["o"], ["g"]),
        node("Gather", ["g", "class"], ["chosen"], axis=1),
        node("Gemm", ["chosen", "head.w", "head.b"], ["y"], name="head"),
    ]
    stored = {
        "patch": floats(6, 3, 4, 4),
        "rows": ints(0, 6, -1),
        "one_row": ints(1, 1),
        "token": floats(1, 1, 6, seed=1),
        "positions": floats(1, 5, 6, seed=2),
        "norm.w": floats(6, seed=3),
        "norm.b": floats(6, seed=4),
        "q.w": floats(6, 6, seed=5),
        "k.w": floats(6, 6, seed=6),
        "v.w": floats(6, 6, seed=7),
        "class": np.int64(0),
        "head.w": floats(6, 5, seed=8),
        "head.b": floats(5, seed=9),
    }
    return model_of(nodes, stored)


def _layer_norm(_: Path) -> onnx.ModelProto:
    """Return a LayerNorm written out, as exporters of before opset 17 did."""
    nodes = [
        node("MatMul", ["x", "w1"], ["h"]),
        node("ReduceMean", ["h", "last"], ["mean"]),
        node("Sub", ["h", "mean"], ["d"]),
        node("Pow", ["d", "two"], ["d2"]),
        node("ReduceMean", ["d2", "last"], ["variance"]),
        node("Add", ["variance", "epsilon"], ["v"]),
        node("Sqrt", ["v"], ["deviation"]),
        node("Div", ["d", "deviation"], ["n"]),
        node("Mul", ["n", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["b"]),
        node("MatMul", ["b", "w2"], ["z"]),
        node("ReduceMean", ["z", "steps"], ["y"], keepdims=0),
    ]
    stored = {
        "w1": floats(4, 8),
        "last": ints(-1),
        "two": np.float32(2),
        "epsilon": np.float32(1e-5),
        "gamma": floats(8, seed=1),
        "beta": floats(8, seed=2),
        "w2": floats(8, 5, seed=3),
        "steps": ints(1),
    }
    return model_of(nodes, stored, inputs=[value("x", (BATCH, 7, 4))])


def _group_norm(_: Path) -> onnx.ModelProto:
    """Return a GroupNorm as torch's exporter writes it: InstanceNormalization, then gamma and beta."""
    nodes = [
        node("Conv", ["x", "conv.w"], ["c"]),
        node("Reshape", ["c", "groups"], ["r"]),
        node("InstanceNormalization", ["r", "ones", "zeros"], ["i"]),
        node("Shape", ["c"], ["size"]),
        node("Reshape", ["i", "size"], ["n"]),
        node("Mul", ["n", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["b"]),
        node("Relu", ["b"], ["a"]),
        *_head("a"),
    ]
    stored = {
        "conv.w": floats(16, 3, 3, 3),
        "groups": ints(0, 4, -1),
        "ones": np.ones(4, np.float32),
        "zeros": np.zeros(4, np.float32),
        "gamma": floats(16, 1, 1, seed=1),
        "beta": floats(16, 1, 1, seed=2),
        "fc.w": floats(16, 5, seed=3),
    }
    return model_of(nodes, stored)


def _batch_norm(*, alone: bool) -> onnx.ModelProto:
    """Return a BatchNormalization behind a Conv, or behind a Relu, where it cannot be folded into one."""
    between = [node("Relu", ["c"], ["before"])] if alone else [node("Identity", ["c"], ["before"])]
    nodes = [
        node("Conv", ["x", "conv.w"], ["c"]),
        *between,
        node("BatchNormalization", ["before", "gamma", "beta", "mean", "variance"], ["n"], name="norm"),
        node("Relu", ["n"], ["a"]),
        *_head("a"),
    ]
    stored = {
        "conv.w": floats(16, 3, 3, 3),
        "gamma": floats(16, seed=1),
        "beta": floats(16, seed=2),
        "mean": floats(16, seed=3),
        "variance": np.abs(floats(16, seed=4)) + np.float32(0.5),
        "fc.w": floats(16, 5, seed=5),
    }
    return model_of(nodes, stored)


def _head(source: str) -> list[onnx.NodeProto]:
    """Return a pool and a dense layer ``fc.w``."""
    return [
        node("GlobalAveragePool", [source], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("MatMul", ["flat", "fc.w"], ["y"], name="fc"),
    ]


def _depthwise(_: Path) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "depth.w"], ["d"], group=3, pads=[1, 1, 1, 1]),
        node("HardSwish", ["d"], ["h"]),
        node("Conv", ["h", "point.w", "point.b"], ["p"]),
        node("Clip", ["p", "zero", "six"], ["a"], name="relu6"),
        *_head("a"),
    ]
    stored = {
        "depth.w": floats(3, 1, 3, 3),
        "point.w": floats(16, 3, 1, 1, seed=1),
        "point.b": floats(16, seed=2),
        "zero": np.float32(0),
        "six": np.float32(6),
        "fc.w": floats(16, 5, seed=3),
    }
    return model_of(nodes, stored)


def _conv_1d(_: Path) -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "conv.w", "conv.b"], ["c"]),
        node("Relu", ["c"], ["a"]),
        *_head("a"),
    ]
    stored = {"conv.w": floats(16, 7, 3), "conv.b": floats(16, seed=1), "fc.w": floats(16, 5, seed=2)}
    return model_of(nodes, stored, inputs=[value("x", (BATCH, 7, 4))])


def _conv_transpose(_: Path) -> onnx.ModelProto:
    nodes = [
        node("ConvTranspose", ["x", "up.w", "up.b"], ["u"], strides=[2, 2], name="up"),
        node("Relu", ["u"], ["a"]),
        *_head("a"),
    ]
    stored = {"up.w": floats(3, 16, 2, 2), "up.b": floats(16, seed=1), "fc.w": floats(16, 5, seed=2)}
    return model_of(nodes, stored)


def _einsum(_: Path) -> onnx.ModelProto:
    nodes = [
        node("Einsum", ["x", "w"], ["e"], equation="bsf,fh->bsh"),
        node("Tanh", ["e"], ["t"]),
        node("Einsum", ["t", "v"], ["y"], equation="bsh,hc->bc"),
    ]
    return model_of(nodes, {"w": floats(4, 6), "v": floats(6, 5, seed=1)}, inputs=[value("x", (BATCH, 7, 4))])


def _embedding(_: Path) -> onnx.ModelProto:
    nodes = [
        node("Gather", ["words", "x"], ["e"], name="embedding"),
        node("ReduceMean", ["e", "steps"], ["m"], keepdims=0),
        node("Relu", ["m"], ["a"]),
        node("MatMul", ["a", "fc.w"], ["y"]),
    ]
    stored = {"words": floats(12, 8), "steps": ints(1), "fc.w": floats(8, 5, seed=1)}
    return model_of(nodes, stored, inputs=[value("x", (BATCH, 6), TensorProto.INT64)])


KINDS: Final = (
    Kind(name="depthwise and pointwise Conv, HardSwish, ReLU6", make=_depthwise),
    Kind(name="Conv over signals (1-D)", make=_conv_1d, data=SEQUENCE),
    Kind(name="ConvTranspose", make=_conv_transpose),
    Kind(name="BatchNormalization behind Conv", make=lambda _: _batch_norm(alone=False)),
    Kind(name="BatchNormalization standing alone", make=lambda _: _batch_norm(alone=True)),
    Kind(name="GroupNorm, decomposed", make=_group_norm),
    Kind(name="LayerNorm, decomposed", make=_layer_norm, data=SEQUENCE),
    Kind(name="ViT block: class token, positions, attention, LayerNormalization", make=_vision_transformer),
    Kind(name="RNN", make=lambda _: recurrent("RNN"), data=SEQUENCE),
    Kind(name="GRU", make=lambda _: recurrent("GRU"), data=SEQUENCE),
    Kind(name="LSTM", make=lambda _: recurrent("LSTM"), data=SEQUENCE),
    Kind(name="Einsum", make=_einsum, data=SEQUENCE),
    Kind(name="embedding (Gather), tokens as input", make=_embedding, data=_TOKENS),
)
"""By architecture."""
