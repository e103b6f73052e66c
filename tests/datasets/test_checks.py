"""Checks on arrays from strangers."""

import numpy as np
import pytest

from ftonnx.datasets.checks import MAX_CLASSES, check_finite, checked_labels
from ftonnx.errors import DataError


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_image_that_is_not_finite_is_named_by_its_place_in_the_data(bad):
    """Counted from where the piece begins."""
    images = np.zeros((4, 1, 2, 2), np.float32)
    check_finite(images, "x")
    images[2, 0, 1, 1] = bad
    images[3] = bad
    with pytest.raises(DataError, match=r"x: .*in image 2;"):
        check_finite(images, "x")
    with pytest.raises(DataError, match=r"x: .*in image 12;"):
        check_finite(images, "x", first=10)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_labels_of_every_integer_dtype_become_int64(dtype):
    """With the same values."""
    labels = checked_labels(np.array([0, 3, 1], dtype), 3, "x")
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 3, 1]


def test_labels_at_the_bounds_are_accepted_and_those_beyond_are_not():
    """An unsigned label above 2**63 is not taken for a negative one."""
    assert checked_labels(np.array([0, MAX_CLASSES - 1]), 2, "x").tolist() == [0, MAX_CLASSES - 1]
    assert checked_labels(np.array([], int), 0, "x").tolist() == []
    for label in (-1, MAX_CLASSES):
        with pytest.raises(DataError, match=f"got {label};"):
            checked_labels(np.array([0, label]), 2, "x")
    with pytest.raises(DataError, match=f"got {2**63};"):
        checked_labels(np.array([2**63], np.uint64), 1, "x")
