"""Writing TOML, which Python only reads, and texts of its values."""

import json
from collections.abc import Mapping
from typing import Any

from ftonnx.errors import UsageError

__all__ = ["option_text", "toml_line"]


def toml_line(key: str, value: Any) -> str:
    r"""Return one line of TOML.

    >>> print(toml_line("rate", [1e-7, 3e-7]))
    rate = [1e-07, 3e-07]
    >>> print(toml_line("goals", [{"max_sdc": 0.01, "rate": 1e-7}]))
    goals = [{max_sdc = 0.01, rate = 1e-07}]

    Raises:
        UsageError: a text has characters that no file of text can hold.
    """
    return f"{key} = {_toml(value)}"


def option_text(value: Any) -> str:
    """Return what an option's own reader reads of a value of TOML: text, with commas for an array.

    Raises:
        UsageError: it is a truth value or a table.

    >>> option_text([0.485, 0.456]), option_text("1/255"), option_text(64)
    ('0.485,0.456', '1/255', '64')
    """
    if isinstance(value, bool | dict):
        raise UsageError(f"a text was expected, got {value!r}")
    if isinstance(value, list | tuple):
        return ",".join(map(option_text, value))
    return str(value)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        entries = [toml_line(key, inner) for key, inner in value.items()]
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def _text(value: str) -> str:
    """Return a basic string; TOML's escapes are JSON's, and it wants one more character escaped."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{value!r} is no text that a file can hold; rename it") from None
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
