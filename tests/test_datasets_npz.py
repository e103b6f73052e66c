"""``npz:PATH``: archives and folders of archives, good, broken and hostile."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets import arrays as arrays_module
from ftonnx.errors import DataError, UsageError

IMAGES = np.random.default_rng(5).integers(0, 256, (7, 3, 4, 5), np.uint8)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2])
SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[1] / ".." / "shared"))


@pytest.fixture
def save(tmp_path):
    """A function that writes arrays to ``x.npz`` and gives the spec."""

    def write(name="x", **arrays):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return f"npz:{tmp_path / name}.npz"

    return write


def test_an_archive_gives_its_images_and_labels(save):
    """Pixels are scaled by 1/255 in float32, labels are int64, classes counts up to the highest label."""
    data = load_dataset(save(images=IMAGES, labels=LABELS.astype(np.uint8)))
    images, labels = next(data.batches(7))
    np.testing.assert_array_equal(images, IMAGES.astype(np.float32) * np.float32(1 / 255))
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.int64
    assert (data.name, data.split, data.classes, data.sample_shape) == ("x", None, 4, (3, 4, 5))


@pytest.mark.parametrize("classes", [np.array(12), np.array([12]), np.array([f"name{i}" for i in range(12)])])
def test_the_archive_may_say_its_classes(save, classes):
    """A number or a list of names."""
    assert load_dataset(save(images=IMAGES, labels=LABELS, classes=classes)).classes == 12


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


def test_an_archive_in_use_is_not_loaded_twice(save, monkeypatch):
    """Two data sets from one file share its arrays; a changed file is read again."""
    loads = []
    real = np.load
    monkeypatch.setattr(arrays_module.np, "load", lambda *args, **options: loads.append(1) or real(*args, **options))
    spec = save(images=IMAGES, labels=LABELS)
    data = load_dataset(spec)
    other = load_dataset(spec, limit=3, preprocess=Preprocess(crop=2))
    assert list(data.batches(2))
    assert list(other.batches(2))
    assert len(loads) == 1
    save(images=IMAGES[:5], labels=LABELS[:5])
    assert (len(load_dataset(spec)), len(loads)) == (5, 2)


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


FLOATS = IMAGES.astype(np.float32)
WITH_NAN = FLOATS.copy()
WITH_NAN[4, 0, 1, 1] = np.nan


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": LABELS}, "got no 'images'"),
        ({"images": IMAGES}, "got no 'labels'"),
        ({"images": IMAGES.astype(np.float64), "labels": LABELS}, "uint8 or float32 images, got float64"),
        ({"images": IMAGES.astype(np.int16), "labels": LABELS}, "uint8 or float32 images, got int16"),
        ({"images": IMAGES[:, 0], "labels": LABELS}, r"got shape \(7, 4, 5\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "at least one image and pixel"),
        ({"images": IMAGES[:, :0], "labels": LABELS}, "at least one image and pixel"),
        ({"images": IMAGES, "labels": LABELS[:6]}, "got 6 labels for 7 images"),
        (
            {"images": IMAGES, "labels": LABELS[:, None]},
            r"labels as a 1-D integer array, got int64 of shape \(7, 1\)",
        ),
        ({"images": IMAGES, "labels": LABELS.astype(float)}, "labels as a 1-D integer array, got float64"),
        ({"images": IMAGES, "labels": LABELS > 1}, "labels as a 1-D integer array, got bool"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels from 0 to 1048575, got -1"),
        ({"images": IMAGES, "labels": LABELS + 2**40}, "labels from 0 to 1048575, got 1099511627776"),
        ({"images": IMAGES, "labels": LABELS.astype(np.uint64) + 2**63}, "labels from 0 to 1048575"),
        ({"images": WITH_NAN, "labels": LABELS}, "got NaN or Inf in image 4"),
        ({"images": np.full_like(FLOATS, np.inf), "labels": LABELS}, "got NaN or Inf in image 0"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(3)}, "labels below classes=3, got 3"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(0)}, "'classes' as one positive integer"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(2.5)}, "'classes' as one positive integer"),
        ({"images": IMAGES, "labels": np.array([None] * 7)}, "allow_pickle=False"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(save, content, message):
    """Every bad row is a DataError that names the file and what is wrong."""
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(save(**content))
    assert "\n" not in str(caught.value)
    assert "x" in str(caught.value)


def _huge_header():
    """A zip whose images claim 10^15 pixels and hold none."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 1, 1000, 1000)}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    return file.getvalue()


def _saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _truncated():
    file = io.BytesIO()
    np.savez(file, images=IMAGES, labels=LABELS)
    return file.getvalue()[:-200]


def _flipped():
    """A compressed archive with one damaged byte in the pixels."""
    file = io.BytesIO()
    np.savez_compressed(file, images=IMAGES, labels=LABELS)
    damaged = bytearray(file.getvalue())
    damaged[250] ^= 0xFF
    return bytes(damaged)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        pickle.dumps([1, 2]),
        _saved(IMAGES),
        _truncated(),
        _flipped(),
        _huge_header(),
    ],
    ids=["empty", "text", "pickle", "npy", "truncated", "flipped", "huge header"],
)
def test_a_broken_archive_is_refused_in_one_line(tmp_path, content):
    """Whatever the bytes are, the error is a DataError that names the file."""
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz: expected") as caught:
        load_dataset(f"npz:{path}")
    assert "\n" not in str(caught.value)


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
    data = load_dataset(save(images=FLOATS * np.float32(1e30), labels=LABELS), preprocess=Preprocess(scale=1e30))
    with pytest.raises(DataError, match="after preprocessing: expected finite pixels"):
        list(data.batches(3))


@pytest.mark.skipif(not (SHARED / "data/cifar10/test.npz").is_file(), reason="no ../shared/data (or FTONNX_SHARED)")
def test_the_shared_cifar10_images_open_as_described():
    """846 test images of ten classes, 4,660 training images."""
    data = load_dataset(f"npz:{SHARED / 'data/cifar10'}")
    assert (len(data), data.classes, data.sample_shape, data.name) == (846, 10, (3, 32, 32), "cifar10")
    assert len(load_dataset(f"npz:{SHARED / 'data/cifar10'}", split="train")) == 4660
