"""The arrays of ``.npz`` archives, good, broken and hostile."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets.archive import read_archive, read_members
from ftonnx.errors import DataError

IMAGES = np.random.default_rng(5).integers(0, 256, (7, 3, 4, 5), np.uint8)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2])


@pytest.mark.parametrize("classes", [np.array(12), np.array([12]), np.array([f"name{i}" for i in range(12)])])
def test_the_archive_may_say_its_classes(save, classes):
    """A number or a list of names."""
    assert load_dataset(save(images=IMAGES, labels=LABELS, classes=classes)).classes == 12


def test_an_archive_in_use_is_not_loaded_twice(save):
    """Two readers of one file share its arrays; a changed file is read again, and so is one that nobody uses."""
    path = Path(save(images=IMAGES, labels=LABELS).removeprefix("npz:"))
    archive = read_archive(path)
    assert read_archive(path) is archive
    data = load_dataset(f"npz:{path}", limit=3, preprocess=Preprocess(crop=2))
    assert len(list(data.batches(2))) == 2
    assert read_archive(path) is archive
    save(images=IMAGES[:5], labels=LABELS[:5])
    assert len(read_archive(path).labels) == 5
    assert len(archive.labels) == 7


def test_the_arrays_of_an_archive_cannot_be_written_to(save):
    """Data sets share them."""
    archive = read_archive(Path(save(images=IMAGES, labels=LABELS).removeprefix("npz:")))
    with pytest.raises(ValueError, match="read-only"):
        archive.images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        archive.labels[0] = 0


NAMES = np.array(["bee", "ant", "cat", "ant", "ant", "bee", "cat"])


class TestNamedLabels:
    """Labels that are texts, as scikit-learn's classifiers have them."""

    def test_they_count_in_the_order_of_the_names(self, save):
        """A limit does not change the numbers; a column is as good as a line."""
        for labels in (NAMES, NAMES[:, None]):
            data = load_dataset(save(images=IMAGES, labels=labels), limit=4)
            assert (data.classes, data.class_names) == (3, ("ant", "bee", "cat"))
            assert next(data.batches(9))[1].tolist() == [1, 0, 2, 0]

    def test_a_list_of_class_names_decides(self, save, tmp_path):
        """In the archive, or in a file; one that does not know a label is refused."""
        listed = save(images=IMAGES, labels=NAMES, classes=np.array(["cat", "dog", "bee", "ant"]))
        data = load_dataset(listed)
        assert (data.classes, next(data.batches(9))[1].tolist()) == (4, [2, 3, 0, 3, 3, 2, 0])
        names = tmp_path / "names.txt"
        names.write_text("bee\nant\ncat\n")
        data = load_dataset(save(images=IMAGES, labels=NAMES), class_names=names)
        assert next(data.batches(9))[1].tolist() == [0, 1, 2, 1, 1, 0, 2]
        names.write_text("bee\nant\n")
        with pytest.raises(DataError, match="got cat"):
            load_dataset(save(images=IMAGES, labels=NAMES), class_names=names)

    def test_a_file_of_class_names_beside_the_archive_decides(self, save, caplog):
        """As for folders and lists; one that knows none of them, or has none, is left aside with a warning."""
        spec = save(images=IMAGES, labels=NAMES)
        beside = Path(spec.removeprefix("npz:")).with_name("classes.txt")
        for text, expected in (("cat\nbee\nant\n", [1, 2, 0, 2]), ("dog\nfox\n", [1, 0, 2, 0]), ("", [1, 0, 2, 0])):
            beside.write_text(text)
            assert next(load_dataset(spec, limit=4).batches(9))[1].tolist() == expected
        assert caplog.text.count("left aside") == 2

    def test_names_that_are_numbers_are_class_numbers(self, save):
        """10 is class ten, not the one before 2."""
        data = load_dataset(save(images=IMAGES, labels=np.array(["0", "10", "2", "1", "0", "2", "10"])))
        assert (data.classes, next(data.batches(9))[1].tolist()) == (11, [0, 10, 2, 1, 0, 2, 10])

    def test_names_that_are_not_one_per_image_are_refused(self, save):
        """Too few, or several."""
        for labels in (NAMES[:3], np.tile(NAMES[:, None], 2)):
            with pytest.raises(DataError, match="labels as integers or floats, a row per image, got <U3"):
                load_dataset(save(images=IMAGES, labels=labels))


FLOATS = IMAGES.astype(np.float32)


WITH_NAN = FLOATS.copy()
WITH_NAN[4, 0, 1, 1] = np.nan


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": LABELS}, "expected 'images', or arrays by the names of the model's inputs"),
        ({"a": FLOATS, "b": FLOATS[:3], "labels": LABELS}, "as many rows in every array, got a 7, b 3"),
        ({"a": FLOATS, "b": WITH_NAN, "labels": LABELS}, "got NaN or Inf in image 4"),
        ({"images": IMAGES}, "got images; save them"),
        ({"images": IMAGES.astype(complex), "labels": LABELS}, "expected numbers, got complex128"),
        ({"images": FLOATS.astype(np.float64) * 1e300, "labels": LABELS}, "got NaN or Inf"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "at least one sample with a value"),
        ({"images": IMAGES[:, :0], "labels": LABELS}, "at least one sample with a value"),
        ({"images": np.float32(1), "labels": LABELS}, "at least one sample with a value"),
        ({"images": IMAGES, "labels": LABELS[:6]}, "got 6 labels for 7 images"),
        ({"images": IMAGES, "labels": LABELS.astype(complex)}, "labels as integers or floats, .* got complex128"),
        ({"images": IMAGES, "labels": LABELS * np.nan}, "labels: expected finite"),
        ({"images": IMAGES, "labels": LABELS > 1}, "labels as integers or floats, .* got bool"),
        ({"images": IMAGES, "labels": np.int64(1)}, "labels as integers or floats"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels from 0 to 1048575, got -1"),
        ({"images": IMAGES, "labels": LABELS + 2**40}, "labels from 0 to 1048575, got 1099511627776"),
        ({"images": IMAGES, "labels": LABELS.astype(np.uint64) + 2**63}, "labels from 0 to 1048575"),
        ({"images": WITH_NAN, "labels": LABELS}, "got NaN or Inf in image 4"),
        ({"images": np.full_like(FLOATS, np.inf), "labels": LABELS}, "got NaN or Inf in image 0"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(3)}, "labels below classes=3, got 3"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(0)}, "'classes' as one positive integer"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(2.5)}, "'classes' as one positive integer"),
        ({"images": IMAGES, "labels": np.array([None] * 7)}, "Python's objects, which would run code"),
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


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is(tmp_path, monkeypatch):
    """Zeros take no place in it; arrays that nobody asks for do not count."""
    monkeypatch.setenv("FTONNX_LIMIT_ARCHIVE_BYTES", "100000")
    path = tmp_path / "d.npz"
    np.savez_compressed(path, images=np.zeros((200, 1000), np.float32), labels=np.zeros(200, np.int64))
    with pytest.raises(DataError, match=r"its arrays have [0-9,]+ bytes: the limit is 100,000"):
        read_members(path, None)
    assert list(read_members(path, ("labels",))) == ["labels"]
