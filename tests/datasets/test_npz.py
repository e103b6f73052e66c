"""``npz:PATH``: archives and folders of archives."""

import os
from pathlib import Path

import numpy as np
import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError, UsageError

IMAGES = np.random.default_rng(5).integers(0, 256, (7, 3, 4, 5), np.uint8)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2])
SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[2] / ".." / "shared"))


def test_an_archive_gives_its_images_and_labels(save):
    """Pixels are scaled by 1/255 in float32, labels are int64, classes counts up to the highest label."""
    data = load_dataset(save(images=IMAGES, labels=LABELS.astype(np.uint8)))
    images, labels = next(data.batches(7))
    np.testing.assert_array_equal(images, IMAGES.astype(np.float32) * np.float32(1 / 255))
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.int64
    assert (data.name, data.split, data.classes, data.sample_shape) == ("x", None, 4, (3, 4, 5))


def test_a_limit_is_the_first_images_and_keeps_the_classes(save):
    """The number of classes is that of the whole archive."""
    data = load_dataset(save(images=IMAGES, labels=LABELS), limit=2)
    assert (len(data), data.classes) == (2, 4)


def test_every_changed_pixel_and_label_changes_the_fingerprint(save):
    """One least significant bit is enough, and the file's name does not count."""
    first = load_dataset(save(images=IMAGES, labels=LABELS)).fingerprint
    assert load_dataset(save("other", images=IMAGES, labels=LABELS)).fingerprint == first
    pixels = IMAGES.copy()
    pixels[6, 2, 3, 4] ^= 1
    assert load_dataset(save("pixel", images=pixels, labels=LABELS)).fingerprint != first
    labels = LABELS.copy()
    labels[0] = 3
    assert load_dataset(save("label", images=IMAGES, labels=labels)).fingerprint != first
    reshaped = IMAGES.reshape(7, 3, 5, 4)
    assert load_dataset(save("shape", images=reshaped, labels=LABELS)).fingerprint != first


def test_a_folder_holds_one_archive_per_split(save, tmp_path):
    """The split names the file, test is the default, and the name is the folder's."""
    save("test", images=IMAGES, labels=LABELS)
    save("train", images=IMAGES[:2], labels=LABELS[:2])
    data = load_dataset(f"npz:{tmp_path}")
    assert (len(data), data.split, data.name) == (7, "test", tmp_path.name)
    assert len(load_dataset(f"npz:{tmp_path}", split="train")) == 2
    with pytest.raises(UsageError, match=r"expected a file tain\.npz, got test, train; did you mean train\?"):
        load_dataset(f"npz:{tmp_path}", split="tain")


def test_a_folder_without_archives_is_refused(tmp_path):
    """The message says which file was looked for."""
    with pytest.raises(UsageError, match=r"expected a file test\.npz, got no \.npz at all"):
        load_dataset(f"npz:{tmp_path}")


def test_a_split_of_a_single_file_is_refused(save):
    """A file has no splits."""
    with pytest.raises(UsageError, match=r"a single \.npz has no split 'test'; name a folder"):
        load_dataset(save(images=IMAGES, labels=LABELS), split="test")


def test_a_missing_file_is_refused(tmp_path):
    """The message names the path."""
    with pytest.raises(DataError, match=r"none\.npz: expected a \.npz file or a folder of them, got nothing"):
        load_dataset(f"npz:{tmp_path}/none.npz")


def test_preprocessing_that_does_not_fit_is_refused_on_opening(save):
    """Three means for one channel is an error before the first batch."""
    with pytest.raises(DataError, match="x: mean: expected one value"):
        load_dataset(save(images=IMAGES[:, :1], labels=LABELS), preprocess=Preprocess(mean=(0.1, 0.2, 0.3)))


def test_pixels_that_overflow_in_preprocessing_are_reported(save):
    """An Inf made by the scale is a DataError, not an input of the model."""
    floats = IMAGES.astype(np.float32)
    data = load_dataset(save(images=floats * np.float32(1e30), labels=LABELS), preprocess=Preprocess(scale=1e30))
    with pytest.raises(DataError, match="after preprocessing: expected finite pixels"):
        list(data.batches(3))


@pytest.mark.skipif(not (SHARED / "data/cifar10/test.npz").is_file(), reason="no ../shared/data (or FTONNX_SHARED)")
def test_the_shared_cifar10_images_open_as_described():
    """846 test images of ten classes, 4,660 training images."""
    data = load_dataset(f"npz:{SHARED / 'data/cifar10'}")
    assert (len(data), data.classes, data.sample_shape, data.name) == (846, 10, (3, 32, 32), "cifar10")
    assert len(load_dataset(f"npz:{SHARED / 'data/cifar10'}", split="train")) == 4660
