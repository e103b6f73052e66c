"""What descriptions of JSON are made of."""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Final, Literal, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = ["Interval", "Json", "Object", "Question", "Real", "all_of", "attributes_of"]

Json = dict[str, Any]
"""An object of which nothing is said."""

Question = Literal["these-images", "new-images"]
Real = Annotated[
    float | Literal["NaN", "Infinity", "-Infinity"], Meta(description="JSON has no numbers for the texts.")
]

_ATTRIBUTES: Final = re.compile(r"^Attributes:\n((?:    .*\n?|\n)+)", re.MULTILINE)
_ATTRIBUTE: Final = re.compile(r"^    ([\w, ]+): ((?:.|\n(?!    \w[\w, ]*: ))+)", re.MULTILINE)


class Object(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object with these keys and no other; a key without a default is always there.

    ``other_values`` is the type of all further values, whose keys are not known here.
    """

    other_values: ClassVar[Any] = None


def attributes_of(docstring: str) -> dict[str, str]:
    r"""Return what a docstring says of each attribute.

    >>> attributes_of("A point.\n\nAttributes:\n    x, y: where it is;\n        in pixels.\n    name: of it.\n")
    {'x': 'where it is; in pixels.', 'y': 'where it is; in pixels.', 'name': 'of it.'}
    """
    section = _ATTRIBUTES.search(docstring)
    found = {}
    for names, text in _ATTRIBUTE.findall(section[1] if section else ""):
        for name in names.split(", "):
            found[name] = " ".join(text.split())
    return found


def all_of(record: Any, *, without: tuple[str, ...] = (), set_only: bool = False, **types: Any) -> Any:
    """Return the object that a dataclass is written as.

    Args:
        record: the dataclass.
        without: its fields that are not written.
        set_only: whether fields that are None are left out.
        types: of fields that are written as another type than they have, and of those that are added.
    """
    hints: Mapping[str, Any] = get_type_hints(record, include_extras=True)
    written = {field.name: hints[field.name] for field in fields(record) if field.name not in without}
    described = [
        (name, kind | UnsetType, UNSET) if set_only else (name, kind) for name, kind in (written | types).items()
    ]
    made = msgspec.defstruct(record.__name__, described, bases=(Object,), kw_only=True)
    made.__doc__ = record.__doc__
    return made


class Interval(Object, frozen=True):
    """A fraction with its interval.

    Attributes:
        mean: the estimate.
        low: lower limit; null where there is none.
        high: upper limit, likewise.
        confidence: of the interval.
    """

    mean: float
    low: float | None
    high: float | None
    confidence: float
