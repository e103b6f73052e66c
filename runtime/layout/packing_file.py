"""Packings as files: a digest, an index in JSON and plain numbers. Nothing in them is run."""

import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.runtime.layout.halves import HalfPlace
from ftonnx.runtime.layout.packed_place import PackedPlace
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.layout.sealed import LENGTH_BYTES, sealed, unsealed
from ftonnx.runtime.layout.steps import Steps

__all__ = ["packing_bytes", "read_packing"]

_MAGIC: Final = b"ftonnx packing 2\n"
_NUMBER: Final = "<i4"
_DAMAGE: Final = (KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def packing_bytes(packing: Packing) -> bytes:
    """Return a packing as a file that ``read_packing`` reads."""
    index: dict[str, dict[str, Any]] = {}
    pieces: list[bytes] = []
    for name, place in packing.items():
        index[name] = {
            "size": place.size,
            "steps": place.steps.shape,
            "elements": len(place.below),
        }
        # only half bytes need no more
        if isinstance(place, PackedPlace):
            index[name] |= {"width": place.width, "channels_last": place.channels_last, "groups": place.groups}
        for numbers in (place.below, place.run, place.steps):
            pieces.append(numbers.astype(_NUMBER).tobytes())
    return sealed(_MAGIC, index, pieces)


def read_packing(data: bytes) -> Packing:
    """Read what ``packing_bytes`` wrote.

    Raises:
        ValueError: the bytes are damaged, of another version, or not such a file.
    """
    body = unsealed(_MAGIC, data, "a packing")
    try:
        return _parsed(body)
    except _DAMAGE as error:
        raise ValueError(f"not a packing: {error!r}") from error


def _parsed(body: bytes) -> Packing:
    head_end = LENGTH_BYTES + int.from_bytes(body[:LENGTH_BYTES], "little")
    index = json.loads(body[LENGTH_BYTES:head_end])
    numbers = np.frombuffer(body[head_end:], _NUMBER).astype(np.int32)
    found: dict[str, PackedPlace | HalfPlace] = {}
    for name, entry in index.items():
        runs, channels = entry["steps"]
        count = entry["elements"]
        below, run, steps, numbers = _taken(numbers, count, count, runs * channels)
        found[name] = _place(entry, Steps(below, run, steps.reshape(runs, channels)))
    return found


def _place(entry: dict[str, Any], steps: Steps) -> PackedPlace | HalfPlace:
    place: PackedPlace | HalfPlace
    if "groups" in entry:
        place = PackedPlace(
            width=entry["width"],
            channels_last=entry["channels_last"],
            groups=entry["groups"],
            size=entry["size"],
            **steps._asdict(),
        )
    else:
        place = HalfPlace(size=entry["size"], **steps._asdict())
    place.require_inside()
    return place


def _taken(numbers: NDArray[np.int32], *counts: int) -> list[NDArray[np.int32]]:
    """Return pieces of so many numbers off the front, and what is left."""
    ends = np.cumsum(counts)
    if ends[-1] > len(numbers):
        raise ValueError("the file is too short")
    return np.split(numbers, ends)
