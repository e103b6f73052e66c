"""What ``ftonnx activations --json`` wrote, read back."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import DataError
from ftonnx.files import read_document, reason_unread
from ftonnx.words import parsed_json

__all__ = ["Activations"]

_NUMBERS: Final = (
    "rate", "count", "not_finite", "minimum", "quartile1", "median", "quartile3", "maximum", "mean", "sparsity",
    "above",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Activations:
    """How one model's activations are distributed.

    Attributes:
        model: its name.
        rows: per activation and fault rate: name, rate, number of values, minimum, quartiles, maximum, mean, and the
            shares of values that are not finite, zero, or above the threshold; None where there is no number.
    """

    model: str
    rows: tuple[dict[str, Any], ...]

    @classmethod
    def load(cls, path: str | Path) -> "Activations":
        """Read a file that ``ftonnx activations --json`` wrote.

        Raises:
            DataError: it cannot be read, or is something else.
        """
        try:
            content = parsed_json(read_document(path))
            rows = tuple(_row(entry) for entry in content["activations"])
            if not rows:
                raise ValueError("it lists no activation")
            return cls(str(content["model"]), rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: the output of ftonnx activations --json was expected ({type(error).__name__}: "
                f"{reason_unread(error, Path(path))}); run ftonnx activations MODEL --data SPEC --json > FILE.json"
            ) from error


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    if _number(entry["rate"]) is None:
        raise ValueError(f"a rate was expected, got {entry['rate']}")
    return {"activation": str(entry["activation"])} | {name: _number(entry[name]) for name in _NUMBERS}


def _number(value: Any) -> float | None:
    """Return a finite number; the strings that stand for NaN and infinities in JSON become None.

    >>> _number(2), _number("NaN"), _number(None)
    (2.0, None, None)
    """
    if value is None or value in ("NaN", "Infinity", "-Infinity"):
        return None
    number = float(value)
    # JSON has no infinity, but numbers that are too large for Python
    return number if math.isfinite(number) else None
