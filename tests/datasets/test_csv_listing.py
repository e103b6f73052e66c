"""``csv:PATH``: images listed with their labels."""

import logging

import numpy as np
import pytest
from images_kit import all_of, random_images, save_by_class, save_image

from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, UsageError


@pytest.fixture
def flat(tmp_path):
    """A folder ``flat`` with six images, 0.png to 5.png, and a function that writes a list beside it."""
    for number in range(6):
        save_image(tmp_path / "flat" / f"{number}.png", number)

    def write(labels, name="val.csv", line="{}.png,{}\n", header=""):
        lines = [line.format(number, label) for number, label in enumerate(labels)]
        (tmp_path / name).write_text(header + "".join(lines))
        return f"csv:{tmp_path / name}"

    return write


def pixels(number):
    """Return an image as it is fed."""
    return random_images((1, 3, 4, 5), seed=number)[0].astype(np.float32) * np.float32(1 / 255)


def labels_of(data):
    """Return the label of each image, found by its pixels."""
    images, labels = all_of(data)
    found = {}
    for image, label in zip(images, labels, strict=True):
        (number,) = [each for each in range(6) if np.array_equal(image, pixels(each))]
        found[number] = int(label)
    return found


def test_whole_numbers_are_the_classes(flat):
    """Images come in turns over the labels, so that a limit keeps them balanced."""
    data = load_dataset(flat([0, 0, 2, 10, 0, 2]))
    assert labels_of(data) == {0: 0, 1: 0, 2: 2, 3: 10, 4: 0, 5: 2}
    assert (data.name, data.split, data.classes) == ("val", None, 11)
    assert load_dataset(flat([0, 0, 2, 10, 0, 2]), limit=3).labels.tolist() == [0, 10, 2]


def test_names_count_in_the_order_of_their_characters(flat):
    """As folders do."""
    data = load_dataset(flat(["dog", "cat", "dog", "ant", "cat", "ant"], header="file,label\n"))
    assert labels_of(data) == {0: 2, 1: 1, 2: 2, 3: 0, 4: 1, 5: 0}
    assert data.class_names == ("ant", "cat", "dog")
    assert data.labelling.rule == "labels in the order of their names"


def test_a_list_is_the_same_data_as_the_folders_that_it_describes(tmp_path):
    """Same fingerprint, images and labels."""
    images = random_images((9, 3, 4, 5))
    labels = np.array([2, 0, 1, 1, 2, 0, 0, 1, 2])
    save_by_class(tmp_path / "d", images, labels, ["ant", "bee", "cat"])
    lines = [f"d/{['ant', 'bee', 'cat'][label]}/{number:02}.png\t{label}\n" for number, label in enumerate(labels)]
    (tmp_path / "list.tsv").write_text("".join(lines))
    listed = load_dataset(f"csv:{tmp_path}/list.tsv")
    in_folders = load_dataset(f"folder:{tmp_path}/d")
    assert listed.fingerprint == in_folders.fingerprint
    np.testing.assert_array_equal(all_of(listed)[0], all_of(in_folders)[0])


@pytest.mark.parametrize("place", ["", "images", "anything"])
def test_files_are_found_beside_the_list_or_in_a_folder_there(tmp_path, place):
    """In ``images``, or in the only folder that has them; with the suffix or without."""
    for number in range(2):
        save_image(tmp_path / place / f"{number}.JPEG", number)
    (tmp_path / "other").mkdir()
    (tmp_path / "val_map.txt").write_text("0.JPEG 1\n1.JPEG 0\n")
    assert labels_of(load_dataset(f"csv:{tmp_path}/val_map.txt")) == {0: 1, 1: 0}
    (tmp_path / "ids.csv").write_text("id,label\n0,1\n1,0\n")
    data = load_dataset(f"csv:{tmp_path}/ids.csv")
    assert labels_of(data) == {0: 1, 1: 0}
    assert data.labelling.unused == ()


def test_a_file_in_several_folders_is_refused(tmp_path):
    """Nobody knows which is meant, until a split says it."""
    for place in ("a", "b"):
        save_image(tmp_path / place / "0.png")
    (tmp_path / "list.csv").write_text("0.png,1\n")
    with pytest.raises(
        DataError, match=r"list\.csv: line 1: expected 0\.png in one folder, got a, b; write the folder"
    ):
        load_dataset(f"csv:{tmp_path}/list.csv")
    (tmp_path / "list.csv").write_text("file,label,split\n0.png,1,b\n")
    assert load_dataset(f"csv:{tmp_path}/list.csv", split="b").labels.tolist() == [1]


def test_files_that_are_missing_are_refused_by_name(flat, tmp_path):
    """The first one, which would tell the folder, or others."""
    spec = flat(range(6))
    for number in (1, 2, 4, 5):
        (tmp_path / "flat" / f"{number}.png").unlink()
    with pytest.raises(
        DataError, match=r"the 6 files that it lists in .*flat, got no 1\.png, 2\.png, 4\.png and 1 more"
    ):
        load_dataset(spec)
    (tmp_path / "flat" / "0.png").unlink()
    with pytest.raises(
        DataError, match=r"val\.csv: line 1: expected the image 0\.png beside the list, in images or in"
    ):
        load_dataset(spec)


