"""Which task is meant where nobody names one, which output it judges, and tasks of one's own."""

import numpy as np
import pytest

from ftonnx.errors import ModelError, UsageError
from ftonnx.tasks import (
    Binary,
    Classification,
    ClassNumbers,
    MultiLabel,
    Regression,
    parse_task,
    register_task,
    task_from_dict,
    usual_task,
)

LABELS = np.array([0, 1, 1, 0])
SCORES = np.zeros((4, 3), np.float32)
ONE = np.zeros((4, 1), np.float32)
NUMBERS = np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        ({"y": SCORES}, LABELS, Classification),
        ({"y": SCORES[..., np.newaxis, np.newaxis]}, LABELS, Classification),
        ({"y": ONE}, LABELS, Binary),
        ({"y": NUMBERS}, LABELS, ClassNumbers),
        ({"label": NUMBERS, "p": SCORES}, LABELS, Classification),
        ({"label": NUMBERS, "p": [{0: 0.5, 1: 0.5}] * 4}, LABELS, Classification),
        ({"y": SCORES}, np.zeros((4, 3), np.int64), MultiLabel),
        ({"y": np.zeros((4, 3, 8, 8), np.float32)}, LABELS, Classification),
    ],
)
def test_the_task_is_that_which_outputs_and_labels_fit(outputs, labels, expected):
    """The most telling one first; where none does, classification says what it needs."""
    assert type(usual_task(outputs, labels, 2 if labels.ndim == 1 else None)) is expected


def test_features_and_a_binary_score_are_not_told_apart():
    """Features have columns enough for two classes."""
    outputs = {"features": np.zeros((4, 8), np.float32), "p": ONE}
    with pytest.raises(ModelError, match=r"features can be scores .* p a binary score: name one as `output`"):
        usual_task(outputs, LABELS, 2)


def test_numbers_as_labels_ask_for_a_tolerance():
    """They are those of a regression."""
    with pytest.raises(UsageError, match="tolerance"):
        usual_task({"y": ONE}, LABELS.astype(float), None)


def test_the_only_output_that_fits_is_chosen():
    """Features have fewer columns than there are classes."""
    outputs = {"features": np.zeros((4, 2), np.float32), "logits": np.zeros((4, 5), np.float32)}
    assert Classification().choose(outputs, LABELS, 5) == "logits"


def test_where_several_fit_or_none_does_all_are_listed():
    """With their types and shapes, and what to do."""
    several = {"features": np.zeros((4, 8), np.float32), "logits": np.zeros((4, 5), np.float32)}
    with pytest.raises(ModelError, match=r"2 of them .*'features': float32 of shape \(4, 8\); 'logits'.*`output`"):
        Classification().choose(several, LABELS, 5)
    none = {"map": np.zeros((4, 3, 8, 8), np.float32), "step": np.float32(3)}
    with pytest.raises(ModelError, match="none of them"):
        Classification().choose(none, LABELS, 5)


MINE = """
from dataclasses import dataclass
from ftonnx.tasks import Regression

@dataclass(frozen=True, kw_only=True)
class Mine(Regression):
    name = "mine"

def function():
    pass
"""


def test_a_task_in_a_file_of_ones_own(tmp_path):
    """Named by file and class, with settings; from then on it is known by its name."""
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    task = parse_task(f"{file}:Mine:tolerance=0.25")
    assert (task.name, task.tolerance) == ("mine", 0.25)
    assert task_from_dict(task.to_dict()) == task


@pytest.mark.parametrize(
    ("name", "expected"), [("Other", "nothing of that name"), ("function", "expected a class function")]
)
def test_a_file_without_the_task_is_refused(tmp_path, name, expected):
    """In one line."""
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    with pytest.raises(UsageError, match=expected):
        parse_task(f"{file}:{name}")


def test_a_name_of_ftonnx_is_not_given_away():
    """A folder says by which task it was judged."""

    class Other(Classification):
        name = "classification"

    with pytest.raises(UsageError, match="task 'classification' of its own"):
        register_task(Other)


def test_an_unknown_task_is_refused_with_the_near_name():
    """And with what there is."""
    with pytest.raises(UsageError, match="did you mean regression"):
        parse_task("regresion:tolerance=1")


def test_a_regression_is_written_on_the_command_line():
    """With its setting."""
    assert parse_task("regression:tolerance=0.5") == Regression(tolerance=0.5)


@pytest.mark.parametrize("value", ["[" * 100_000, "9" * 5000])
def test_a_setting_that_no_reader_of_json_takes_is_a_text(value):
    """Nested without end, or too many digits: refused like any other text."""
    with pytest.raises(UsageError):
        parse_task(f"classification:nan={value}")
