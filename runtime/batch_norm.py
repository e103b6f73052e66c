"""Stand-alone batch normalization made explicit, so that its stored values keep a place in memory.

ONNX Runtime folds a BatchNormalization into other constants by arithmetic, after which a flip in
gamma, beta, mean or variance has nowhere to go. Written as a per-channel scale and shift (a
depthwise 1x1 Conv) with the same arithmetic, a flip is one recomputed channel.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["ExplicitNorm", "explicit_batch_norms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitNorm:
    """One normalization that became ``Conv(x, scale, shift)``.

    Attributes:
        scale: name of the new initializer gamma / sqrt(variance + epsilon), shape (channels, 1, 1, 1).
        shift: name of the new initializer beta - mean * scale, shape (channels,).
        inputs: names of gamma, beta, mean and variance.
        epsilon: the node's own.
    """

    scale: str
    shift: str
    inputs: tuple[str, str, str, str]
    epsilon: float


def scale_and_shift(
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the per-channel scale and shift, each step rounded to float32 as ONNX Runtime does.

    >>> one = np.ones(1, np.float32)
    >>> [a.tolist() for a in scale_and_shift(2 * one, one, 3 * one, 4 * one, 0.0)]
    [[1.0], [-2.0]]
    """
    with np.errstate(all="ignore"):  # a flipped variance may be negative: NaN is the right answer
        scale = gamma / np.sqrt(variance + np.float32(epsilon))
        return scale, beta - mean * scale


def explicit_batch_norms(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[ExplicitNorm, ...]]:
    """Return a copy with its 4-D inference BatchNormalizations made explicit, and what was changed.

    Nodes whose four parameters are not plain float32 initializers stay as they are.
    """
    if not any(node.op_type == "BatchNormalization" for node in model.graph.node):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy, ()
    edited = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    norms = tuple(_replace(edited.graph, node) for node in list(_candidates(edited.graph)))
    return ir.to_proto(edited), norms


def _candidates(graph: ir.Graph) -> Iterator[ir.Node]:
    for node in graph:
        if node.op_type != "BatchNormalization" or node.domain or node.attributes.get_int("training_mode"):
            continue
        data, *parameters = node.inputs
        stored = all(v is not None and v.is_initializer() and v.dtype == ir.DataType.FLOAT for v in parameters)
        if stored and data is not None and data.shape is not None and len(data.shape) == 4:
            yield node


def _replace(graph: ir.Graph, node: ir.Node) -> ExplicitNorm:
    data, *parameters = node.inputs
    names = tuple(str(value.name) for value in parameters if value is not None)
    arrays = [value.const_value.numpy() for value in parameters if value is not None and value.const_value is not None]
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    gamma, beta, mean, variance = arrays
    scale, shift = scale_and_shift(gamma, beta, mean, variance, epsilon)
    output = node.outputs[0]
    new = [
        _initializer(graph, f"{output.name}/ftonnx_scale", scale.reshape(-1, 1, 1, 1)),
        _initializer(graph, f"{output.name}/ftonnx_shift", shift),
    ]
    conv = ir.node("Conv", [data, *new], {"group": len(scale), "kernel_shape": [1, 1]}, name=node.name)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [conv], [output], conv.outputs)
    return ExplicitNorm(
        scale=str(new[0].name),
        shift=str(new[1].name),
        inputs=(names[0], names[1], names[2], names[3]),
        epsilon=epsilon,
    )


def _initializer(graph: ir.Graph, name: str, array: NDArray[np.float32]) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value
