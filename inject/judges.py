"""Why a stored tensor behind an operand is no weight, bias, scale or zero point; `graph` has the rule.

Judges are values: two that are equal say the same of the same tensor, so neither need be asked twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto

from ftonnx.inject.buffers import is_grid, is_mask, is_per_channel, is_quantized_mask, real_values
from ftonnx.inject.constants import Constant, Stored
from ftonnx.inject.flow import Value
from ftonnx.inject.reasons import GRID, INPUT, INTEGER, MASK, SCALAR, STATE, THRESHOLD, ZEROS, not_followed
from ftonnx.inject.roles import INTEGER_ARITHMETIC, RECURRENT, THRESHOLDS
from ftonnx.inject.tensors import element_count

__all__ = ["Judge", "no_step", "no_values", "of_operand", "of_parameter", "reason_by_use"]

_VALUE_TYPES: Final = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ,
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4,
}  # fmt: skip
"""Types of which values are stored, where others hold indices and shapes."""

Judge = Callable[[Stored], str | None]
"""Says why a stored tensor is no site; None where it is one. Hashable."""


def of_parameter(node: NodeProto, values: list[Value], slot: int, role: str) -> Judge:
    """Return who judges the tensors behind an operator's parameter."""
    if role in ("scale", "zero_point"):
        return no_step
    # a Gather of whole numbers looks up indices or shapes, not embeddings
    if node.op_type == "Gather":
        return _no_embedding
    if node.op_type in INTEGER_ARITHMETIC:
        step_and_zero = tuple(value.constant for value in values[slot + 1 : slot + 3])
        return _Codes(step_and_zero)
    return _no_weight


def of_operand(node: NodeProto, other: Value, is_last: bool) -> Judge:
    """Return who judges the tensors behind an operand of arithmetic.

    Args:
        node: the arithmetic.
        other: the operand that is computed.
        is_last: whether no operator with weights follows.
    """
    return _Operand(linear=other.linear, raw=other.raw, is_last=is_last, normalizes=node.op_type in ("Sub", "Div"))


def no_step(stored: Stored) -> str | None:
    """Say why a tensor is no scale or zero point: what one is computed from is none by itself."""
    return None if stored.moved else SCALAR


def no_values(stored: Stored) -> str | None:
    """Say why a tensor holds no values of weights; None where it may."""
    tensor = stored.tensor
    if tensor.data_type not in _VALUE_TYPES and stored.conversion is None:
        return INTEGER
    if element_count(tensor) == 1:
        return SCALAR
    return None


def _no_weight(stored: Stored) -> str | None:
    if not stored.moved:
        return no_values(stored) or _mask(stored)
    return None


def _no_embedding(stored: Stored) -> str | None:
    if not stored.moved:
        return _no_weight(stored)
    return None if stored.tensor.data_type in _VALUE_TYPES else INTEGER


@dataclass(frozen=True, slots=True)
class _Codes:
    """Judges the codes of an operand.

    Attributes:
        step_and_zero: its scale and zero point; None for one that is computed.
    """

    step_and_zero: tuple[Constant | None, ...]

    def __call__(self, stored: Stored) -> str | None:
        if not stored.moved:
            return _no_weight(stored)
        # a scalar is a constant of the computation, no weight
        if not stored.tensor.dims:
            return SCALAR
        parameters = [None if constant is None else constant.first for constant in self.step_and_zero]
        return MASK if is_quantized_mask(stored.tensor, parameters) else None


@dataclass(frozen=True, slots=True)
class _Operand:
    """Judges an operand of arithmetic with a computed one.

    Attributes:
        linear: whether that one comes out of a linear operator.
        raw: whether it is the prepared input.
        is_last: whether no operator with weights follows.
        normalizes: whether the arithmetic takes away a mean or divides by a deviation.
    """

    linear: bool
    raw: bool
    is_last: bool
    normalizes: bool

    def __call__(self, stored: Stored) -> str | None:
        tensor = stored.tensor
        if self.linear and stored.moved:
            # a size in pixels, for instance; biases of integer operators have 32 bits
            if tensor.data_type == TensorProto.INT64:
                return INTEGER
            # a scalar is a constant of the computation, no weight
            return _mask(stored) if tensor.dims else SCALAR
        reason = no_values(stored) or _mask(stored)
        if reason is not None:
            return reason
        # arithmetic on the raw input normalizes it: by a mean, a deviation, or one number per channel
        if self.raw and (self.normalizes or is_per_channel(tensor.dims)):
            return INPUT
        # behind the last layer, what differs from place to place turns outputs into boxes
        if self.is_last and not is_per_channel(tensor.dims):
            return GRID
        # what a quantizer stored is on a grid anyway
        if stored.conversion is None and is_grid(real_values(stored)):
            return GRID
        return None


def _mask(stored: Stored) -> str | None:
    return MASK if is_mask(real_values(stored), stored.tensor.dims) else None


def reason_by_use(node: NodeProto, stored: Stored) -> str:
    """Say what a tensor is that a node reads otherwise than as a weight."""
    tensor = stored.tensor
    if tensor.data_type not in _VALUE_TYPES:
        return INTEGER
    if node.op_type in THRESHOLDS:
        return THRESHOLD
    if element_count(tensor) == 1:
        return SCALAR
    if node.op_type in RECURRENT:
        return STATE if np.count_nonzero(real_values(stored)) else ZEROS
    return not_followed(node.op_type)
