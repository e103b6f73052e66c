"""Which stored operands of Add, Sub, Mul and Div are no weights, by their values and shape.

A file does not say which of its tensors were trained. Four kinds are told by rule, and only they: attention masks,
the constants that normalize a model's raw input, grids and anchors of detectors, and single numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ftonnx.inject.constants import Stored
from ftonnx.inject.tensors import numpy_type, words_of

__all__ = ["is_grid", "is_mask", "is_per_channel", "is_quantized_mask", "real_values"]

_Floats = NDArray[np.floating[Any]]

_LEAST_MASK: Final = 50.0
"""exp(-50) is 2e-22: a softmax in float32 does not see a score that is so much below another."""

_PACKED: Final = frozenset({TensorProto.INT4, TensorProto.UINT4})

_NO_NUMBERS: Final = frozenset(
    {TensorProto.UNDEFINED, TensorProto.STRING, TensorProto.BOOL, TensorProto.COMPLEX64, TensorProto.COMPLEX128}
)

_MOST_SMALL: Final = 2
"""So many different values every tensor may have that was never trained, such as zeros, ones or signs."""


def real_values(stored: Stored) -> _Floats:
    """Return what a tensor's elements stand for, flat; integers without one known scale are themselves."""
    values = _array(stored.tensor)
    if stored.conversion is None:
        return values
    # a stored float that is quantized on the way is what it is
    first = stored.conversion.converter
    if first.node.op_type != "DequantizeLinear":
        return values
    parameters = []
    for name in first.node.input[1:]:
        place = first.scope.find(name)
        parameters.append(None if place is None else place.scope.tensors.get(place.name))
    return _dequantized(values, parameters)


def is_quantized_mask(codes: TensorProto, step_and_zero: Iterable[TensorProto | None]) -> bool:
    """Say whether the codes of a tensor, with their scale and zero point, are those of a mask."""
    values = _array(codes)
    return is_mask(_dequantized(values, step_and_zero), codes.dims)


def _array(tensor: TensorProto) -> _Floats:
    """Return a tensor's elements, flat; none where they are no numbers."""
    array: NDArray[Any]
    if tensor.data_type in _NO_NUMBERS:
        return np.empty(0)
    if tensor.data_type in _PACKED:
        array = numpy_helper.to_array(tensor).ravel()
    else:
        array = words_of(tensor).view(numpy_type(tensor))
    # tables are large: floats that numpy has itself stay as they are
    if array.dtype.kind == "f":
        return array
    return array.astype(np.float64)


def _dequantized(values: _Floats, parameters: Iterable[TensorProto | None]) -> _Floats:
    """Return what codes stand for by their scale and zero point; the codes where these are not one number each."""
    numbers = []
    for tensor in parameters:
        number = np.empty(0) if tensor is None else _array(tensor)
        # masks are quantized as a whole
        if number.size != 1:
            return values
        numbers.append(float(number[0]))
    scale, *zero_point = numbers
    with np.errstate(all="ignore"):
        real: _Floats = (values - sum(zero_point)) * scale
    return real


def is_mask(values: _Floats, shape: Sequence[int]) -> bool:
    """Say whether a tensor with two axes or more keeps some positions and shuts out others.

    Its elements are 0 and 1; or 0 and at least 50 away from it, all to one side.

    >>> is_mask(np.array([0.0, -100, 0, 0]), (2, 2)), is_mask(np.array([0.0, -1, 0, 0]), (2, 2))
    (True, False)
    """
    # a bias has one axis: no values of it make it a mask
    if is_per_channel(shape):
        return False
    # a broken file may hold signalling NaN, of which numpy would warn
    with np.errstate(invalid="ignore"):
        is_zero = values == 0
        others = values[~is_zero]
        if not others.size or others.size == values.size:
            return False
        is_one = others == 1
        is_below = others <= -_LEAST_MASK
        is_above = others >= _LEAST_MASK
    return bool(is_one.all() or is_below.all() or is_above.all())


def is_grid(values: _Floats) -> bool:
    """Say whether a tensor counts: whole and half numbers only, of more than two values, as cells, strides, anchors.

    >>> is_grid(np.array([0.5, 1.5, 2.5])), is_grid(np.array([0.5, 0.25, 1]))
    (True, False)
    """
    if not np.isfinite(values).all():
        return False
    # by the remainder: twice a large number may be beyond the type
    if np.count_nonzero(values % 0.5):
        return False
    return len(np.unique(values)) > _MOST_SMALL


def is_per_channel(shape: Sequence[int]) -> bool:
    """Say whether a tensor has one value per channel: one axis at most is longer than 1."""
    long_axes = [size for size in shape if size > 1]
    return len(long_axes) <= 1
