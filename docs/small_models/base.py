"""What small models are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["BATCH", "IMAGES", "Feeds", "Kind", "cnn", "cnn_nodes", "floats", "ints", "model_of", "value"]

Feeds = Mapping[str, NDArray[Any]]
Stored = Mapping[str, Any]
"""Arrays, or tensors where numpy lacks their type, by name."""

BATCH: Final = "batch"
_OPSET: Final = 21
_IR_VERSION: Final = 10


def floats(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Return reproducible normally distributed numbers."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape).astype(np.float32) / 2


def ints(*values: int) -> NDArray[np.int64]:
    """Return whole numbers, as shapes and axes are stored."""
    return np.array(values, np.int64)


IMAGES: Final = floats(2, 3, 8, 8, seed=99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of model, and a small one of it.

    Attributes:
        name: in the table.
        make: returns the model, or the path of its file; what it writes goes into the folder it is given.
        data: what it runs on, an array for its only input or arrays by name.
        constants: values of inputs that take no data.
    """

    name: str
    make: Callable[[Path], onnx.ModelProto | Path]
    data: NDArray[Any] | Feeds = field(default_factory=lambda: IMAGES, repr=False)
    constants: Feeds = field(default_factory=dict, repr=False)


def value(name: str, shape: Sequence[int | str | None] | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Declare an input or output."""
    return helper.make_tensor_value_info(name, element, shape)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    stored: Stored,
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (value("x", (BATCH, 3, 8, 8)),),
    outputs: Sequence[onnx.ValueInfoProto] = (value("y", (BATCH, 5)),),
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return a model of images (batch, 3, 8, 8) with scores (batch, 5), or of what is given in their place."""
    tensors = []
    for name, content in stored.items():
        is_tensor = isinstance(content, TensorProto)
        tensors.append(content if is_tensor else numpy_helper.from_array(np.asarray(content), name))
    graph = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    imports = [helper.make_opsetid("", _OPSET)]
    for domain in domains:
        imports.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION, functions=functions)


def cnn_nodes() -> list[onnx.NodeProto]:
    """Return the nodes of ``cnn``."""
    node = helper.make_node
    return [
        node("Conv", ["x", "conv1.w", "conv1.b"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "conv2.w", "conv2.b"], ["c2"], name="conv2", strides=[2, 2]),
        node("Relu", ["c2"], ["r2"], name="relu2"),
        node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        node("Flatten", ["p"], ["f"], name="flatten"),
        node("Gemm", ["f", "fc.w", "fc.b"], ["y"], name="fc", transB=1),
    ]


def cnn() -> onnx.ModelProto:
    """Return Conv, Relu, Conv, Relu, pool, Gemm."""
    stored = {
        "conv1.w": floats(16, 3, 3, 3, seed=1),
        "conv1.b": floats(16, seed=2),
        "conv2.w": floats(16, 16, 3, 3, seed=3),
        "conv2.b": floats(16, seed=4),
        "fc.w": floats(5, 16, seed=5),
        "fc.b": floats(5, seed=6),
    }
    return model_of(cnn_nodes(), stored)
