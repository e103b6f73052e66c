"""What people write on a command line, as values."""

from collections.abc import Callable
from typing import Final

from ftonnx.datasets.kinds import parse_spec
from ftonnx.errors import UsageError
from ftonnx.words import split_names

__all__ = ["fraction", "fractions", "memory_bytes", "one_of", "rates_of", "split_or"]

_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30}


def one_of(*words: str) -> Callable[[str], str]:
    """Return what reads one of some words.

    >>> one_of("check", "list")("list")
    'list'
    """

    def word(text: str) -> str:
        if text not in words:
            raise UsageError(f"{' or '.join(words)} was expected, got {text!r}")
        return text

    return word


def memory_bytes(text: str) -> int:
    """Read an amount of memory.

    >>> memory_bytes("512M"), memory_bytes("1.5G"), memory_bytes("0")
    (536870912, 1610612736, 0)

    Raises:
        UsageError: it is none.
    """
    unit = text[-1:].upper()
    digits = text[:-1] if unit in _UNITS else text
    try:
        amount = float(digits) * _UNITS.get(unit, 1)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < 2**63:
        raise UsageError(f"bytes such as 512M or 2G were expected, got {text!r}")
    return int(amount)


def fraction(text: str) -> float:
    """Read a number or a fraction.

    >>> fraction("1/256"), fraction("0.5")
    (0.00390625, 0.5)

    Raises:
        UsageError: it is none.
    """
    parts = text.partition("/")
    try:
        return float(parts[0]) / float(parts[2] or 1)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"a number or a fraction such as 1/255 was expected, got {text!r}") from None


def fractions(text: str) -> tuple[float, ...]:
    """Read numbers and fractions, separated by commas."""
    return tuple(fraction(part) for part in split_names(text))


def rates_of(text: str) -> tuple[float, ...]:
    """Read bit-fault rates, separated by commas.

    >>> rates_of("1e-7, 3e-6")
    (1e-07, 3e-06)

    Raises:
        UsageError: one is no number.
    """
    try:
        return tuple(float(part) for part in split_names(text))
    except ValueError:
        raise UsageError(f"numbers such as 1e-7,1e-6 were expected, got {text!r}") from None


def split_or(default: str, split: str | None, spec: str) -> str | None:
    """Return the split to use: the given one, else the default where the data has splits.

    >>> split_or("val", None, "digits"), split_or("val", None, "loader.py:load"), split_or("val", "test", "digits")
    ('val', None, 'test')
    """
    if split:
        return split
    return default if parse_spec(spec).has_splits else None
