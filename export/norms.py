"""BatchNormalization that no convolution took in, written as a per-channel scale and shift.

Its four stored tensors become two that a runtime keeps as they are, so that every stored bit has one place in memory
(ONNX Runtime would fold the four into other constants by arithmetic).
"""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.export.initializers import module_prefix, new_initializer

__all__ = ["explicit_norms"]

_DEFAULT_EPSILON = 1e-5


def explicit_norms(graph: ir.Graph) -> int:
    """Replace, in place, each inference BatchNormalization with stored parameters, and return how many.

    An input with spatial axes goes through a depthwise 1x1 Conv, one without through Mul and Add.
    """
    nodes = [node for node in graph if node.op_type == "BatchNormalization" and not node.domain]
    return sum(_replaced(graph, node) for node in nodes)


def scale_and_shift(
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per-channel scale and shift of a normalization, computed in float64.

    >>> one = np.ones(1, np.float32)
    >>> [a.tolist() for a in scale_and_shift(2 * one, one, 3 * one, 4 * one, 0.0)]
    [[1.0], [-2.0]]
    """
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    shift = beta - mean * scale
    return scale.astype(np.float32), shift.astype(np.float32)


def _replaced(graph: ir.Graph, node: ir.Node) -> bool:
    data, *parameters = node.inputs
    arrays = [value.const_value.numpy() for value in parameters if value is not None and value.const_value is not None]
    if data is None or data.shape is None or len(arrays) != 4 or any(a.dtype != np.float32 for a in arrays):
        return False
    gamma, beta, mean, variance = arrays
    scale, shift = scale_and_shift(gamma, beta, mean, variance, node.attributes.get_float("epsilon", _DEFAULT_EPSILON))
    new = _affine(graph, data, scale, shift, module_prefix(node))
    new[0].name, old = node.name, node.outputs[0]
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [old], new[-1].outputs)
    return True


def _affine(
    graph: ir.Graph, data: ir.Value, scale: NDArray[np.float32], shift: NDArray[np.float32], prefix: str
) -> list[ir.Node]:
    """Nodes that compute ``data * scale + shift`` per channel (axis 1)."""
    assert data.shape is not None
    spatial = len(data.shape) - 2
    weight = new_initializer(graph, f"{prefix}scale", scale.reshape(-1, 1, *[1] * spatial) if spatial else scale)
    bias = new_initializer(graph, f"{prefix}shift", shift)
    if spatial > 0:
        return [ir.node("Conv", [data, weight, bias], {"group": len(scale), "kernel_shape": [1] * spatial})]
    product = ir.node("Mul", [data, weight])
    product.outputs[0].type, product.outputs[0].shape = data.type, data.shape
    return [product, ir.node("Add", [product.outputs[0], bias])]
