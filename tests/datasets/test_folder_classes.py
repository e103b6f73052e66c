"""``folder:PATH``: which folder is which class, and what is left out."""

import json
import logging

import numpy as np
import pytest
from images_kit import all_of, random_images, save_image

from ftonnx.datasets import load_dataset, stratified_subset
from ftonnx.errors import DataError


@pytest.fixture
def make(tmp_path):
    """A function that writes one image into each of some folders; the image's number is the folder's place."""

    def write(*names, below=""):
        for number, name in enumerate(names):
            save_image(tmp_path / "d" / below / name / "x.png", number)
        return f"folder:{tmp_path / 'd'}"

    return write


def by_pixels(data, count):
    """Return the labels in the order in which the images were written, found by their pixels."""
    images, labels = all_of(data)
    found = []
    for number in range(count):
        written = random_images((1, 3, 4, 5), seed=number)[0].astype(np.float32) * np.float32(1 / 255)
        (place,) = [place for place, image in enumerate(images) if np.array_equal(image, written)]
        found.append(int(labels[place]))
    return found


def test_numeric_folders_are_their_numbers(make, caplog):
    """0 to 11: 10 does not come before 2."""
    with caplog.at_level(logging.WARNING):
        data = load_dataset(make(*map(str, range(12))))
    assert by_pixels(data, 12) == list(range(12))
    assert data.class_names == tuple(map(str, range(12)))
    assert caplog.text == ""


def test_zeros_in_front_change_nothing(make):
    """They keep the fingerprint that these folders always had, since text and numbers agree."""
    data = load_dataset(make(*[f"{number:03}" for number in range(12)]))
    assert by_pixels(data, 12) == list(range(12))


def test_leftovers_of_systems_are_no_classes(make, tmp_path):
    """A zip made by a Mac, a folder on a disk station."""
    spec = make("ant", "bee")
    first = load_dataset(spec)
    for name in ("__MACOSX", "@eaDir", ".git"):
        save_image(tmp_path / "d" / name / "x.png", 5)
    (tmp_path / "d" / "ant" / "Thumbs.db").touch()
    data = load_dataset(spec)
    assert (data.classes, data.fingerprint) == (2, first.fingerprint)
    assert data.labelling.unused == ()


def test_an_empty_folder_stays_a_class_and_is_named(make, tmp_path, caplog):
    """Else all that follow would move."""
    spec = make("ant", "cat")
    (tmp_path / "d" / "bee").mkdir()
    with caplog.at_level(logging.WARNING):
        data = load_dataset(spec)
    assert by_pixels(data, 2) == [0, 2]
    assert data.counts().tolist() == [1, 0, 1]
    assert "d: a class without images stays a class: bee" in caplog.text


def test_what_is_not_used_is_named(make, tmp_path, caplog):
    """Files that are no images, folders inside a class, images beside the classes; the TOML and the names are used."""
    spec = make("ant", "bee")
    root = tmp_path / "d"
    (root / "ant" / "notes.txt").touch()
    save_image(root / "bee" / "more" / "y.png")
    save_image(root / "stray.png")
    (root / "readme.md").touch()
    (root / "preprocess.toml").touch()
    (root / "classes.txt").write_text("ant\nbee\n")
    with caplog.at_level(logging.WARNING):
        data = load_dataset(spec)
    assert data.labelling.unused == ("ant/notes.txt", "bee/more/", "readme.md", "stray.png")
    assert "stray.png beside the folders of the classes: not used" in caplog.text
    assert len(data) == 2


def test_a_class_can_keep_its_images_one_level_deeper(make, tmp_path):
    """As the training images of Tiny-ImageNet do."""
    root = tmp_path / "d"
    save_image(root / "train" / "n2" / "images" / "n2_0.JPEG", 0)
    (root / "train" / "n2" / "n2_boxes.txt").touch()
    save_image(root / "train" / "n1" / "images" / "n1_0.JPEG", 1)
    data = load_dataset(f"folder:{root}", split="train")
    assert by_pixels(data, 2) == [1, 0]
    assert data.labelling.unused == ("n2/n2_boxes.txt",)


