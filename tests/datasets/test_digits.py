"""The embedded digits, against scikit-learn's copy."""

import numpy as np
import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import UsageError

SPLITS = ("train", "val", "test")


def _whole(split, **options):
    data = load_dataset("digits", split=split, **options)
    return next(data.batches(len(data)))


def test_the_three_splits_together_are_all_of_scikit_learns_digits():
    """Every one of the 1,797 images is in exactly one split, with its label, scaled by 1/16."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    expected = sorted((*image.ravel() / 16, label) for image, label in zip(digits.images, digits.target, strict=True))
    found = [_whole(split) for split in SPLITS]
    rows = sorted(
        (*image.ravel().tolist(), int(label))
        for images, labels in found
        for image, label in zip(images, labels, strict=True)
    )
    assert len(rows) == 1797
    np.testing.assert_array_equal(rows, expected)


def test_the_splits_are_stratified():
    """Val and test hold 20 percent of every class to within one image, train the rest."""
    counts = np.array([load_dataset("digits", split=split).counts() for split in SPLITS])
    assert counts.sum(axis=1).tolist() == [1077, 360, 360]
    assert np.abs(counts[1:] - counts.sum(axis=0) / 5).max() < 1


def test_no_image_occurs_in_two_splits():
    """The splits are disjoint as index sets, and as pixels too."""
    seen = [{image.tobytes() for image in _whole(split)[0]} for split in SPLITS]
    assert len(set.union(*seen)) == sum(map(len, seen))


def test_the_test_split_is_the_default():
    """Leaving the split out means test."""
    assert load_dataset("digits").split == "test"
    assert load_dataset("digits").fingerprint == load_dataset("digits", split="test").fingerprint


def test_a_limit_takes_the_first_images():
    """The first 25 images, and all of them when the limit is beyond the end."""
    np.testing.assert_array_equal(_whole("val", limit=25)[0], _whole("val")[0][:25])
    assert len(load_dataset("digits", limit=10**9)) == 360


def test_the_fingerprint_tells_split_limit_and_preprocessing_apart():
    """Every setting that changes what is fed changes the fingerprint; saying the default does not."""
    asked = [
        {},
        {"split": "val"},
        {"limit": 359},
        {"preprocess": Preprocess(scale=1.0)},
        {"preprocess": Preprocess(mean=(0.5,))},
        {"preprocess": Preprocess(crop=6)},
        {"model_metadata": {"ftonnx.preprocess": '{"std": [0.5]}'}},
    ]
    assert len({load_dataset("digits", **options).fingerprint for options in asked}) == len(asked)
    assert load_dataset("digits", preprocess=Preprocess(scale=1 / 16)).fingerprint == load_dataset("digits").fingerprint


def test_an_unknown_split_is_refused_with_the_near_name():
    """The message lists the splits and guesses."""
    with pytest.raises(UsageError, match=r"split of train, val, test, got 'tets'; did you mean test\?"):
        load_dataset("digits", split="tets")
