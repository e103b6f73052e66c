"""Numbers as people read them."""

from collections.abc import Sequence

import numpy as np

__all__ = ["interval", "number", "percent", "rate_text", "shape_text"]


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
    return "-" if low is None or high is None else f"{100 * low:.{digits}f} to {percent(high, digits)}"


def number(value: float | None) -> str:
    """Return a count with thousands separators, other numbers with four digits, a dash where there is none.

    >>> number(1790784), number(1.53333), number(-0.00001234), number(123456.7), number(None)
    ('1,790,784', '1.533', '-1.234e-05', '123,457', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def shape_text(shape: Sequence[int]) -> str:
    """Return a tensor's shape.

    >>> shape_text([64, 3, 7, 7]), shape_text([])
    ('64x3x7x7', 'scalar')
    """
    return "x".join(map(str, shape)) or "scalar"


def rate_text(rate: float) -> str:
    """Return a fault rate in its shortest form, with five digits at most.

    >>> rate_text(1e-06), rate_text(0.00025), rate_text(5.584146385046996e-07), rate_text(0.0)
    ('1e-6', '2.5e-4', '5.5841e-7', '0')
    """
    return np.format_float_scientific(rate, precision=4, trim="-", exp_digits=1) if rate else "0"
