"""Range checks: a value that a tensor has nowhere is found without a bit that is stored for it."""

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject.formats import FixedPoint, Format
from ftonnx.inject.space import FaultSpace

__all__ = ["Range", "comparable"]

Codes = NDArray[np.uint64]


def comparable(form: Format, codes: Codes) -> NDArray[Any]:
    """Return numbers that are ordered as the values of codes are; NaN stays NaN.

    >>> from ftonnx.inject.formats import parse_format
    >>> comparable(parse_format("ieee", np.dtype(np.float32)), np.array([0xC0000000], np.uint64)).tolist()
    [-2.0]
    >>> comparable(parse_format("ieee", np.dtype(np.int8)), np.array([0xFE], np.uint64)).tolist()
    [-2]
    """
    if form.name == "ieee":
        words = codes.astype(form.word)
        # a flip can make a signalling NaN, of which numpy would warn
        with np.errstate(invalid="ignore"):
            return words.view(form.dtype).astype(np.float64)
    if isinstance(form, FixedPoint) or form.dtype.name.startswith("int"):
        unused = 64 - form.bits
        # sign-extended
        return (codes << np.uint64(unused)).view(np.int64) >> unused
    return codes


class _Bounds(NamedTuple):
    """The smallest and the largest value of a tensor, as codes of one element each, uint64 (1,)."""

    low: Codes
    high: Codes


class Range:
    """The range of the values that a model stores in a tensor, as its format sees them; read at the first use."""

    def __init__(self, space: FaultSpace, target: int) -> None:
        """Take a tensor by its number in the model's fault space."""
        self._space = space
        self._target = target
        self._form = space.targets[target].format

    @functools.cached_property
    def _bounds(self) -> _Bounds:
        elements = np.arange(self._space.targets[self._target].elements)
        codes = self._space.codes(self._target, elements)
        values = comparable(self._form, codes)
        lowest = int(np.argmin(values))
        highest = int(np.argmax(values))
        return _Bounds(codes[lowest : lowest + 1], codes[highest : highest + 1])

    def clamped(self, codes: Codes) -> Codes:
        """Return codes with the nearest value of the range in the place of those beyond it, 0 in that of NaN."""
        low, high = self._bounds
        values = comparable(self._form, codes)
        below = values < comparable(self._form, low)
        above = values > comparable(self._form, high)
        inside = np.where(below, low, np.where(above, high, codes))
        return np.where(np.isnan(values), np.uint64(0), inside)

    def leaves_out(self, codes: Codes) -> NDArray[np.bool_]:
        """Say which values are beyond the range, or are NaN."""
        low, high = self._bounds
        values = comparable(self._form, codes)
        is_inside: NDArray[np.bool_] = (values >= comparable(self._form, low)) & (
            values <= comparable(self._form, high)
        )
        return ~is_inside
