"""What ``ftonnx activations --json`` wrote, read back."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import DataError
from ftonnx.files import read_document, reason_unread
from ftonnx.words import parsed_json

__all__ = ["Activations", "Histogram"]

_NUMBERS: Final = (
    "rate", "count", "not_finite", "minimum", "quartile1", "median", "quartile3", "maximum", "mean", "sparsity",
    "above",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Histogram:
    """The finite values of one activation at one fault rate.

    Attributes:
        activation: its name.
        rate: flips per bit.
        edges: of the bins, one more than there are bins.
        counts: values in each bin.
    """

    activation: str
    rate: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Activations:
    """How one model's activations are distributed.

    Attributes:
        model: its name.
        rows: per activation and fault rate: name, rate, number of values, minimum, quartiles, maximum, mean, and the
            shares of values that are not finite, zero, or above the threshold; None where there is no number.
        histograms: per activation and fault rate, likewise.
    """

    model: str
    rows: tuple[dict[str, Any], ...]
    histograms: tuple[Histogram, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> "Activations":
        """Read a file that ``ftonnx activations --json`` wrote.

        Raises:
            DataError: it cannot be read, or is something else.
        """
        try:
            return cls.of(parsed_json(read_document(path)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: the output of ftonnx activations --json was expected ({type(error).__name__}: "
                f"{reason_unread(error, Path(path))}); run ftonnx activations MODEL --data SPEC --json > FILE.json"
            ) from error

    @classmethod
    def of(cls, content: Any) -> "Activations":
        """Return what such a file holds.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        entries = content["activations"]
        rows = tuple(_row(entry) for entry in entries)
        if not rows:
            raise ValueError("it lists no activation")
        histograms = tuple(_histogram(entry) for entry in entries)
        return cls(str(content["model"]), rows, histograms)


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    _rate(entry)
    return {"activation": str(entry["activation"])} | {name: _number(entry[name]) for name in _NUMBERS}


def _rate(entry: dict[str, Any]) -> float:
    found = _number(entry["rate"])
    if found is None:
        raise ValueError(f"a rate was expected, got {entry['rate']}")
    return found


def _histogram(entry: dict[str, Any]) -> Histogram:
    found = [_number(edge) for edge in entry["edges"]]
    edges = tuple(edge for edge in found if edge is not None)
    counts = tuple(map(_count, entry["histogram"]))
    if len(edges) != len(found) or len(edges) != len(counts) + 1:
        raise ValueError("the edges of a histogram were expected, one more than it has bins")
    return Histogram(str(entry["activation"]), _rate(entry), edges, counts)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"a number of values was expected, got {value}")
    return value


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
