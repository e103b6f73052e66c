"""Models that hide their weights: behind shape operators, in arithmetic, beside buffers that are none.

Each entry of ``MODELS`` is a model and what can flip in it: (tensor, role), in graph order. Nothing here uses ftonnx.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats

node = helper.make_node


def floats(*shape, seed=0):
    """Return random float32 values."""
    return random_floats(*shape, seed=seed)


def ints(*values):
    """Return a list of whole numbers, as shapes and axes are stored."""
    return np.array(values, np.int64)


def codes(*shape, seed=0):
    """Return random int8 values."""
    return np.random.default_rng(seed).integers(-100, 100, shape, np.int8)


@dataclass(frozen=True)
class Hidden:
    """A model, what can flip in it, and an input for it.

    Attributes:
        model: the model.
        targets: (tensor, role) in graph order.
        left_out: stored floats and codes of several elements that cannot flip, with the reason.
    """

    model: onnx.ModelProto
    targets: list
    left_out: dict

    @property
    def feeds(self):
        """An input by name."""
        given = self.model.graph.input[0]
        shape = [size.dim_value for size in given.type.tensor_type.shape.dim]
        return {given.name: random_floats(*shape, seed=99, scale=1)}


def hidden(nodes, stored, targets, *, left_out=(), shape=(2, 3, 8, 8), out=(2, 5), opset=18, **more):
    """Return a model with fixed shapes."""
    model = model_of(
        nodes, list(stored.items()), inputs={"x": shape}, outputs={"y": out}, opset=opset, **more
    )  # fmt: skip
    return Hidden(model, targets, dict(left_out))


def w(*names):
    """Shorten a list of weights."""
    return [(name, "weight") for name in names]


def b(*names):
    """Shorten a list of biases."""
    return [(name, "bias") for name in names]


def _gates(source, result, order, size):
    """Reorder gates, as torch's exporter does: Slice each, Concat, Unsqueeze."""
    parts = [f"{source}_{gate}" for gate in order]
    made = [
        node("Slice", [source, f"at{gate * size}", f"at{(gate + 1) * size}", "axis0"], [part])
        for gate, part in zip(order, parts, strict=True)
    ]
    return [*made, node("Concat", parts, [result], axis=0)]


def sliced_lstm():
    """Return an LSTM whose torch-ordered gates are reordered in the graph, with a zero and a trained initial state."""
    order = (0, 3, 1, 2)
    nodes = [node("Reshape", ["x", "sequence"], ["s"])]
    for source, result in (("w_ih", "w1"), ("w_hh", "w2"), ("b_ih", "b1"), ("b_hh", "b2")):
        nodes += _gates(source, result, order, 4)
    nodes += [
        node("Concat", ["b1", "b2"], ["b12"], axis=0),
        *(node("Unsqueeze", [a, "axis0"], [z]) for a, z in (("w1", "W"), ("w2", "R"), ("b12", "B"))),
        node("LSTM", ["s", "W", "R", "B", "", "h0", "c0"], ["", "last"], hidden_size=4, name="lstm"),
        node("Squeeze", ["last", "axis0"], ["h"]),
        node("Gemm", ["h", "fc"], ["y"], transB=1),
    ]
    stored = {
        "sequence": ints(8, 2, 24), "axis0": ints(0), **{f"at{4 * gate}": ints(4 * gate) for gate in range(5)},
        "w_ih": floats(16, 24), "w_hh": floats(16, 4, seed=1), "b_ih": floats(16, seed=2), "b_hh": floats(16, seed=3),
        "h0": np.zeros((1, 2, 4), np.float32), "c0": floats(1, 2, 4, seed=5), "fc": floats(5, 4, seed=4),
    }  # fmt: skip
    return hidden(
        nodes, stored, w("w_ih", "w_hh") + b("b_ih", "b_hh") + w("fc"),
        left_out={"h0": "initial state of zeros", "c0": "initial state"},
    )  # fmt: skip


