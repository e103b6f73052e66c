"""Values from strangers, checked for their kind and range: one line says what was expected and what came."""

import numbers
import operator
from collections.abc import Iterable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from ftonnx.errors import UsageError

__all__ = ["file_path", "of_kind", "real_number", "text", "texts", "whole_number"]

_SHOWN = 60


def whole_number(name: str, value: Any, least: int, most: int) -> int:
    """Return a whole number, of Python's or numpy's, within limits that belong to it.

    Raises:
        UsageError: it is something else.

    >>> whole_number("threads", 4, 1, 1024)
    4
    >>> whole_number("threads", "4", 1, 1024)
    Traceback (most recent call last):
    ftonnx.errors.UsageError: `threads`: a whole number from 1 to 1,024 was expected, got '4'
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    # True counts as 1 for Python, and is no number that anybody means
    if isinstance(value, bool) or not least <= number <= most:
        limits = f"from {least:,} to {most:,}"
        raise UsageError(f"`{name}`: a whole number {limits} was expected, got {_shown(value)}")
    return number


def of_kind(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> None:
    """Refuse a value of a type that was not meant.

    Args:
        name: of the argument.
        value: it.
        kinds: the types that it may have.
        expected: what was expected, in words.

    Raises:
        UsageError: it has another one.

    >>> of_kind("task", "classification", int, "a task such as Classification()")
    Traceback (most recent call last):
    ftonnx.errors.UsageError: `task`: a task such as Classification() was expected, got 'classification'
    """
    if not isinstance(value, kinds):
        raise UsageError(f"`{name}`: {expected} was expected, got {_shown(value)}")


def file_path(name: str, value: Any, expected: str = "a path") -> Path:
    """Return a path, which may be given as a text.

    Raises:
        UsageError: it is neither.

    >>> file_path("results", 5, "a folder")
    Traceback (most recent call last):
    ftonnx.errors.UsageError: `results`: a folder was expected, got 5
    """
    of_kind(name, value, (str, PathLike), expected)
    return Path(value)


def real_number(name: str, value: Any) -> float:
    """Return a number of Python's or numpy's, infinite ones and NaN included, whose range is the caller's.

    Raises:
        UsageError: it is something else.

    >>> real_number("confidence", "0.9")
    Traceback (most recent call last):
    ftonnx.errors.UsageError: `confidence`: a number was expected, got '0.9'
    """
    # True counts as 1 for Python, and a text may say a number
    is_truth: bool = isinstance(value, bool)
    if isinstance(value, numbers.Real) and not is_truth:
        with suppress(OverflowError):
            return float(value)
    raise UsageError(f"`{name}`: a number was expected, got {_shown(value)}")


def text(name: str, value: Any) -> str:
    """Return a text.

    Raises:
        UsageError: it is something else.

    >>> text("output", 3)
    Traceback (most recent call last):
    ftonnx.errors.UsageError: `output`: a text was expected, got 3
    """
    if not isinstance(value, str):
        raise UsageError(f"`{name}`: a text was expected, got {_shown(value)}")
    return value


def texts(name: str, value: Any) -> tuple[str, ...]:
    """Return texts as a tuple; a single one is a text, not a sequence of letters.

    Raises:
        UsageError: it is something else.

    >>> texts("roles", ["weight", "bias"]), texts("include", "conv*")
    (('weight', 'bias'), ('conv*',))
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable):
        raise UsageError(f"`{name}`: texts were expected, got {_shown(value)}")
    return tuple(text(name, each) for each in value)


def _shown(value: Any) -> str:
    try:
        shown = repr(value)
    except ValueError:  # Python shows no number of more than 4,300 digits
        shown = f"a number of {value.bit_length()} bits"
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
