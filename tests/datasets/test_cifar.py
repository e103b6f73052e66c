"""``cifar10:`` and ``cifar100:``: the python version, the binary version, parquet files."""

import pickle

import numpy as np
import pytest
from images_kit import all_of
from published_kit import pixels, write_cifar_binary, write_cifar_python, write_parquet

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError, UsageError

AS_STORED = Preprocess(scale=1.0, mean=(0.0,), std=(1.0,))
LABELS = [3, 0, 9, 3, 1, 2, 4, 5, 6, 7, 8, 0]
TEN = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]

BOTH = pytest.mark.parametrize("keyword", ["cifar10", "cifar100"])


def write_python(root, keyword, labels=LABELS):
    """Write the python version below a folder."""
    if keyword == "cifar10":
        write_cifar_python(root / "cifar-10-batches-py", TEN, "labels", labels)
    else:
        write_cifar_python(root / "cifar-100-python", ["train", "test"], "fine_labels", labels)


def write_binary(root, keyword, labels=LABELS):
    """Write the binary version below a folder."""
    if keyword == "cifar10":
        write_cifar_binary(root / "cifar-10-batches-bin", [f"{name}.bin" for name in TEN], labels)
    else:
        write_cifar_binary(root / "cifar-100-binary", ["train.bin", "test.bin"], labels, coarse=True)


def write_tables(root, keyword, labels=LABELS):
    """Write the files of Hugging Face."""
    label = "label" if keyword == "cifar10" else "fine_label"
    for split in ("train", "test"):
        write_parquet(root / "plain_text" / f"{split}-00000-of-00001.parquet", labels, image="img", label=label)


FORMS = pytest.mark.parametrize("write", [write_python, write_binary, write_tables])


@BOTH
@FORMS
def test_every_form_gives_the_same_images_and_labels(keyword, write, tmp_path):
    """By default the test images."""
    write(tmp_path, keyword)
    data = load_dataset(f"{keyword}:{tmp_path}", preprocess=AS_STORED)
    images, labels = all_of(data)
    np.testing.assert_array_equal(images, pixels())
    assert labels.tolist() == LABELS
    assert (data.split, data.name) == ("test", keyword)
    repeats = 5 if keyword == "cifar10" and write is not write_tables else 1
    assert len(load_dataset(f"{keyword}:{tmp_path}", split="train")) == len(LABELS) * repeats


@BOTH
@pytest.mark.parametrize("write", [write_python, write_binary])
def test_classes_have_their_names(keyword, write, tmp_path):
    """All of them, whatever the labels."""
    write(tmp_path, keyword)
    data = load_dataset(f"{keyword}:{tmp_path}")
    assert data.classes == (10 if keyword == "cifar10" else 100)
    assert data.class_names[:2] == (("airplane", "automobile") if keyword == "cifar10" else ("apple", "aquarium_fish"))


@BOTH
@FORMS
def test_mean_and_std_are_those_of_published_networks(keyword, write, tmp_path):
    """Not those of others, which some pair with this mean; a model says its own."""
    write(tmp_path, keyword)
    spec = f"{keyword}:{tmp_path}"
    std = {"cifar10": [0.2471, 0.2435, 0.2616], "cifar100": [0.2673, 0.2564, 0.2762]}[keyword]
    assert load_dataset(spec).preprocess.as_dict()["std"] == std
    model = {"ftonnx.preprocess": '{"mean": [0.5], "std": [0.25]}'}
    assert load_dataset(spec, model_metadata=model).preprocess.std == (0.25,)


@pytest.mark.parametrize("write", [write_python, write_binary])
def test_the_folder_of_the_archive_itself(write, tmp_path):
    """One level down."""
    write(tmp_path, "cifar10")
    (inner,) = tmp_path.iterdir()
    assert len(load_dataset(f"cifar10:{inner}")) == len(LABELS)


def test_mean_and_std_match_their_images(tmp_path):
    """A known answer: an image of the mean is 0."""
    write_python(tmp_path, "cifar10")
    images, _ = all_of(load_dataset(f"cifar10:{tmp_path}"))
    expected = (pixels()[0, :, 0, 0] / 255 - [0.4914, 0.4822, 0.4465]) / [0.2471, 0.2435, 0.2616]
    np.testing.assert_allclose(images[0, :, 0, 0], expected, rtol=1e-5)


class Evil:
    """Runs code when it is unpickled by Python's own reader."""

    def __reduce__(self):
        """Call something harmless that would be noticed."""
        return (print, ("this must not be seen",))


def test_a_pickle_runs_nothing(tmp_path, capsys):
    """It names what has no place in such a file."""
    write_python(tmp_path, "cifar10")
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(DataError, match=r"test_batch: expected a batch of CIFAR's .*, got .*builtins\.print"):
        load_dataset(f"cifar10:{tmp_path}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nothing of the kind", "expected a batch of CIFAR's python version"),
        (pickle.dumps([1, 2]), "got list"),
        (pickle.dumps({"labels": [1]}), "expected data of 3072 bytes per image, and labels, got labels"),
        (pickle.dumps({"data": np.zeros((2, 3), np.uint8), "labels": [0, 1]}), "expected data of 3072 bytes"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.float32), "labels": [0, 1]}), "other numbers than bytes"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}), "expected labels below 10, got 10"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "labels"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [[0], [1, 2]]}), "labels"),
    ],
)
def test_damaged_batches_are_one_line(content, reason, tmp_path):
    """With the file's name."""
    write_python(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        load_dataset(f"cifar10:{tmp_path}")
    assert "\n" not in str(caught.value)
    assert "test_batch" in str(caught.value)


def test_records_that_are_cut_off_are_one_line(tmp_path):
    """Their size is known."""
    write_binary(tmp_path, "cifar10")
    file = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"expected records of 3073 bytes, got 36875 bytes in all"):
        load_dataset(f"cifar10:{tmp_path}")


def test_a_part_of_the_files_is_not_enough(tmp_path):
    """A fifth of the training images would pass for all."""
    write_python(tmp_path, "cifar10")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match="got no data_batch_3; unpack all of it"):
        load_dataset(f"cifar10:{tmp_path}", split="train")
    with pytest.raises(UsageError, match="expected a split of train, test, got 'val'"):
        load_dataset(f"cifar10:{tmp_path}", split="val")


def test_other_folders_and_archives_are_refused(tmp_path):
    """With the way on."""
    with pytest.raises(DataError, match=r"expected CIFAR-10 .*got none of them; check the path"):
        load_dataset(f"cifar10:{tmp_path}")
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(b"")
    with pytest.raises(DataError, match="unpack the archive, and give its folder"):
        load_dataset(f"cifar10:{archive}")