def test_tiny_imagenets_validation_images_are_numbered_as_its_training_folders(tmp_path):
    """One flat folder and a list; wnids.txt names all classes, in an order that counts only where somebody asks."""
    root = tmp_path / "tiny"
    for number, name in enumerate(["n3", "n1", "n2", "n5"]):
        save_image(root / "train" / name / "images" / "x.JPEG", number)
    lines = []
    for number, label in enumerate(["n3", "n1", "n3"]):
        save_image(root / "val" / "images" / f"val_{number}.JPEG", number)
        lines.append(f"val_{number}.JPEG\t{label}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("n5\nn3\nn2\nn1\n")
    with pytest.raises(DataError, match=r"got splits; name a split \(train, val\)"):
        load_dataset(f"folder:{root}")
    train = load_dataset(f"folder:{root}", split="train")
    val = load_dataset(f"folder:{root}", split="val")
    assert by_pixels(train, 4) == [2, 0, 1, 3]
    assert by_pixels(val, 3) == [2, 0, 2]
    assert val.class_names == train.class_names == ("n1", "n2", "n3", "n5")
    assert val.labelling.rule == (
        "labels in the order of their names, with all of wnids.txt, which has them in another order"
    )
    asked = load_dataset(f"folder:{root}", split="val", class_names=root / "wnids.txt")
    assert by_pixels(asked, 3) == [1, 3, 1]


@pytest.mark.parametrize("place", ["d", "", "other"])
def test_a_flat_folder_is_refused_with_the_list_that_lies_there(make, tmp_path, place):
    """In it or beside it; without one the message says what to do."""
    for number in range(3):
        save_image(tmp_path / "d" / f"{number}.png", number)
    (tmp_path / "classes.txt").touch()
    expected = r"d: expected one sub-folder of images per class, got 3 images directly in it; sort them .* csv:PATH"
    if place != "other":
        (tmp_path / place / "val_map.txt").touch()
        expected += rf"; did you mean csv:.*{place}/val_map\.txt\?"
    with pytest.raises(DataError, match=f"{expected}$"):
        load_dataset(f"folder:{tmp_path}/d")


def test_a_folder_called_images_is_no_class(make, tmp_path):
    """Nor is what lies one level deeper a split."""
    spec = make("images")
    (tmp_path / "d" / "labels.csv").touch()
    with pytest.raises(DataError, match=r"got all images in images; .*did you mean csv:.*labels\.csv\?"):
        load_dataset(spec)
    save_image(tmp_path / "e" / "2750" / "ant" / "x.png")
    with pytest.raises(DataError, match=r"got no images; did you mean folder:.*e/2750\?"):
        load_dataset(f"folder:{tmp_path}/e")


def test_a_list_is_no_folder(tmp_path):
    """The other kind of spec is offered."""
    (tmp_path / "val.csv").touch()
    with pytest.raises(DataError, match=r"val\.csv: expected a folder .*, got none; did you mean csv:.*val\.csv\?"):
        load_dataset(f"folder:{tmp_path}/val.csv")


def test_a_single_class_is_doubtful(make, caplog):
    """Perhaps the folder above was meant."""
    with caplog.at_level(logging.WARNING):
        assert load_dataset(make("cat")).classes == 1
    assert "d: one class only, cat" in caplog.text


NAMES = ("zebra", "ant", "bee", "cat")


@pytest.mark.parametrize("source", ["option", "list", "file", "beside", "split", "model"])
def test_class_names_say_which_folder_is_which_class(make, tmp_path, source):
    """Two of four classes, named by an option, the TOML, a file beside the data, or the model."""
    spec = make("cat", "ant", below="test")
    root = tmp_path / "d"
    options = {}
    if source == "option":
        (tmp_path / "names.json").write_text(json.dumps(dict(enumerate(NAMES))))
        options["class_names"] = tmp_path / "names.json"
    elif source == "list":
        (root / "preprocess.toml").write_text(f"class_names = {json.dumps(NAMES)}\n")
    elif source == "file":
        (root / "some.txt").write_text("\n".join(NAMES))
        (root / "preprocess.toml").write_text("class_names_file = 'some.txt'\n")
    elif source == "beside":
        (root / "labels.txt").write_text("\n".join(NAMES))
    elif source == "split":
        (root / "test" / "classes.txt").write_text("\n".join(NAMES))
    else:
        options["model_metadata"] = {"names": str(dict(enumerate(NAMES)))}
    data = load_dataset(spec, split="test", **options)
    assert by_pixels(data, 2) == [3, 1]
    assert (data.classes, data.class_names) == (4, NAMES)
    assert data.counts().tolist() == [0, 1, 0, 1]
    assert data.labelling.warnings == ()


def test_whoever_is_nearer_to_the_user_says_the_names(make, tmp_path):
    """The option before the TOML, that before a file beside the data, that before the model."""
    spec = make("ant", "bee")
    root = tmp_path / "d"
    model = {"names": '["bee", "x1", "ant"]'}
    assert by_pixels(load_dataset(spec, model_metadata=model), 2) == [2, 0]
    (root / "classes.txt").write_text("x1\nbee\nant\n")
    assert by_pixels(load_dataset(spec, model_metadata=model), 2) == [2, 1]
    (root / "preprocess.toml").write_text('class_names = ["bee", "ant"]\n')
    assert by_pixels(load_dataset(spec, model_metadata=model), 2) == [1, 0]
    (tmp_path / "mine.txt").write_text("x1\nx2\nbee\nant\n")
    data = load_dataset(spec, model_metadata=model, class_names=str(tmp_path / "mine.txt"))
    assert by_pixels(data, 2) == [3, 2]
    assert data.labelling.rule == f"folders by {tmp_path / 'mine.txt'}"


def test_a_file_of_names_that_is_something_else_is_left_aside(make, tmp_path, caplog):
    """It was found, not asked for; both times that is said."""
    spec = make("ant", "bee")
    (tmp_path / "d" / "labels.json").write_text('{"images": [], "categories": []}')
    with caplog.at_level(logging.WARNING):
        assert by_pixels(load_dataset(spec), 2) == [0, 1]
    assert "labels.json: expected class names as one name per line" in caplog.text
    (tmp_path / "d" / "labels.txt").write_text("1.png 0\n2.png 1\n")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert by_pixels(load_dataset(spec), 2) == [0, 1]
    assert "none of the folders is named in" in caplog.text


def test_a_folder_that_a_model_does_not_know_is_refused(make):
    """With the near name."""
    with pytest.raises(
        DataError, match=r"like the 2 classes of the model's metadata \(names\), got gnat; did you mean"
    ):
        load_dataset(make("ant", "gnat"), model_metadata={"names": "ant, goat"})


@pytest.mark.parametrize("limit", [None, 3])
def test_a_data_set_that_was_opened_without_the_model_is_numbered_by_it_later(make, tmp_path, limit, caplog):
    """The same as one opened for it; the first one is left as it is, and so are the images' order and a subset."""
    metadata = {"names": "['d', 'c', 'b', 'a']"}
    spec = make("a", "b", "c")
    opened = load_dataset(spec, limit=limit)
    before = opened.fingerprint
    later = opened.completed(metadata)
    at_once = load_dataset(spec, limit=limit, model_metadata=metadata)
    assert later.fingerprint == at_once.fingerprint != before == opened.fingerprint
    assert later.labels.tolist() == at_once.labels.tolist() == [3, 2, 1]
    assert later.class_names == ("d", "c", "b", "a")
    assert later.completed(metadata) is later
    np.testing.assert_array_equal(all_of(later)[0], all_of(opened)[0])
    subset = stratified_subset(opened, 2, seed=0)
    chosen = subset.labels
    assert subset.completed(metadata).labels.tolist() == [3 - label for label in chosen]
    assert subset.completed(metadata).class_names == ("d", "c", "b", "a")


def test_what_a_model_makes_doubtful_is_said_when_they_meet(make, caplog):
    """And what was said on opening is not said again."""
    with caplog.at_level(logging.WARNING):
        data = load_dataset(make("1", "2"))
        assert caplog.text.count("1 is taken for class 0") == 1
        caplog.clear()
        later = data.completed({"names": "cat"})
        assert later is data
        later = data.completed({"names": "cat, dog"})
    assert later.labelling.warnings == ()
    assert later.labels.tolist() == [0, 1]
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        data = load_dataset(make("ant", below="other").replace("/d", "/d/other")).completed({"names": "katze, hund"})
    assert "none of the folders is named in the model's metadata (names)" in caplog.text


def test_the_source_of_a_data_set_names_the_file_of_class_names(make, tmp_path, monkeypatch):
    """As a path that means the same everywhere, so that a campaign can be repeated."""
    (tmp_path / "names.txt").write_text("bee\nant\n")
    spec = make("ant", "bee")
    monkeypatch.chdir(tmp_path)
    data = load_dataset(spec, class_names="names.txt")
    assert data.source["class_names"] == str(tmp_path / "names.txt")
    assert "class_names" not in load_dataset(spec).source


def test_every_image_that_cannot_be_read_is_named(make, tmp_path):
    """Not only the first one."""
    spec = make("ant", "bee", "cat", "dog")
    (tmp_path / "d" / "bee" / "x.png").write_bytes(b"no image")
    (tmp_path / "d" / "dog" / "x.png").write_bytes(b"")
    found = load_dataset(spec).unreadable()
    assert len(found) == 2
    assert "bee/x.png: expected an image" in found[0]
    assert "dog/x.png: expected an image" in found[1]
    (tmp_path / "d" / "bee" / "x.png").unlink()
    (tmp_path / "d" / "dog" / "x.png").unlink()
    assert load_dataset(spec).unreadable() == []
