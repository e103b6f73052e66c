"""JSON and TOML from strangers: whatever is wrong with a text is a ValueError that says what."""

import json
import tomllib
from typing import Any, Final

__all__ = ["parsed_json", "parsed_toml"]

_MOST: Final = 2**64
"""Whole numbers beyond it are nobody's, and computing with them fails in many ways."""


def parsed_json(content: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is no JSON, nested too deeply, or holds a number beyond 2^64 or half a character.

    >>> parsed_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        found = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(found)
    return found


def parsed_toml(content: str) -> dict[str, Any]:
    """Return what a TOML text holds.

    Raises:
        ValueError: it is no TOML, nested too deeply, or holds a number beyond 2^64.

    >>> parsed_toml("a = [1, 2.5]")
    {'a': [1, 2.5]}
    """
    try:
        found = tomllib.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(found)
    return found


def _check(found: Any) -> None:
    """Refuse numbers and texts that only parsers take; without recursion, however deep it goes."""
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            # a lone surrogate is a ValueError
            value.encode()
        elif isinstance(value, int) and abs(value) > _MOST:
            raise ValueError(f"a number of {value.bit_length()} bits")
