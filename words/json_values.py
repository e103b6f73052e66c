"""Values that every reader of JSON takes, and dataclasses as such values."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["fields_of_json", "json_fields", "json_values"]


def json_values(value: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, by strings, and tuples by lists.

    >>> json_values({"after": (float("nan"), float("-inf"), 1.5)})
    {'after': ['NaN', '-Infinity', 1.5]}
    """
    if isinstance(value, dict):
        return {key: json_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(inner) for inner in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def json_fields(value: "DataclassInstance") -> dict[str, Any]:
    """Return the fields of a dataclass of plain values by name, tuples as lists.

    >>> from dataclasses import make_dataclass
    >>> json_fields(make_dataclass("Point", ["at", "name"])((1, 2), "a"))
    {'at': [1, 2], 'name': 'a'}
    """
    written: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        written[field.name] = list(content) if isinstance(content, tuple) else content
    return written


def fields_of_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``json_fields`` was given, from what it returned: lists as tuples.

    >>> fields_of_json({"rates": [1e-6, 1e-5], "name": "a"})
    {'rates': (1e-06, 1e-05), 'name': 'a'}
    """
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
