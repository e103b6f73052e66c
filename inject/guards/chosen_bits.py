"""Which bits of an element a guard is about: all, those of a part of the number, or some by their numbers."""

from collections.abc import Sequence
from typing import Any, Final

import ml_dtypes

from ftonnx.errors import UsageError
from ftonnx.inject.formats import FixedPoint, Format
from ftonnx.inject.target import Target
from ftonnx.words import bit_positions, near

__all__ = ["ALL", "Bits", "bits_of", "parse_bits"]

Bits = str | tuple[int, ...]
"""``all``, ``sign``, ``exponent`` or ``sign+exponent``, or numbers of bits, counted from the least significant."""

ALL: Final = "all"
_PARTS: Final = ("sign", "exponent", "sign+exponent")
_WORDS: Final = (ALL, *_PARTS)
_LAST_BIT: Final = 63


def parse_bits(value: Any) -> Bits:
    """Read a choice of bits.

    Raises:
        UsageError: it is none.

    >>> parse_bits("sign+exponent"), parse_bits("28-30,31"), parse_bits([31, 30]), parse_bits(31)
    ('sign+exponent', (28, 29, 30, 31), (30, 31), (31,))
    """
    if isinstance(value, str):
        if value in _WORDS:
            return value
        if not value[:1].isdigit():
            raise UsageError(f"bits: {', '.join(_WORDS)}, or numbers such as 28-31 were expected, got {value!r}"
                             f"{near(value, _WORDS)}")  # fmt: skip
        return bit_positions(value)
    numbers = value if isinstance(value, list | tuple) else (value,)
    are_bits = [type(number) is int and 0 <= number <= _LAST_BIT for number in numbers]
    if not numbers or not all(are_bits):
        raise UsageError(f"bits: {', '.join(_WORDS)}, or numbers from 0 to {_LAST_BIT} were expected, got {value!r}")
    return tuple(sorted(set(numbers)))


def bits_of(chosen: Bits, target: Target) -> tuple[int, ...]:
    """Return the numbers of the chosen bits of a tensor's elements, ascending.

    Raises:
        UsageError: its elements have no such bits.
    """
    form = target.format
    if chosen == ALL:
        return tuple(range(form.bits))
    if isinstance(chosen, str):
        return _part(chosen, target)
    if chosen[-1] >= form.bits:
        raise UsageError(
            f"bit {chosen[-1]} does not exist in {target.tensor!r}, whose elements ({form.name}) have bits 0 to "
            f"{form.bits - 1}"
        )
    return chosen


def _part(chosen: str, target: Target) -> tuple[int, ...]:
    """Return the bits of a part of a number; of a fixed-point number the integral bits stand for the exponent.

    Raises:
        UsageError: the format does not have it.
    """
    form = target.format
    sign = form.bits - 1
    exponent = _exponent(form)
    if not exponent:
        raise UsageError(
            f"bits: {target.tensor!r} has elements of {form.name}, which have no {chosen}: numbers such as 4-7 were "
            f"expected"
        )
    parts = {"sign": (sign,), "exponent": tuple(exponent), "sign+exponent": (*exponent, sign)}
    return parts[chosen]


def _exponent(form: Format) -> Sequence[int]:
    """Return the bits that decide a number's size; none for integers."""
    if isinstance(form, FixedPoint):
        return range(form.fractional, form.bits - 1)
    if form.name != "ieee":
        return ()
    mantissa: int = ml_dtypes.finfo(form.dtype).nmant  # type: ignore[no-untyped-call]  # it has no types
    return range(mantissa, form.bits - 1)
