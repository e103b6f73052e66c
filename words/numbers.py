"""Numbers as people read them."""

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["interval", "is_number", "nine_digits", "number", "percent", "shape_text", "share_digits"]

_WHOLE_FROM: Final = 1000
_WHOLE_BELOW: Final = 1e9
"""Between these, digits behind the point say nothing."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as per cent, a dash where there is none.

    >>> percent(0.98056), percent(0.98056, 1), percent(None)
    ('98.06 %', '98.1 %', '-')
    """
    return "-" if fraction is None else f"{100 * fraction:.{digits}f} %"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Return an interval of fractions in per cent, a dash where there is none.

    >>> interval(0.7070, 0.93411), interval(None, None)
    ('70.70 to 93.41 %', '-')
    """
    if low is None or high is None:
        return "-"
    return f"{100 * low:.{digits}f} to {percent(high, digits)}"


def number(value: float | None, digits: int = 4) -> str:
    """Return a count with thousands separators, other numbers with few digits, a dash where there is none.

    >>> number(1790784), number(1.53333), number(-0.00001234), number(123456.7), number(None)
    ('1,790,784', '1.533', '-1.234e-05', '123,457', '-')
    >>> number(1.5333, digits=3), number(math.inf)
    ('1.53', 'inf')
    """
    if value is None:
        return "-"
    is_count = math.isfinite(value) and value == int(value)
    if is_count or _WHOLE_FROM <= abs(value) < _WHOLE_BELOW:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def nine_digits(value: float | None) -> float | None:
    """Return a computed number to nine significant digits, in which the numeric kernels of all processors agree.

    >>> nine_digits(0.123456789876), nine_digits(1.23456789876e-30), nine_digits(None)
    (0.12345679, 1.2345679e-30, None)
    """
    return None if value is None else float(f"{value:.9g}")


def share_digits(value: float | None) -> float | None:
    """Return a fraction, or a limit of one, to nine significant digits and no further than the twelfth decimal.

    What is left where a limit of 0 was computed as a difference is no digit of it.

    >>> share_digits(2 / 3), share_digits(1e-17), share_digits(None)
    (0.666666667, 0.0, None)
    """
    return None if value is None else nine_digits(round(value, 12))


def shape_text(shape: Sequence[int]) -> str:
    """Return a tensor's shape.

    >>> shape_text([64, 3, 7, 7]), shape_text([])
    ('64x3x7x7', 'scalar')
    """
    return "x".join(map(str, shape)) or "scalar"


def is_number(value: object) -> bool:
    """Say whether a value from a file is a finite number; truth values, which Python counts among them, are none.

    >>> is_number(0.5), is_number(3), is_number(True), is_number("3"), is_number(math.inf)
    (True, True, False, False, False)
    """
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        # one may be too large to be asked whether it is finite
        return True
    return isinstance(value, float) and math.isfinite(value)
