"""BatchNormalization nodes of a graph, written as a per-channel scale and shift.

Their four stored tensors become two that a runtime keeps as they are, so that every stored bit has one place in memory
(ONNX Runtime would fold the four into other constants by arithmetic).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.graphs.initializers import add_initializer, free_name
from ftonnx.graphs.scale_shift import ExplicitNorm, scale_and_shift

__all__ = ["StoredNorm", "make_explicit", "stored_norms"]

_DEFAULT_EPSILON: Final = 1e-5
_PARAMETERS: Final = 4  # gamma, beta, mean, variance
_OTHER_AXES: Final = 2  # batch and channels


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNorm:
    """An inference BatchNormalization that can be written otherwise.

    Attributes:
        node: it.
        data: what it normalizes.
        rank: number of axes of ``data``.
        parameters: gamma, beta, mean and variance, which have stored float32 values.
        epsilon: the node's own.
    """

    node: ir.Node
    data: ir.Value
    rank: int
    parameters: tuple[ir.Value, ...]
    epsilon: float

    @property
    def spatial_axes(self) -> int:
        """Number of axes behind the batch and the channels."""
        return self.rank - _OTHER_AXES

    def names(self) -> tuple[str, str, str, str]:
        """Return the names of gamma, beta, mean and variance."""
        names = [str(value.name) for value in self.parameters]
        gamma, beta, mean, variance = names
        return gamma, beta, mean, variance

    def arrays(self) -> list[NDArray[np.float32]]:
        """Return the values of gamma, beta, mean and variance."""
        values = []
        for parameter in self.parameters:
            assert parameter.const_value is not None  # else it would not have been found
            values.append(parameter.const_value.numpy())
        return values


def stored_norms(graph: ir.Graph) -> Iterator[StoredNorm]:
    """Yield the BatchNormalizations of the main graph whose parameters are stored and whose input has a known rank."""
    for node in list(graph):
        if node.op_type != "BatchNormalization" or node.domain:
            continue
        if node.attributes.get_int("training_mode"):
            continue
        found = _stored_norm(node)
        if found is not None:
            yield found


def make_explicit(
    graph: ir.Graph, norm: StoredNorm, *, scale: str, shift: str, precision: type[np.floating[Any]]
) -> ExplicitNorm:
    """Put a scale and shift in the place of a normalization, in place.

    An input with spatial axes goes through a depthwise 1x1 Conv, one without through Mul and Add.

    Args:
        graph: it lies here.
        norm: it.
        scale: name for the new initializer gamma / sqrt(variance + epsilon); where it is taken, a number is added.
        shift: the same for beta - mean * scale.
        precision: in which these are computed.
    """
    factors, terms = scale_and_shift(norm.arrays(), norm.epsilon, precision=precision)
    if norm.spatial_axes:
        ones = [1] * norm.spatial_axes
        factors = factors.reshape(-1, 1, *ones)
    weight = add_initializer(graph, free_name(graph, scale), factors)
    bias = add_initializer(graph, free_name(graph, shift), terms)
    new = _affine(norm, weight, bias)
    # whoever looks for the node by its name finds what stands in its place
    new[0].name = norm.node.name
    ir.convenience.replace_nodes_and_values(
        graph,
        norm.node,
        [norm.node],
        new,
        norm.node.outputs[:1],
        new[-1].outputs,
    )
    return ExplicitNorm(
        scale=str(weight.name),
        shift=str(bias.name),
        inputs=norm.names(),
        epsilon=norm.epsilon,
    )


def _stored_norm(node: ir.Node) -> StoredNorm | None:
    data = node.inputs[0]
    if data is None or data.shape is None:
        return None
    parameters = tuple(value for value in node.inputs[1:] if _is_stored_float(value))
    # what is computed, or of another type, cannot be put together beforehand
    if len(parameters) != _PARAMETERS:
        return None
    return StoredNorm(
        node=node,
        data=data,
        rank=len(data.shape),
        parameters=parameters,
        epsilon=node.attributes.get_float("epsilon", _DEFAULT_EPSILON),
    )


def _is_stored_float(value: ir.Value | None) -> TypeGuard[ir.Value]:
    if value is None or value.const_value is None:
        return False
    return value.const_value.dtype == ir.DataType.FLOAT


def _affine(norm: StoredNorm, weight: ir.Value, bias: ir.Value) -> list[ir.Node]:
    """Return the nodes that compute ``data * weight + bias`` per channel (axis 1)."""
    if norm.spatial_axes > 0:
        assert weight.shape is not None
        channels = weight.shape.numpy()[0]
        kernel = [1] * norm.spatial_axes
        # a depthwise 1x1 Conv: its two tensors stay as they are in every layout
        depthwise = ir.node(
            "Conv",
            [norm.data, weight, bias],
            {"group": channels, "kernel_shape": kernel},
        )
        return [depthwise]
    product = ir.node("Mul", [norm.data, weight])
    scaled = product.outputs[0]
    scaled.type = norm.data.type
    scaled.shape = norm.data.shape
    return [product, ir.node("Add", [scaled, bias])]
