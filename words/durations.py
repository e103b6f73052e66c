"""Lengths of time, in hours, as people write and read them."""

import math
import re
from typing import Final

from ftonnx.errors import UsageError

__all__ = ["HOURS_PER_DAY", "HOURS_PER_YEAR", "duration_text", "parse_duration", "time_text"]

HOURS_PER_DAY: Final = 24.0
HOURS_PER_YEAR: Final = 8760.0

_UNITS: Final = {
    "s": 1 / 3600, "sec": 1 / 3600, "min": 1 / 60, "h": 1.0, "hour": 1.0, "hours": 1.0, "d": HOURS_PER_DAY,
    "day": HOURS_PER_DAY, "days": HOURS_PER_DAY, "w": 7 * HOURS_PER_DAY, "y": HOURS_PER_YEAR,
    "year": HOURS_PER_YEAR, "years": HOURS_PER_YEAR,
}  # fmt: skip
_WRITTEN: Final = re.compile(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([a-z]+)\s*")
_SCALE: Final = (
    (1 / 60, 1 / 3600, "seconds"),
    (2.0, 1 / 60, "minutes"),
    (48.0, 1.0, "hours"),
    (21 * HOURS_PER_DAY, HOURS_PER_DAY, "days"),
    (HOURS_PER_YEAR, 7 * HOURS_PER_DAY, "weeks"),
    (math.inf, HOURS_PER_YEAR, "years"),
)
"""Below how many hours a unit is used, its hours, and its name."""


def parse_duration(text: str | float) -> float:
    """Return hours for a text such as ``90min``, ``24h``, ``30d`` or ``1y`` (365 days).

    Raises:
        UsageError: it is none.

    >>> parse_duration("90min"), parse_duration("1y"), parse_duration("0.5 days")
    (1.5, 8760.0, 12.0)
    """
    written = str(text).lower()
    match = _WRITTEN.fullmatch(written)
    unit = None if match is None else _UNITS.get(match[2])
    if match is None or unit is None:
        raise UsageError(f"a length of time such as 90min, 24h, 30d or 1y was expected, got {text!r}")
    return float(match[1]) * unit


def time_text(hours: float) -> str:
    """Return a time as it would be given: exactly, in the largest unit of which it is a whole number.

    >>> [time_text(hours) for hours in (24, 36, 1.5, 720, 8760, 0.123456, math.inf)]
    ['1d', '36h', '90min', '30d', '1y', '7.4 minutes', 'for ever']
    """
    if math.isinf(hours):
        return duration_text(hours)
    for unit in ("y", "d", "h", "min", "s"):
        times = hours / _UNITS[unit]
        whole = round(times)
        if whole >= 1 and math.isclose(times, whole, rel_tol=1e-12):
            return f"{whole}{unit}"
    return duration_text(hours)


def duration_text(hours: float) -> str:
    """Return a length of time in a unit that suits it, to two digits.

    >>> [duration_text(hours) for hours in (0.001, 2.4, 24, 7200, 8760, 8760 * 26325, math.inf)]
    ['3.6 seconds', '2.4 hours', '24 hours', '43 weeks', '1 year', '26,000 years', 'for ever']
    """
    for limit, unit, name in _SCALE:
        if hours >= limit:
            continue
        shown = _two_digits(hours / unit)
        if shown == "1":
            name = name.removesuffix("s")
        return f"{shown} {name}"
    return "for ever"


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
