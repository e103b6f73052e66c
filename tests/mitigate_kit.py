"""Small networks with every kind of activation, plain ONNX Runtime runs, and data in memory.

Nothing here uses ftonnx, but for wrapping arrays into a data set.
"""

import tracemalloc

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats

from ftonnx.datasets import as_dataset

_ONE_NODE = {
    "relu": "Relu", "leaky": "LeakyRelu", "gelu": "Gelu", "hardswish": "HardSwish", "elu": "Elu", "selu": "Selu",
}  # fmt: skip


def activation_nodes(kind, x, y, name):
    """Return (nodes, initializers) that compute one activation of ``x`` into ``y``; its last node is ``name``."""
    node = helper.make_node

    def held(label, value):
        return f"{y}.{label}", np.float32(value)

    if kind in _ONE_NODE:
        return [node(_ONE_NODE[kind], [x], [y], name=name)], []
    if kind == "relu6":
        low, high = held("low", 0), held("high", 6)
        return [node("Clip", [x, low[0], high[0]], [y], name=name)], [low, high]
    if kind == "silu":
        return [node("Sigmoid", [x], [f"{y}.gate"]), node("Mul", [x, f"{y}.gate"], [y], name=name)], []
    if kind == "hardsigmoid":
        return [node("HardSigmoid", [x], [f"{y}.gate"]), node("Mul", [f"{y}.gate", x], [y], name=name)], []
    if kind == "gelu-erf":
        root, one, half = held("root", 2**0.5), held("one", 1), held("half", 0.5)
        steps = [
            node("Div", [x, root[0]], [f"{y}.d"]), node("Erf", [f"{y}.d"], [f"{y}.e"]),
            node("Add", [f"{y}.e", one[0]], [f"{y}.s"]), node("Mul", [x, f"{y}.s"], [f"{y}.p"]),
            node("Mul", [f"{y}.p", half[0]], [y], name=name),
        ]  # fmt: skip
        return steps, [root, one, half]
    assert kind == "gelu-tanh"
    three, small, root, one, half = (
        held(*each) for each in (("three", 3), ("small", 0.044715), ("root", 0.79788456), ("one", 1), ("half", 0.5))
    )
    steps = [
        node("Pow", [x, three[0]], [f"{y}.c"]), node("Mul", [f"{y}.c", small[0]], [f"{y}.m"]),
        node("Add", [x, f"{y}.m"], [f"{y}.a"]), node("Mul", [f"{y}.a", root[0]], [f"{y}.r"]),
        node("Tanh", [f"{y}.r"], [f"{y}.t"]), node("Add", [f"{y}.t", one[0]], [f"{y}.s"]),
        node("Mul", [x, half[0]], [f"{y}.h"]), node("Mul", [f"{y}.h", f"{y}.s"], [y], name=name),
    ]  # fmt: skip
    return steps, [three, small, root, one, half]


KINDS = (*_ONE_NODE, "relu6", "silu", "hardsigmoid", "gelu-erf", "gelu-tanh")


def residual_net(kind, *, seed=0):
    """Return a net of one residual block with three activations, the first and the last also graph outputs."""
    node = helper.make_node
    first, held1 = activation_nodes(kind, "c1", "a1", "act1")
    second, held2 = activation_nodes(kind, "c2", "a2", "act2")
    third, held3 = activation_nodes(kind, "sum", "a3", "act3")
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]), *first,
        node("Conv", ["a1", "w2"], ["c2"], name="conv2", pads=[1, 1, 1, 1]), *second,
        node("Conv", ["a2", "w3", "b3"], ["c3"], name="conv3"),
        node("Conv", ["a1", "w4"], ["c4"], name="shortcut"),
        node("Add", ["c3", "c4"], ["sum"], name="add"), *third,
        node("GlobalAveragePool", ["a3"], ["p"], name="pool"), node("Flatten", ["p"], ["f"], name="flatten"),
        node("Gemm", ["f", "w5", "b5"], ["y"], name="fc", transB=1),
    ]  # fmt: skip
    weights = [
        ("w1", random_floats(8, 3, 3, 3, seed=seed + 1)), ("b1", random_floats(8, seed=seed + 2)),
        ("w2", random_floats(6, 8, 3, 3, seed=seed + 3)), ("w3", random_floats(5, 6, 1, 1, seed=seed + 4)),
        ("b3", random_floats(5, seed=seed + 5)), ("w4", random_floats(5, 8, 1, 1, seed=seed + 6)),
        ("w5", random_floats(5, 5, seed=seed + 7)), ("b5", random_floats(5, seed=seed + 8)),
    ]  # fmt: skip
    return model_of(nodes, [*weights, *held1, *held2, *held3], outputs=("y", "a1", "a3"))


def one_activation(kind, *, opset=20):
    """Return a net of a 1 x 1 convolution that passes its single channel on, and one activation, the output."""
    nodes, held = activation_nodes(kind, "c", "y", "act")
    convolution = helper.make_node("Conv", ["x", "w"], ["c"], name="conv")
    return model_of(
        [convolution, *nodes],
        [("w", np.ones((1, 1, 1, 1), np.float32)), *held],
        inputs={"x": ("batch", 1, 4, 4)},
        opset=opset,
    )


def plain_run(model, images, outputs=None, *, optimized=False):
    """Run a model or file through plain ONNX Runtime on one thread; all outputs by name."""
    options = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = outputs or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: images}), strict=True))


def exposed(model, tensors):
    """Return a copy of a model that also gives inner tensors as outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    have = {output.name for output in copy.graph.output}
    for name in tensors:
        if name not in have:
            copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return copy


def images_of(count, shape=(3, 8, 8), seed=0):
    """Return reproducible float32 images."""
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def data_of(images, labels, name="kit"):
    """Wrap arrays into a data set."""
    return as_dataset([(images, np.asarray(labels))], name=name)


def scalar(value):
    """Return a threshold for one activation."""
    return np.asarray(value, np.float32)


def conv_then(*nodes, held=(), opset=20, outputs=("y",)):
    """Return a model of a Conv from x to c, followed by ``nodes``."""
    convolution = helper.make_node("Conv", ["x", "w"], ["c"], name="conv")
    return model_of([convolution, *nodes], [("w", random_floats(4, 3, 3, 3)), *held], opset=opset, outputs=outputs)


class Stream:
    """So many batches of 16 images with labels, made as they are read."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        for seed in range(self.batches):
            yield images_of(16, seed=seed), np.zeros(16, np.int64)


def peaks(read, *batches):
    """Return the peaks of traced memory of ``read(data)`` on streams of so many batches."""
    found = []
    for count in batches:
        data = as_dataset(Stream(count), name="stream")
        tracemalloc.start()
        read(data)
        found.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return found
