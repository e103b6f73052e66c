"""Values that every reader of JSON takes."""

import math
from typing import Any

__all__ = ["json_values"]


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
