"""Checks on arrays that came from a stranger, shared by all kinds of data."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError

__all__ = [
    "MAX_CLASSES",
    "check_finite",
    "checked_labels",
]

MAX_CLASSES = 1 << 20
"""Labels from here on are taken for damage: one huge label would make every per-class table as huge."""


def check_finite(images: NDArray[np.float32], where: str, *, first: int = 0) -> None:
    """Raise a DataError naming the first image (counted from ``first``) that holds a NaN or Inf."""
    finite = np.isfinite(images)
    if finite.all():
        return
    # only now: naming the image takes a second pass
    whole = finite.all(axis=(1, 2, 3))
    bad = np.flatnonzero(~whole)
    number = first + bad[0]
    raise DataError(f"{where}: expected finite pixels, got NaN or Inf in image {number}; repair it")


def checked_labels(labels: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    """Labels as int64 ``(count,)``, or a DataError.

    Args:
        labels: What the data holds: any integer dtype, one-dimensional.
        count: Number of images they belong to.
        where: Name of the data, for the message.
    """
    # booleans are left out on purpose: they are masks, not classes
    whole_numbers = labels.dtype.kind in "iu"
    if not whole_numbers or labels.ndim != 1:
        got = f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"{where}: expected labels as a 1-D integer array, got {got}")
    found = len(labels)
    if found != count:
        got = f"{found} labels for {count} images"
        raise DataError(f"{where}: expected one label per image, got {got}")
    # compared in the stored dtype: an unsigned label above 2**63 would come out of int64 as a negative one
    too_low = labels < 0
    too_high = labels >= MAX_CLASSES
    outside = labels[too_low | too_high]
    if len(outside) > 0:
        bad = outside[0]
        highest = MAX_CLASSES - 1
        expected = f"labels from 0 to {highest}"
        raise DataError(f"{where}: expected {expected}, got {bad}; number the classes from 0")
    return labels.astype(np.int64)
