"""Data sets that a model may still complete."""

import pytest

from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, UsageError

CROP = {"ftonnx.preprocess": '{"crop": 6}'}


def test_a_completed_data_set_is_another_one():
    """The one it was made from is left as it is."""
    data = load_dataset("digits", limit=5)
    completed = data.completed(CROP)
    assert (data.sample_shape, completed.sample_shape) == ((1, 8, 8), (1, 6, 6))
    assert completed.completed(CROP) is completed


def test_the_source_of_a_completed_data_set_says_how_it_is_fed():
    """Opened again with that, it is the same."""
    data = load_dataset("digits", limit=5)
    completed = data.completed(CROP)
    assert completed.source == {**data.source, "preprocess": {"scale": 0.0625, "crop": 6}}
    assert "crop" not in data.source["preprocess"]


def test_names_are_those_of_all_classes(tmp_path):
    """Of ten digits, neither fewer nor more."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join("abcdefghij"))
    assert load_dataset("digits", class_names=path).class_names == tuple("abcdefghij")
    path.write_text("a\nb\n")
    with pytest.raises(DataError, match=r"digits: expected names of 10 classes, got 2 in .*names\.txt"):
        load_dataset("digits", class_names=path)


def test_a_model_that_contradicts_what_was_said_is_refused():
    """A crop larger than the resize of the data set's own."""
    data = load_dataset("digits", model_metadata={"ftonnx.preprocess": '{"resize": 8}'})
    with pytest.raises(UsageError, match="crop: expected at most resize=8 pixels, got 9"):
        data.completed({"ftonnx.preprocess": '{"crop": 9}'})
