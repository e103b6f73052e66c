"""Checks on arrays that came from a stranger, shared by all kinds of data."""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, describe
from ftonnx.files import require_plain
from ftonnx.samples import Samples, arrays_of

__all__ = [
    "MAX_CLASSES",
    "check_array",
    "check_finite",
    "check_image_file",
    "checked_labels",
    "narrow",
]

MAX_CLASSES = 1 << 20
"""Labels from here on are taken for damage: one huge label would make every per-class table as huge."""


_MOST_IMAGE_BYTES: Final = 1 << 30


def narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Floats as float32, the type that data sets hold; anything else as it is.

    What lies beyond float32 becomes Inf, which is then reported as such.
    """
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        narrowed: NDArray[Any] = array.astype(np.float32, copy=False)
    return narrowed


def check_array(array: NDArray[Any], where: str) -> None:
    """Raise a DataError for what cannot be a model's input: no numbers, no rows, or nothing in them."""
    shape = array.shape
    # booleans are masks that transformers take
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: expected numbers, got {array.dtype}; convert with astype")
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{where}: expected at least one sample with a value, got shape {shape}; fill it")


def check_finite(samples: Samples, where: str, *, first: int = 0) -> None:
    """Raise a DataError naming the first image (counted from ``first``) that holds a NaN or Inf."""
    for array in arrays_of(samples):
        if array.dtype.kind != "f":
            continue
        finite = np.isfinite(array)
        if finite.all():
            continue
        # only now: naming the image takes a second pass
        whole = finite.reshape(len(array), -1).all(axis=1)
        bad = np.flatnonzero(~whole)
        number = first + bad[0]
        raise DataError(f"{where}: expected finite pixels, got NaN or Inf in image {number}; repair it")


def check_image_file(file: Path) -> None:
    """Raise a DataError for what is no plain file, or larger than any image, before it is opened."""
    try:
        require_plain(file, _MOST_IMAGE_BYTES)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: expected an image, got {describe(error)}; repair or remove it") from error


def checked_labels(labels: NDArray[Any], count: int, where: str) -> NDArray[Any]:
    """Labels as int64 ``(count,)`` where they are class numbers, else int64 or float64 ``(count, ...)``.

    Args:
        labels: What the data holds: a row of integers, floats or booleans per image.
        count: Number of images they belong to.
        where: Name of the data, for the message.

    Raises:
        DataError: They are something else, or not as many.
    """
    got = f"{labels.dtype} of shape {labels.shape}"
    is_mask = labels.dtype.kind == "b" and labels.ndim == 1
    # a row of booleans is a mask of something, not classes
    if labels.dtype.kind not in "iufb" or labels.ndim == 0 or is_mask:
        raise DataError(f"{where}: expected labels as integers or floats, a row per image, got {got}")
    if labels.ndim > 1 and math.prod(labels.shape[1:]) == 1:
        # a column of class numbers, as tables have them
        labels = labels.reshape(len(labels))
    found = len(labels)
    if found != count:
        got = f"{found} labels for {count} images"
        raise DataError(f"{where}: expected one label per image, got {got}")
    if labels.dtype.kind == "f":
        check_finite(labels, f"{where}, labels")
        return labels.astype(np.float64)
    if labels.ndim > 1:
        return labels.astype(np.int64)
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
