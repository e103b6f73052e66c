"""JSON and TOML from strangers: whatever is wrong with a text is a ValueError that says what."""

import json
import tomllib
from typing import Any, Final

__all__ = ["parsed_json", "parsed_toml"]

_DEEPEST: Final = 100
_TOO_DEEP: Final = "it is nested too deeply"
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
        raise ValueError(_TOO_DEEP) from None
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
        raise ValueError(_TOO_DEEP) from None
    _check(found)
    return found


def _check(found: Any) -> None:
    """Refuse numbers and texts that only parsers take, and what others would need recursion for; without recursion."""
    waiting = [(found, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(_TOO_DEEP)
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for each in value]
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, str):
            # a lone surrogate is a ValueError
            value.encode()
        elif isinstance(value, int) and abs(value) > _MOST:
            raise ValueError(f"a number of {value.bit_length()} bits")
