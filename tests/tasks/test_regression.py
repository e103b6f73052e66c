"""Regression: within a tolerance or not, and the sums of errors."""

import math

import numpy as np
import pytest

from ftonnx.errors import DataError, UsageError
from ftonnx.tasks import Regression

NAN = math.nan


def test_an_image_is_right_where_all_its_numbers_are():
    """Two numbers per image; the tolerance itself is within."""
    labels = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    golden = labels.astype(np.float32)
    faulty = np.float32([[1.5, 2], [1.5, 2.75], [NAN, 2], [1, 2]])
    found = Regression(tolerance=0.5).count(faulty, golden, labels)
    assert (found.n, found.within, found.sdc, found.due, found.masked) == (4, 2, 1, 1, 1)


def test_mean_errors_are_in_the_labels_unit():
    """Against numpy, to a hundredth of the tolerance."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(500, 1))
    outputs = labels + rng.normal(scale=0.3, size=(500, 1))
    task = Regression(tolerance=0.5)
    figures = task.figures(task.count(outputs, outputs, labels))
    errors = outputs - labels
    assert figures["MAE"] == pytest.approx(np.abs(errors).mean(), abs=0.005)
    assert figures["RMSE"] == pytest.approx(np.sqrt((errors**2).mean()), abs=0.005)


def test_a_flipped_exponent_counts_as_a_thousand_tolerances():
    """So that one wild number does not drown all others, or leave 64 bits."""
    task = Regression(tolerance=0.5)
    found = task.count(np.array([1e30, 1.0]), np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert task.figures(found)["MAE"] == pytest.approx(250)


def test_without_an_answer_there_are_no_mean_errors():
    """Of a batch of detected errors."""
    task = Regression(tolerance=0.5)
    assert task.figures(task.judge(np.zeros(3), np.zeros(3)).crashed()) == {}


@pytest.mark.parametrize("tolerance", [0, -1, NAN, math.inf, "much"])
def test_a_tolerance_that_is_none_is_refused(tolerance):
    """With what it is and how it is given."""
    with pytest.raises(UsageError, match=r"regression:tolerance=0\.5"):
        Regression(tolerance=tolerance)


def test_a_tolerance_is_asked_for():
    """Nobody can guess it."""
    with pytest.raises(UsageError, match="needs a tolerance"):
        Regression()


def test_labels_of_another_shape_are_refused():
    """A label for every number."""
    with pytest.raises(DataError, match=r"labels of shape \(2, 3\)"):
        Regression(tolerance=1).check(np.zeros((2, 3)), np.zeros((2, 2)), None)
