r"""From the library's parameters to the command line's flags, in one place.

The library names its parameters between backquotes: ```jobs```, ```batch_size=7```. Someone at a command line is told
of flags.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["with_flags"]

_PARAMETER: Final = re.compile(r"(?<!`)`([a-z][a-z0-9_]*)(?:=([^`]+))?`(?!`)")
_FIRST_WORD: Final = re.compile(r"[a-z]+(?:_[a-z]+)+(?=[ :])")
_OTHER_NAMES: Final = {
    "feeds": "feed",
    "include_clean": "auc-include-clean",
    "rates": "rate",
}
"""Flags that are not named after the parameter."""


_FILE_OUTPUT: Final = ("protect", "quantize")
"""Commands whose --output is a file, and not the output of the model that is judged."""


def with_flags(message: str, command: str = "", options: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a message of the library in the words of the command line, or of one of its commands.

    Args:
        message: it.
        command: that says it.
        options: of the command, by the names of the library's parameters, of which a message may begin with one.

    >>> with_flags("takes batches of exactly 8 images, got `batch_size=7`; lower `jobs`")
    'takes batches of exactly 8 images, got --batch-size 7; lower --jobs'
    >>> with_flags("add `format='ieee'`, or `exhaustive=True`; say `input_shape=(3, 224, 224)`")
    'add --format ieee, or --exhaustive; say --input-shape 3,224,224'
    >>> with_flags("use `faults=FaultCount(1)`, `faults=PerLayer(M)` or `faults=EveryBit()`")
    'use --faults-per-run 1, --per-layer M or --exhaustive'
    >>> with_flags("name one as `output`", "protect")
    'name one as --model-output'
    >>> with_flags("`output='z'` was asked for", "quantize")
    '--model-output z was asked for'
    >>> with_flags("batch_size: 1 or more was expected, got 0", options={"batch_size": "--batch-size"})
    '--batch-size: 1 or more was expected, got 0'
    """
    first = _FIRST_WORD.match(message)
    if first is not None and first[0] in options:
        message = options[first[0]] + message[first.end() :]
    if command in _FILE_OUTPUT:
        message = message.replace("`output", "`model_output")
    return _PARAMETER.sub(_flag, message)


def _flag(found: re.Match[str]) -> str:
    name = found[1]
    value = found[2]
    if name == "faults" and value is not None:
        return _fault_flag(value)
    flag = "--" + _OTHER_NAMES.get(name, name.replace("_", "-"))
    if value is None or value == "True":
        return flag
    return f"{flag} {_argument(value)}"


def _fault_flag(value: str) -> str:
    """Return the flag of a fault model that is written as a call."""
    from ftonnx.inject import FAULT_MODELS  # only errors need it, and it takes a moment

    kind, _, argument = value.partition("(")
    flags = {model.__name__: model.options[0].flag for model in FAULT_MODELS}
    return f"{flags[kind]} {argument.rstrip(')')}".rstrip()


def _argument(value: str) -> str:
    """Return a Python value as it is written on a command line: without quotes and brackets."""
    bare = value.strip("()[]").replace("'", "").replace('"', "")
    return bare.replace(", ", ",")
