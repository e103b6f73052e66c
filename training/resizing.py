"""Where the values of a resized tensor come from, as ONNX's Resize says: axis by axis, from two neighbours at most.

Numpy only, in float32, as ONNX Runtime computes coordinates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["COORDINATES", "ROUNDINGS", "Neighbours", "neighbours"]

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Along one axis, where every value comes from.

    Attributes:
        lower: Index of the neighbour below, (size,) int64.
        upper: Of that above.
        share: How much of the upper one there is in it, from 0 to 1, (size,) float32.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    share: _Floats


def _half_pixel(places: _Floats, scale: np.float32, before: int, after: int) -> _Floats:
    return (places + np.float32(0.5)) / scale - np.float32(0.5)


def _pytorch_half_pixel(places: _Floats, scale: np.float32, before: int, after: int) -> _Floats:
    return _half_pixel(places, scale, before, after) if after > 1 else np.zeros_like(places)


def _align_corners(places: _Floats, scale: np.float32, before: int, after: int) -> _Floats:
    return places * np.float32(before - 1) / np.float32(max(after - 1, 1))


def _asymmetric(places: _Floats, scale: np.float32, before: int, after: int) -> _Floats:
    return places / scale


COORDINATES: Final[Mapping[str, Callable[[_Floats, np.float32, int, int], _Floats]]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
}
"""By name: the place in the original of every place in what is resized, given the scale and both sizes."""

ROUNDINGS: Final[Mapping[str, Callable[[_Floats], _Floats]]] = {
    "round_prefer_floor": lambda places: np.ceil(places - np.float32(0.5)),
    "round_prefer_ceil": lambda places: np.floor(places + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}
"""By name: the nearest neighbour."""


def neighbours(before: int, after: int, scale: float, coordinates: str, rounding: str | None) -> Neighbours:
    """Return where the values along one axis come from (ONNX operator Resize, versions 11 to 19).

    Args:
        before: Size of the original.
        after: Size of what is resized.
        scale: What the size is multiplied by.
        coordinates: One of ``COORDINATES``.
        rounding: One of ``ROUNDINGS``, for the nearest value; None for linear interpolation.

    >>> neighbours(2, 4, 2.0, "asymmetric", "floor").lower.tolist()
    [0, 0, 1, 1]
    >>> found = neighbours(2, 4, 2.0, "half_pixel", None)
    >>> found.lower.tolist(), found.upper.tolist(), found.share.tolist()
    ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
    """
    places = COORDINATES[coordinates](np.arange(after, dtype=np.float32), np.float32(scale), before, after)
    if rounding is not None:
        places = ROUNDINGS[rounding](places)
    inside = np.clip(places, 0, before - 1)
    lower = np.floor(inside).astype(np.int64)
    upper = np.minimum(lower + 1, before - 1)
    share = (inside - lower).astype(np.float32)
    return Neighbours(lower, upper, share)
