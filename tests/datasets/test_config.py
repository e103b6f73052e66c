"""Where preprocessing comes from: command line, TOML beside the data, model, default."""

import numpy as np
import pytest

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError

IMAGES = np.random.default_rng(3).integers(0, 256, (6, 3, 4, 4), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
METADATA = {"ftonnx.preprocess": '{"scale": 0.25, "mean": [3], "std": [30]}'}


@pytest.fixture
def archive(tmp_path):
    """A ``.npz`` of six uint8 images."""
    path = tmp_path / "x.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    return path


def test_sources_are_asked_field_by_field_in_order(archive):
    """The command line wins over the TOML, the TOML over the model, the model over the default."""
    archive.with_name("x.toml").write_text("scale = 0.5\nmean = [2.0]\n")
    data = load_dataset(f"npz:{archive}", preprocess=Preprocess(scale=1.0), model_metadata=METADATA)
    assert data.preprocess == Preprocess(scale=1.0, mean=(2.0,), std=(30.0,))
    images, _ = next(data.batches(6))
    np.testing.assert_array_equal(images, (IMAGES.astype(np.float32) - 2) / np.float32(30))


def test_the_default_scale_is_for_8_bit_images_only(archive, tmp_path):
    """uint8 pixels are scaled by 1/255, float32 pixels are fed as they are."""
    assert load_dataset(f"npz:{archive}").preprocess == Preprocess(scale=1 / 255)
    np.savez(tmp_path / "f.npz", images=IMAGES.astype(np.float32), labels=LABELS)
    images, _ = next(load_dataset(f"npz:{tmp_path / 'f.npz'}").batches(6))
    np.testing.assert_array_equal(images, IMAGES)


def test_the_files_own_toml_is_read_before_the_folders(archive):
    """x.toml counts for x.npz, preprocess.toml where there is no x.toml."""
    archive.with_name("preprocess.toml").write_text("crop = 3\n")
    assert load_dataset(f"npz:{archive}").preprocess.crop == 3
    archive.with_name("x.toml").write_text("crop = 2\n")
    assert load_dataset(f"npz:{archive}").preprocess.crop == 2


def test_the_toml_may_say_the_number_of_classes(archive):
    """Classes is taken from the TOML; fewer than the labels need is an error."""
    toml = archive.with_name("x.toml")
    toml.write_text("classes = 1000\n")
    data = load_dataset(f"npz:{archive}")
    assert (data.classes, data.counts().sum()) == (1000, 6)
    toml.write_text("classes = 2\n")
    with pytest.raises(DataError, match="labels below classes=2, got 2"):
        load_dataset(f"npz:{archive}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scael = 1.0", r"x\.toml: expected keys of .*, got 'scael'; did you mean scale\?"),
        ("scale = 'big'", r"x\.toml: scale: expected a number, got 'big'"),
        ("mean = 0.5", r"x\.toml: mean: expected a list"),
        ("std = [0.0]", r"x\.toml: std: expected a positive"),
        ("crop = 1.5", r"x\.toml: crop: expected a whole number"),
        ("channels = 'cmyk'", r"x\.toml: channels: expected one of rgb, bgr, gray"),
        ("classes = 0", r"x\.toml: classes: expected a whole number from 1"),
        ("classes = true", r"x\.toml: classes: expected a whole number from 1"),
        ("classes = 99999999999", r"x\.toml: classes: expected a whole number from 1"),
        ("first_label = -1", r"x\.toml: first_label: expected a whole number from 0 to 1048576, got -1"),
        ("first_label = true", r"x\.toml: first_label: expected a whole number from 0"),
        ("first_label = 1", r"x\.npz: expected labels from 0, got first_label=1; subtract it from the labels"),
        ("class_names = 'cat'", r"x\.toml: class_names: expected a list of names, got 'cat'"),
        ("class_names = []", r"x\.toml \(class_names\): expected from 1 to 1048576 class names, got 0"),
        ("class_names = ['cat', '']", r"x\.toml \(class_names\): class 1: expected a name, got ''"),
        ("class_names_file = 3", r"x\.toml: class_names_file: expected the name of a file, got 3"),
        (
            "class_names_file = 'no.txt'",
            r"no\.txt: expected a file of class names in UTF-8, got No such file or directory",
        ),
        ("class_names = ['a']\nclass_names_file = 'b'", r"expected class_names or class_names_file, got both"),
        ("class_names = ['a', 'b']\nclasses = 3", r"expected classes=2, as many as there are class names, got 3"),
        ("class_names = ['a', 'b']", r"x: expected labels below classes=2, got 2"),
        ("scale = ", r"x\.toml: expected a TOML file, got TOMLDecodeError"),
        ("a = " + "[" * 5000, r"x\.toml: expected a TOML file"),
    ],
)
def test_a_bad_toml_is_refused_in_one_line(archive, text, message):
    """Every mistake names the file and, where there is one, the key."""
    archive.with_name("x.toml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(f"npz:{archive}")
    assert "\n" not in str(caught.value)


def test_class_names_of_an_archive_say_how_many_there_are(archive, tmp_path):
    """In the TOML, in a file, or by the model, whose number of classes does not count here."""
    spec = f"npz:{archive}"
    assert load_dataset(spec).class_names is None
    archive.with_name("x.toml").write_text('class_names = ["ant", "bee", "cat", "dog"]\n')
    data = load_dataset(spec)
    assert (data.classes, data.class_names) == (4, ("ant", "bee", "cat", "dog"))
    archive.with_name("x.toml").unlink()
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    assert load_dataset(spec, class_names=tmp_path / "names.txt").classes == 4
    of_model = load_dataset(spec).completed({"names": "ant, bee, cat, dog"})
    assert (of_model.classes, of_model.class_names) == (3, ("ant", "bee", "cat"))
    assert load_dataset(spec).completed({"names": "ant, bee"}).class_names is None


def test_a_toml_that_is_not_text_is_refused(archive):
    """Bytes that are not UTF-8 are a DataError."""
    archive.with_name("x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"x\.toml: expected a TOML file"):
        load_dataset(f"npz:{archive}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a JSON object"),
        ("[1]", "expected a JSON object, got list"),
        ("[" * 100_000, "expected a JSON object"),
        ('{"scale": NaN}', "scale: expected a finite"),
        ('{"scale": 1e999}', "scale: expected a finite"),
        ('{"classes": 10}', "expected keys of .*, got 'classes'"),
        ('{"mean": ["a"]}', "mean: expected a number, got 'a'"),
        ('{"mean": {"r": 1}}', "mean: expected a list"),
    ],
)
def test_bad_model_metadata_is_refused_in_one_line(text, message):
    """Every mistake names the metadata key."""
    with pytest.raises(DataError, match=f"model metadata ftonnx.preprocess: {message}"):
        load_dataset("digits", model_metadata={"ftonnx.preprocess": text})


def test_other_metadata_and_null_fields_are_left_alone():
    """Foreign keys are not read, and null means unsaid."""
    metadata = {"ftonnx.preprocess": '{"mean": null}', "author": "{"}
    assert load_dataset("digits", model_metadata=metadata).preprocess == Preprocess(scale=1 / 16)


def test_contradicting_sources_are_refused():
    """A crop from the model that is larger than the resize asked for is an error that says so."""
    with pytest.raises(ValueError, match="crop: expected at most resize=4 pixels, got 6"):
        load_dataset("digits", preprocess=Preprocess(resize=4), model_metadata={"ftonnx.preprocess": '{"crop": 6}'})
