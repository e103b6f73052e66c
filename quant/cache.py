"""The calibration cache: ranges of activations, kept for the same model, data and method."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import StoreError
from ftonnx.files import read_document, reason_of, reason_unread, write_whole
from ftonnx.words import parsed_json

__all__ = ["CalibrationCache", "Ranges"]

Ranges = dict[str, tuple[float, float]]
"""Lowest and highest value to represent, by tensor name."""

_VERSION: Final = 2  # since some clamps stay, what comes before them has a range of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCache:
    """A JSON file of ranges.

    Attributes:
        path: the file; it is read if it exists, else written.
        data: fingerprint of the calibration data.
    """

    path: Path
    data: str

    def load(self, identity: Mapping[str, Any]) -> Ranges | None:
        """Return the ranges in the file; None when there is no file.

        Args:
            identity: what the ranges depend on, beside the data: ``model``, ``calibration``.

        Raises:
            StoreError: the file cannot be read, is damaged, or belongs to another model, data or method.
        """
        expected = self._header(identity)
        try:
            content = parsed_json(read_document(self.path))
            found = {key: content[key] for key in expected}
            ranges = _ranges(content["ranges"])
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = reason_unread(error, self.path)
            raise StoreError(f"calibration cache {self.path} cannot be read: {reason}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{self.path} is not a calibration cache, or damaged; delete it to calibrate") from error
        for key, wanted in expected.items():
            if found[key] != wanted:
                raise StoreError(
                    f"calibration cache {self.path} was made for another {key}: expected {_short(wanted)}, "
                    f"found {_short(found[key])}; name another file, or delete this one to calibrate again"
                )
        return ranges

    def save(self, identity: Mapping[str, Any], ranges: Ranges) -> None:
        """Write the ranges; the file is the old or the new one at any time.

        Raises:
            StoreError: it cannot be written.
        """
        content = self._header(identity)
        # sorted, so that equal caches are equal files
        content["ranges"] = dict(sorted(ranges.items()))
        text = json.dumps(content, indent=1)
        try:
            write_whole(text.encode(), self.path)
        except OSError as error:
            reason = reason_of(error, self.path)
            raise StoreError(f"calibration cache {self.path} cannot be written: {reason}") from error

    def _header(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "model": identity["model"],
            "data": self.data,
            "calibration": identity["calibration"],
        }


def _ranges(entries: Mapping[Any, Any]) -> Ranges:
    ranges = {}
    for name, pair in entries.items():
        ranges[str(name)] = _range(pair)
    return ranges


def _range(pair: Any) -> tuple[float, float]:
    low, high = map(float, pair)
    # a comparison with NaN is false, so it is refused too
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"not a range: {pair}")
    return low, high


def _short(value: Any) -> str:
    """Return a value for a message, hashes cut short.

    >>> _short("0123456789abcdef0123"), _short({"method": "minmax"})
    ('0123456789ab…', "{'method': 'minmax'}")
    """
    text = str(value)
    is_hash = isinstance(value, str) and len(text) > 16
    return f"{text[:12]}…" if is_hash else text