def test_a_header_of_unknown_words_is_refused_with_advice(flat):
    """It reads like a file that is not there."""
    with pytest.raises(DataError, match=r"line 1: expected the image bild .*, and name its columns file and label"):
        load_dataset(flat(range(6), header="bild,klasse\n"))


def test_an_image_with_two_labels_is_refused_and_one_listed_twice_counts_once(flat, tmp_path, caplog):
    """The lines are named."""
    spec = flat([0, 1, 1, 0, 1, 0])
    path = tmp_path / "val.csv"
    text = path.read_text()
    path.write_text(text + "2.png,1\n2.png,1\n")
    with caplog.at_level(logging.WARNING):
        data = load_dataset(spec)
    assert len(data) == 6
    assert "val.csv: 2 lines repeat an image with its label; it counts once" in caplog.text
    path.write_text(text + "2.png,0\n")
    with pytest.raises(
        DataError, match=r"expected one label for 2\.png, got '1' in line 3 and '0' in line 7; keep one"
    ):
        load_dataset(spec)


def test_a_split_is_named_by_a_column(flat):
    """It must be named then, and cannot be named else."""
    spec = flat([0, 1, 2, 0, 1, 2], line="{0}.png,{1},part{1}\n", header="file,label,split\n")
    data = load_dataset(spec, split="part1")
    assert (labels_of(data), data.split) == ({1: 1, 4: 1}, "part1")
    assert data.labelling.unused == ()
    with pytest.raises(UsageError, match="expected `split` to be one of part0, part1, part2, got none; name one"):
        load_dataset(spec)
    with pytest.raises(UsageError, match=r"expected a split of part0, part1, part2, got 'prat1'; did you mean part1\?"):
        load_dataset(spec, split="prat1")
    with pytest.raises(UsageError, match=r"a list without splits has no split 'test'; add a column named split"):
        load_dataset(flat([0] * 6), split="test")


def test_all_splits_have_the_classes_of_the_whole_list(tmp_path):
    """One that lacks a class numbers the others as the others do."""
    for number in range(4):
        save_image(tmp_path / f"{number}.png", number)
    lines = "file,label,split\n0.png,ant,train\n1.png,bee,train\n2.png,cat,train\n3.png,cat,test\n"
    (tmp_path / "list.csv").write_text(lines)
    test = load_dataset(f"csv:{tmp_path}/list.csv", split="test")
    assert (test.labels.tolist(), test.classes, test.class_names) == ([2], 3, ("ant", "bee", "cat"))


def test_images_that_stand_in_no_line_are_named(flat, tmp_path):
    """Seen from the list."""
    data = load_dataset(flat([0, 1, 1, 0]))
    assert data.labelling.unused == ("flat/4.png", "flat/5.png")


def test_labels_from_1_are_named_or_refused(flat, tmp_path, caplog):
    """One beyond the classes is certain, and can be said."""
    spec = flat([1, 2, 3, 1, 2, 3])
    with caplog.at_level(logging.WARNING):
        assert load_dataset(spec).labels.max() == 3
    assert "labels are numbered from 1 to 3, and are taken for class numbers" in caplog.text
    (tmp_path / "val.toml").write_text("classes = 3\n")
    with pytest.raises(
        DataError, match=r"val\.csv: expected labels below 3 for 3 classes, got 3; write first_label = 1"
    ):
        load_dataset(spec)
    caplog.clear()
    (tmp_path / "val.toml").write_text("classes = 3\nfirst_label = 1\n")
    with caplog.at_level(logging.WARNING):
        assert labels_of(load_dataset(spec)) == {0: 0, 1: 1, 2: 2, 3: 0, 4: 1, 5: 2}
    assert caplog.text == ""


def test_class_names_come_from_a_file_beside_the_list(flat, tmp_path):
    """For labels that are names, and to be shown where they are numbers; a list of images is no list of classes."""
    (tmp_path / "classes.txt").write_text("dog\ncat\nbee\n")
    data = load_dataset(flat(["dog", "cat", "dog", "cat", "cat", "dog"]))
    assert (labels_of(data)[0], labels_of(data)[1], data.classes) == (0, 1, 3)
    data = load_dataset(flat([0, 1, 2, 0, 1, 2]))
    assert data.class_names == ("dog", "cat", "bee")
    (tmp_path / "classes.txt").unlink()
    assert load_dataset(flat([0, 1, 2, 0, 1, 2], name="labels.txt")).class_names == ("0", "1", "2")


def test_the_toml_of_the_list_comes_before_the_folders(flat, tmp_path):
    """As for archives."""
    spec = flat([0, 1, 2, 0, 1, 2])
    (tmp_path / "preprocess.toml").write_text("crop = 3\n")
    assert load_dataset(spec).preprocess.crop == 3
    (tmp_path / "val.toml").write_text("crop = 2\n")
    assert load_dataset(spec).preprocess.crop == 2
