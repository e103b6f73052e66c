"""Data sets over arrays in memory."""

import numpy as np
import pytest

from ftonnx.datasets import Preprocess
from ftonnx.datasets.archive import Archive
from ftonnx.datasets.arrays import ArrayDataset
from ftonnx.datasets.request import Resolved
from ftonnx.errors import DataError

IMAGES = np.random.default_rng(2).integers(0, 256, (6, 1, 4, 4), np.uint8)
LABELS = np.array([0, 4, 1, 2, 0, 1])


def made(*, said=None, classes=None, limit=None, stored_classes=None):
    """Six gray images of five classes."""
    archive = Archive(IMAGES.copy(), LABELS.copy(), stored_classes)
    resolved = Resolved(said=said or Preprocess(), default=Preprocess(scale=0.5))
    return ArrayDataset(archive, name="six", split=None, classes=classes, limit=limit, resolved=resolved)


@pytest.mark.parametrize(
    ("said", "stored", "expected"),
    [(None, None, 5), (None, 7, 7), (9, 7, 9)],
)
def test_the_number_of_classes_is_the_first_that_was_said(said, stored, expected):
    """Beside the data, then in the archive, then the highest label of all, whatever the limit."""
    assert made(classes=said, stored_classes=stored, limit=1).classes == expected


def test_preprocessing_that_does_not_fit_names_the_data():
    """When it is opened."""
    with pytest.raises(DataError, match="six: crop=5 is larger"):
        made(said=Preprocess(crop=5))


def test_a_limit_is_part_of_the_fingerprint_and_of_what_is_completed():
    """The same images under the model's preprocessing."""
    part = made(limit=4)
    completed = part.completed({"ftonnx.preprocess": '{"scale": 0.25}'})
    assert len(completed) == len(part) == 4
    ((images, labels),) = completed.batches(10)
    np.testing.assert_array_equal(images, IMAGES[:4] * np.float32(0.25))
    np.testing.assert_array_equal(labels, LABELS[:4])
    assert len({part.fingerprint, completed.fingerprint, made().fingerprint}) == 3
