"""Binary, multi-label and class numbers: outcomes against hand-worked vectors and independent formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftonnx.errors import DataError
from ftonnx.tasks import Auroc, Binary, ClassNumbers, MultiLabel

NAN = math.nan


def test_scores_above_the_threshold_are_positive():
    """One right, one silently wrong, one undecidable."""
    golden = np.float32([0.9, 0.8, 0.2, 0.5])
    labels = np.array([1, 1, 0, 0])
    found = Binary(threshold=0.5).count(np.float32([0.9, 0.3, NAN, 0.5]), golden, labels)
    assert (found.n, found.correct, found.sdc, found.due, found.masked) == (4, 2, 1, 1, 2)
    assert (found.positives, found.hits, found.alarms) == (2, 1, 0)


def test_the_threshold_is_that_of_probabilities_or_of_logits():
    """By the golden scores of the first batch."""
    task = Binary()
    assert not task.is_settled
    assert task.settled({"p": np.float32([[0.2], [1.0]])}, np.array([0, 1])) == Binary(threshold=0.5)
    assert task.settled({"x": np.float32([[0.2], [1.1]])}, np.array([0, 1])) == Binary(threshold=0.0)
    assert Binary(threshold=0.7).settled({"x": np.float32([3])}, np.array([0, 1])) == Binary(threshold=0.7)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, NAN]), st.booleans()), min_size=2, max_size=12))
def test_auroc_is_the_share_of_pairs_in_the_right_order(images):
    """Against a loop over all pairs; equal scores count half, NaN wins nothing."""
    scores = np.array([score for score, _ in images])
    labels = np.array([int(positive) for _, positive in images])
    found = Auroc(threshold=0.5).count(scores, scores, labels)
    expected = 0.0
    pairs = 0
    for high in scores[labels == 1]:
        for low in scores[labels == 0]:
            pairs += 1
            if not math.isnan(high) and not math.isnan(low):
                expected += float(high > low) + 0.5 * float(high == low)
    assert found.pairs == 2 * pairs
    assert found.won == 2 * expected


def test_auroc_needs_both_labels_in_a_batch():
    """Of one label there is no pair."""
    with pytest.raises(DataError, match="of both labels was expected, got only label 1"):
        Auroc().check(np.float32([0.1, 0.2]), np.array([1, 1]), 2)


def test_labels_beyond_two_classes_are_refused():
    """One score tells two apart."""
    with pytest.raises(DataError, match="3 classes, but the model gives one score"):
        Binary().check(np.float32([0.1, 0.2]), np.array([0, 1]), 3)


def test_sensitivity_and_specificity():
    """Two of three positives found, one of two negatives left alone."""
    labels = np.array([1, 1, 1, 0, 0])
    scores = np.float32([0.9, 0.9, 0.1, 0.9, 0.1])
    figures = Binary(threshold=0.5).figures(Binary(threshold=0.5).count(scores, scores, labels))
    assert figures["sensitivity"] == pytest.approx(2 / 3)
    assert figures["specificity"] == pytest.approx(1 / 2)


def test_class_numbers_are_compared_as_they_are():
    """Another number is another class, whatever its size."""
    found = ClassNumbers().count(np.array([[3], [0], [7]]), np.array([[3], [1], [7]]), np.array([3, 0, 2]))
    assert dict(found) == {"n": 3, "correct1": 2, "sdc1": 1, "masked": 2, "due": 0, "beneficial": 1}


def test_micro_f1_is_that_of_all_decisions():
    """Three hits, one alarm, one miss: 2 * 3 / (2 * 3 + 1 + 1)."""
    labels = np.array([[1, 1, 0], [0, 1, 1]])
    scores = np.float32([[0.9, 0.9, 0.9], [0.1, 0.9, 0.1]])
    task = MultiLabel(threshold=0.5)
    found = task.count(scores, scores, labels)
    assert (found.exact, found.right, found.decisions) == (0, 4, 6)
    assert task.figures(found)["micro F1"] == pytest.approx(6 / 8)


def test_labels_that_are_not_0_and_1_are_refused():
    """Class numbers are another task's."""
    with pytest.raises(DataError, match="labels 0 and 1"):
        MultiLabel().check(np.zeros((2, 2), np.float32), np.array([[0, 2], [1, 0]]), None)
