"""Checks on arrays that came from a stranger, and ends of messages, shared by all kinds of data."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError

__all__ = [
    "MAX_CLASSES",
    "check_finite",
    "checked_labels",
    "near",
]

MAX_CLASSES = 1 << 20
"""Labels from here on are taken for damage: one huge label would make every per-class table as huge."""


def near(got: str, known: Sequence[str]) -> str:
    """The end of a message that names what was probably meant.

    >>> near("tset", ["train", "test"])
    '; did you mean test?'
    """
    close = get_close_matches(got, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def check_finite(images: NDArray[np.float32], where: str, *, first: int = 0) -> None:
    """Raise a DataError naming the first image (counted from ``first``) that holds a NaN or Inf."""
    if np.isfinite(images).all():
        return
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    raise DataError(f"{where}: expected finite pixels, got NaN or Inf in image {first + bad[0]}; repair it")


def checked_labels(labels: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    """Labels as int64 ``(count,)``, or a DataError.

    Args:
        labels: What the data holds: any integer dtype, one-dimensional.
        count: Number of images they belong to.
        where: Name of the data, for the message.
    """
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(f"{where}: expected labels as a 1-D integer array, got {labels.dtype} of shape {labels.shape}")
    if len(labels) != count:
        raise DataError(f"{where}: expected one label per image, got {len(labels)} labels for {count} images")
    if count and (labels.min() < 0 or labels.max() >= MAX_CLASSES):
        bad = labels[(labels < 0) | (labels >= MAX_CLASSES)][0]
        expected = f"labels from 0 to {MAX_CLASSES - 1}"
        raise DataError(f"{where}: expected {expected}, got {bad}; number the classes from 0")
    return labels.astype(np.int64)