def split_gru():
    """Return a GRU whose gates come out of one tensor by Split, Gather and Expand."""
    nodes = [
        node("Reshape", ["x", "sequence"], ["s"]),
        node("Split", ["all", "sizes"], ["wt", "rt"], axis=1),
        node("Gather", ["wt", "order"], ["wg"], axis=0),
        node("Unsqueeze", ["wg", "axis0"], ["W"]),
        node("Unsqueeze", ["rt", "axis0"], ["R"]),
        node("Expand", ["bias", "wide"], ["B"]),
        node("GRU", ["s", "W", "R", "B"], ["", "last"], hidden_size=4, linear_before_reset=1),
        node("Squeeze", ["last", "axis0"], ["h"]),
        node("Gemm", ["h", "fc"], ["y"], transB=1),
    ]
    stored = {
        "sequence": ints(8, 2, 24), "axis0": ints(0), "sizes": ints(24, 4), "order": ints(*range(11, -1, -1)),
        "all": floats(12, 28), "bias": floats(1, 24, seed=1), "wide": ints(1, 24), "fc": floats(5, 4, seed=2),
    }  # fmt: skip
    return hidden(nodes, stored, w("all") + b("bias") + w("fc"))


def vision_transformer():
    """Return patches with a class token, a position embedding, a decomposed LayerNorm and a layer scale."""
    nodes = [
        node("Conv", ["x", "patch"], ["p"], strides=[4, 4]),
        node("Reshape", ["p", "flat"], ["f"]),
        node("Transpose", ["f"], ["t"], perm=[0, 2, 1]),
        node("Shape", ["t"], ["s"]),
        node("Gather", ["s", "first"], ["batch"]),
        node("Concat", ["batch", "ones"], ["wide"], axis=0),
        node("Expand", ["token", "wide"], ["tokens"]),
        node("Concat", ["tokens", "t"], ["c"], axis=1, name="class"),
        node("Add", ["c", "places"], ["e"], name="places_add"),
        node("ReduceMean", ["e", "last"], ["m"]),
        node("Sub", ["e", "m"], ["d"]),
        node("Pow", ["d", "two"], ["d2"]),
        node("ReduceMean", ["d2", "last"], ["v"]),
        node("Add", ["v", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]),
        node("Div", ["d", "sd"], ["n"]),
        node("Mul", ["n", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["h"]),
        node("MatMul", ["h", "dense"], ["a"]),
        node("Softmax", ["a"], ["q"]),
        node("Mul", ["q", "scale"], ["z"]),
        node("Add", ["z", "e"], ["r"]),
        node("ReduceMean", ["r", "middle"], ["o"], keepdims=0),
        node("MatMul", ["o", "head"], ["y"]),
    ]
    stored = {
        "patch": floats(6, 3, 4, 4), "flat": ints(0, 6, -1), "first": ints(0), "ones": ints(1, 6), "last": ints(-1),
        "token": floats(1, 1, 6, seed=1), "places": floats(1, 5, 6, seed=2), "two": np.float32(2),
        "eps": np.float32(1e-5), "gamma": floats(6, seed=3), "beta": floats(6, seed=4), "dense": floats(6, 6, seed=5),
        "scale": floats(6, seed=6), "middle": ints(1), "head": floats(6, 5, seed=7),
    }  # fmt: skip
    targets = w("patch", "token") + b("places") + w("gamma") + b("beta") + w("dense", "scale", "head")
    return hidden(nodes, stored, targets)


def group_norm():
    """Return a decomposed GroupNorm: an InstanceNormalization with ones and zeros, then gamma and beta."""
    nodes = [
        node("Conv", ["x", "w1"], ["c"]),
        node("Reshape", ["c", "groups"], ["r"]),
        node("InstanceNormalization", ["r", "one", "zero"], ["i"]),
        node("Shape", ["c"], ["s"]),
        node("Reshape", ["i", "s"], ["n"]),
        node("Mul", ["n", "gamma"], ["g"]),
        node("Add", ["g", "beta"], ["h"]),
        node("Relu", ["h"], ["a"]),
        node("Conv", ["a", "w2"], ["d"]),
        node("ReduceMean", ["d", "places"], ["y"], keepdims=0),
    ]
    stored = {
        "w1": floats(4, 3, 3, 3), "groups": ints(0, 2, -1), "one": np.ones(2, np.float32),
        "zero": np.zeros(2, np.float32), "gamma": floats(4, 1, 1, seed=1), "beta": floats(4, 1, 1, seed=2),
        "w2": floats(5, 4, 3, 3, seed=3), "places": ints(2, 3),
    }  # fmt: skip
    return hidden(nodes, stored, w("w1", "one") + b("zero") + w("gamma") + b("beta") + w("w2"))


def attention(*, folded):
    """Return attention scores with a relative position bias and a mask of 0 and -100, as windows have it."""
    where = [
        node("Gather", ["table", "index"], ["t1"]),
        node("Reshape", ["t1", "square"], ["t2"]),
        node("Transpose", ["t2"], ["t3"], perm=[2, 0, 1]),
        node("Unsqueeze", ["t3", "axis0"], ["bias"]),
    ]
    nodes = [
        *([] if folded else where),
        node("Reshape", ["x", "tokens"], ["t"]),
        node("MatMul", ["t", "wq"], ["q"]),
        node("MatMul", ["t", "wk"], ["k"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Div", ["s", "root"], ["scores"]),
        node("Add", ["scores", "bias"], ["biased"], name="bias_add"),
        node("Add", ["biased", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["a"]),
        node("MatMul", ["a", "t"], ["v"]),
        node("ReduceMean", ["v", "middle"], ["o"], keepdims=0),
        node("MatMul", ["o", "head"], ["y"]),
    ]
    offsets = np.arange(4)[:, None] - np.arange(4)[None, :] + 3
    mask = np.zeros((1, 1, 4, 4), np.float32)
    mask[..., 3] = -100
    mask[..., 3, 3] = 0
    stored = {
        "tokens": ints(2, 3, 4, 16), "wq": floats(16, 8), "wk": floats(16, 8, seed=1), "root": np.float32(3),
        "mask": mask, "middle": ints(1, 2), "head": floats(16, 5, seed=3),
    }  # fmt: skip
    table = floats(7, 3, seed=4)
    if folded:
        stored["bias"] = np.ascontiguousarray(table[offsets].transpose(2, 0, 1)[None])
        return hidden(nodes, stored, w("wq", "wk") + b("bias") + w("head"), left_out={"mask": "mask"})
    stored |= {"table": table, "index": offsets.reshape(-1), "square": ints(4, 4, 3), "axis0": ints(0)}
    return hidden(nodes, stored, w("table", "wq", "wk", "head"), left_out={"mask": "mask"})


def masks():
    """Return masks of several makes, none behind a linear operator, one of them quantized, one multiplied."""
    lower = np.tril(np.ones((8, 8), np.float32))
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Add", ["a", "infinite"], ["b"]),
        node("Softmax", ["b"], ["c"]),
        node("Mul", ["c", "lower"], ["d"]),
        node("DequantizeLinear", ["code", "step", "zero"], ["m"]),
        node("Add", ["d", "m"], ["e"]),
        node("Softmax", ["e"], ["f"]),
        node("Sub", ["f", "upper"], ["g"]),
        node("Softmax", ["g"], ["h"]),
        node("MatMul", ["h", "w1"], ["y"]),
    ]
    stored = {
        "infinite": np.where(lower == 0, np.float32("-inf"), 0).astype(np.float32),
        "lower": lower,
        "code": np.where(lower == 0, 0, 255).astype(np.uint8),
        "step": np.float32(100 / 255),
        "zero": np.uint8(255),
        "upper": ((1 - lower) * 65504).astype(np.float32),
        "w1": floats(8, 5),
    }
    reasons = dict.fromkeys(["infinite", "lower", "code", "upper"], "mask")
    return hidden(nodes, stored, w("w1"), left_out=reasons, out=(2, 3, 8, 5))


def weight_norm():
    """Return a convolution whose weight is computed from direction and length, then pruned by a mask."""
    kept = np.ones((5, 3, 3, 3), np.float32)
    kept[1:3, :, 0] = 0
    nodes = [
        node("ReduceL2", ["v", "axes"], ["length"]),
        node("Div", ["g", "length"], ["factor"]),
        node("Mul", ["v", "factor"], ["whole"]),
        node("Mul", ["whole", "kept"], ["weight"]),
        node("Conv", ["x", "weight", "bias"], ["c"]),
        node("ReduceMean", ["c", "places"], ["y"], keepdims=0),
    ]
    stored = {
        "v": floats(5, 3, 3, 3), "axes": ints(1, 2, 3), "g": floats(5, 1, 1, 1, seed=1), "kept": kept,
        "bias": floats(5, seed=2), "places": ints(2, 3),
    }  # fmt: skip
    return hidden(nodes, stored, w("v", "g") + b("bias"), left_out={"kept": "mask"})


def quantized():
    """Return quantized weights in the places where floats are looked for: token, places, gamma, and a cast one."""
    nodes = [
        node("Reshape", ["x", "tokens"], ["t"]),
        node("DequantizeLinear", ["token", "s", "z"], ["tf"]),
        node("Concat", ["tf", "t"], ["c"], axis=1),
        node("DequantizeLinear", ["places", "s", "z"], ["pf"]),
        node("Add", ["c", "pf"], ["e"]),
        node("Relu", ["e"], ["r"]),
        node("QuantizeLinear", ["gamma", "s", "z"], ["gq"]),
        node("DequantizeLinear", ["gq", "s", "z"], ["gf"]),
        node("Mul", ["r", "gf"], ["g"]),
        node("Cast", ["dense"], ["df"], to=TensorProto.FLOAT),
        node("Mul", ["df", "steps"], ["d"]),
        node("MatMul", ["g", "d"], ["m"]),
        node("ReduceMean", ["m", "middle"], ["y"], keepdims=0),
    ]
    stored = {
        "tokens": ints(2, 6, 32), "token": codes(2, 1, 32), "places": codes(1, 7, 32, seed=1), "s": np.float32(0.01),
        "z": np.int8(3), "gamma": floats(32), "dense": codes(32, 5, seed=2), "steps": floats(1, 5, seed=3),
        "middle": ints(1),
    }  # fmt: skip
    return hidden(nodes, stored, w("token") + b("places") + w("gamma", "dense", "steps"))


def integers():
    """Return what quantizers write as integer operators: static ones first, then a dynamic one."""
    mask = np.zeros((7, 32), np.int8) + np.int8(100)
    mask[4:, 16:] = 0
    nodes = [
        node("Reshape", ["x", "tokens"], ["t"]),
        node("QuantizeLinear", ["t", "s", "z"], ["q"]),
        node("QLinearConcat", ["s", "z", "token", "s", "z", "q", "s", "z"], ["c"], axis=1, domain="com.microsoft"),
        node("QLinearAdd", ["c", "s", "z", "places", "s", "z", "s", "z"], ["e"], domain="com.microsoft"),
        node("QLinearMul", ["e", "s", "z", "half", "s", "z", "s", "z"], ["h"], domain="com.microsoft"),
        node("QLinearAdd", ["mask", "one", "hundred", "h", "s", "z", "s", "z"], ["m"], domain="com.microsoft"),
        node("DequantizeLinear", ["m", "s", "z"], ["f"]),
        node("DynamicQuantizeLinear", ["f"], ["d", "ds", "dz"]),
        node("MatMulInteger", ["d", "dense", "dz"], ["i"]),
        node("Cast", ["i"], ["r"], to=TensorProto.FLOAT),
        node("Mul", ["ds", "steps"], ["factor"]),
        node("Mul", ["r", "factor"], ["g"]),
        node("Add", ["g", "bias"], ["a"]),
        node("ReduceMean", ["a", "middle"], ["y"], keepdims=0),
    ]
    stored = {
        "tokens": ints(2, 6, 32), "s": np.float32(0.02), "z": np.int8(0), "token": codes(2, 1, 32),
        "places": codes(1, 7, 32, seed=1), "half": np.int8(25), "mask": mask, "one": np.float32(1),
        "hundred": np.int8(100), "dense": codes(32, 5, seed=2), "steps": floats(5, seed=3) / 50 + np.float32(0.05),
        "bias": floats(5, seed=4), "middle": ints(1),
    }  # fmt: skip
    return hidden(
        nodes, stored, w("token") + b("places") + w("dense") + b("bias"),
        left_out={"mask": "mask", "steps": "role not chosen"}, domains=["com.microsoft"],
    )  # fmt: skip


def prepared_input():
    """Return a model that normalizes its input in the graph; the second step by channel in another layout."""
    nodes = [
        node("Cast", ["x"], ["a"], to=TensorProto.FLOAT),
        node("Sub", ["a", "mean"], ["b"]),
        node("Mul", ["b", "factor"], ["c"]),
        node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        node("Div", ["d", "deviation"], ["e"]),
        node("Transpose", ["e"], ["f"], perm=[0, 3, 1, 2]),
        node("Add", ["f", "prompt"], ["g"]),
        node("Conv", ["g", "w1"], ["h"]),
        node("ReduceMean", ["h", "places"], ["y"], keepdims=0),
    ]
    stored = {
        "mean": floats(3, 8, 8), "factor": floats(1, 3, 1, 1, seed=1), "deviation": floats(3, seed=2) + 2,
        "prompt": floats(1, 3, 8, 8, seed=3), "w1": floats(5, 3, 3, 3, seed=4), "places": ints(2, 3),
    }  # fmt: skip
    reasons = dict.fromkeys(["mean", "factor", "deviation"], "normalization of the input")
    return hidden(nodes, stored, b("prompt") + w("w1"), left_out=reasons)


def text():
    """Return looked-up words with a scale and a beta: indices are the raw input, what they look up is not."""
    nodes = [
        node("Slice", ["x", "from", "to", "axis"], ["a"]),
        node("Abs", ["a"], ["b"]),
        node("Cast", ["b"], ["i"], to=TensorProto.INT64),
        node("Gather", ["words", "i"], ["e"]),
        node("Div", ["e", "scale"], ["f"]),
        node("Add", ["f", "beta"], ["g"]),
        node("MatMul", ["g", "head"], ["h"]),
        node("Mul", ["h", "sizes"], ["m"]),
        node("ReduceMean", ["m", "middle"], ["y"], keepdims=0),
    ]
    turned = [node("Cast", ["pixels"], ["sizes"], to=TensorProto.FLOAT)]
    stored = {
        "from": ints(0), "to": ints(1), "axis": ints(1), "words": floats(9, 6), "scale": floats(6, seed=1) + 2,
        "beta": floats(6, seed=2), "head": floats(6, 5, seed=3), "pixels": ints(1, 2, 3, 4, 5), "middle": ints(1, 2, 3),
    }  # fmt: skip
    return hidden([*turned, *nodes], stored, w("words", "scale") + b("beta") + w("head"))


def detector():
    """Return cells, strides and anchors behind the last layer, and bounds."""
    cells = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(1, 36, 2).astype(np.float32)
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c"]),
        node("Reshape", ["c", "rows"], ["r"]),
        node("Sigmoid", ["r"], ["s"]),
        node("Add", ["s", "cells"], ["p"]),
        node("Mul", ["p", "anchors"], ["q"]),
        node("Min", ["q", "most"], ["u"]),
        node("Mul", ["u", "strides"], ["v"]),
        node("Mul", ["v", "size"], ["y"]),
    ]
    stored = {
        "w1": floats(2, 3, 3, 3), "b1": floats(2, seed=1), "rows": ints(2, 36, 2), "cells": cells + 0.5,
        "anchors": floats(1, 36, 2, seed=2) + 3, "most": floats(2, seed=3) + 40,
        "strides": np.repeat(np.float32([8, 16, 32]), 12).reshape(36, 1), "size": floats(2, seed=4),
    }  # fmt: skip
    reasons = dict.fromkeys(["cells", "anchors", "strides"], "grid or anchors") | {"most": "threshold"}
    return hidden(nodes, stored, w("w1") + b("b1") + w("size"), left_out=reasons, out=(2, 36, 2))


def through_function():
    """Return weights that a function transposes, and a gamma that another one multiplies with."""
    body = [node("Transpose", ["k"], ["kt"], perm=[1, 0]), node("Slice", ["kt", "from", "to"], ["out"])]
    imports = [helper.make_opsetid("", 18)]
    turned = helper.make_function("local", "Turned", ["k", "from", "to"], ["out"], body, imports)
    scaled = helper.make_function("local", "Scaled", ["a", "g"], ["out"], [node("Mul", ["a", "g"], ["out"])], imports)
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("Turned", ["w1", "zero", "end"], ["wt"], domain="local"),
        node("MatMul", ["f", "wt"], ["m"]),
        node("Tanh", ["m"], ["t"]),
        node("Scaled", ["t", "gamma"], ["y"], domain="local"),
    ]
    stored = {"w1": floats(5, 200), "zero": ints(0), "end": ints(192), "gamma": floats(5, seed=1)}
    return hidden(nodes, stored, w("w1", "gamma"), functions=[turned, scaled], domains=["local"])


def moved():
    """Return weights behind Pad, Tile, DepthToSpace and a Cast; a Where whose values are not followed."""
    nodes = [
        node("Conv", ["x", "w1"], ["c"]),
        node("Tile", ["b1", "times"], ["t"]),
        node("Add", ["c", "t"], ["d"]),
        node("Pad", ["w2", "pads"], ["p"]),
        node("DepthToSpace", ["p"], ["s"], blocksize=2),
        node("Cast", ["s"], ["sf"], to=TensorProto.FLOAT),
        node("Conv", ["d", "sf"], ["e"]),
        node("Where", ["chosen", "e", "other"], ["o"]),
        node("ReduceMean", ["o", "places"], ["y"], keepdims=0),
    ]
    stored = {
        "w1": floats(4, 3, 3, 3), "pads": ints(0, 3, 0, 0, 0, 1, 0, 0), "b1": floats(1, 2, 1, 1, seed=1),
        "times": ints(1, 2, 1, 1), "w2": floats(5, 12, 1, 1, seed=2).astype(np.float16),
        "chosen": np.arange(25).reshape(5, 5) % 2 == 0, "other": floats(5, 5, seed=3), "places": ints(2, 3),
    }  # fmt: skip
    return hidden(nodes, stored, w("w1") + b("b1") + w("w2"), left_out={"other": "not followed: Where"})


MODELS = {
    "LSTM behind Slice and Concat": sliced_lstm,
    "GRU behind Split, Gather and Expand": split_gru,
    "class token, places, LayerNorm, layer scale": vision_transformer,
    "GroupNorm": group_norm,
    "relative position bias": lambda: attention(folded=True),
    "relative position table": lambda: attention(folded=False),
    "masks": masks,
    "weight norm": weight_norm,
    "quantized": quantized,
    "integers": integers,
    "prepared input": prepared_input,
    "text": text,
    "detector": detector,
    "through functions": through_function,
    "moved": moved,
}
