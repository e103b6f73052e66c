"""Outcomes of single images, against hand-worked vectors and a naive loop."""

import math

import numpy as np
import pytest
from campaign_kit import COUNTS, naive_outcomes
from hypothesis import given
from hypothesis import strategies as st

from ftonnx.errors import DataError, ModelError
from ftonnx.tasks import Classification, Counts

GOLDEN = [0.6, 0.3, 0.1, 0, 0, 0]
NAN, INF = math.nan, math.inf


def count(outputs, golden=GOLDEN, label=0, dtype=np.float32):
    """Count one image and return the outcomes that it has, by name."""
    found = Classification().count(np.array([outputs], dtype), np.array([golden], dtype), np.array([label]))
    return {name for name in COUNTS[1:] if getattr(found, name)}


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([0.3, 0.6, 0.1, 0, 0, 0], {"correct5", "sdc1"}),
        (GOLDEN, {"correct1", "correct5", "masked"}),
        ([0.65, 0.25, 0.1, 0, 0, 0], {"correct1", "correct5"}),
        ([0.7, 0.2, 0.1, 0, 0, 0], {"correct1", "correct5", "sdc10"}),
        ([0.5, 0.4, 0.1, 0, 0, 0], {"correct1", "correct5", "sdc10"}),
        ([0.75, 0.15, 0.1, 0, 0, 0], {"correct1", "correct5", "sdc10", "sdc20"}),
        ([0.2, 0.4, 0.1, 0.1, 0.1, 0.1], {"correct5", "sdc1", "sdc10", "sdc20"}),
        ([0.1, 0.1, 0.1, 0.1, 0.1, 0.6], {"correct5", "sdc1", "sdc5"}),
        ([0, 0.2, 0.2, 0.2, 0.2, 0.2], {"sdc1", "sdc10", "sdc20"}),
    ],
)
def test_the_known_vectors_have_their_published_outcomes(outputs, expected):
    """SDC-1 but not SDC-5, masked, neither, and both; confidence off by 8, 17, 25 and 33 %; label 0."""
    assert count(outputs) == expected


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("place", range(6))
def test_an_output_with_nan_or_inf_is_a_detected_error_and_never_right(bad, place):
    """Also where argmax would pick the label: DUE, wrong, and not silent."""
    outputs = list(GOLDEN)
    outputs[place] = bad
    assert count(outputs) == {"due"}
    assert count(outputs, label=place) == {"due"}


def test_a_row_of_nan_is_not_class_zero():
    """np.argmax of NaNs is 0, which here would be the label."""
    assert count([NAN] * 6) == {"due"}


def test_a_detected_error_that_the_golden_run_has_too_is_masked_and_due():
    """Bit-identical NaN outputs: the fault changed nothing, and the output is still unusable."""
    assert count([NAN, 1, 0], [NAN, 1, 0]) == {"masked", "due"}


def test_nothing_is_silent_corruption_where_the_golden_run_has_no_answer():
    """Against a golden output with NaN there is no top-1 to differ from."""
    right = {"correct1", "correct5", "beneficial"}
    assert count([0, 1, 0], [NAN, 1, 0], label=1) == right
    assert count([0, 0, 0, 0, 0, 1], [INF] * 5 + [0], label=5) == right


def test_masked_means_every_bit_equal():
    """Zero and minus zero are equal numbers but not the same output."""
    assert "masked" not in count([0.5, -0.0], [0.5, 0.0])
    assert "masked" in count([0.5, -0.0], [0.5, -0.0])


@pytest.mark.parametrize(("label", "expected"), [(0, {"correct1", "correct5"}), (4, {"correct5"}), (5, set())])
def test_equal_scores_rank_by_class_number(label, expected):
    """Six equal scores: class 0 is first, class 4 is fifth, class 5 is out."""
    assert count([1] * 6, [1] * 6, label) - {"masked"} == expected


@pytest.mark.parametrize("classes", [2, 4, 5])
def test_with_up_to_five_classes_every_finite_output_has_the_label_in_its_top_five(classes):
    """Top-5 is always right and SDC-5 impossible, detected errors excepted."""
    scores = np.arange(classes)
    assert {"correct5"} <= count(scores, scores[::-1], classes - 1)
    assert "sdc5" not in count(scores, scores[::-1])
    assert count([NAN] * classes, scores) == {"due"}


SCORES = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.5, 1e-40, 3e38, NAN, INF, -INF])


@st.composite
def runs(draw):
    """Outputs and golden outputs (images, classes) with many ties and odd values, and labels."""
    images, classes = draw(st.integers(1, 4)), draw(st.integers(2, 8))
    table = st.lists(st.lists(SCORES, min_size=classes, max_size=classes), min_size=images, max_size=images)
    golden = draw(table)
    outputs = [draw(st.just(row) | st.permutations(row)) for row in golden] if draw(st.booleans()) else draw(table)
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    return outputs, golden, labels


@pytest.mark.parametrize("nan", ["due", "argmax"])
@given(runs(), st.sampled_from([np.float32, np.float64]))
def test_counting_equals_a_loop_over_single_images(nan, run, dtype):
    """The vectorized counts equal one sorted() per image."""
    outputs, golden, labels = np.array(run[0], dtype), np.array(run[1], dtype), np.array(run[2])
    found = Classification(nan=nan).count(outputs, golden, labels)
    assert found == Counts(**naive_outcomes(outputs, golden, labels, nan))


@pytest.mark.parametrize(
    ("outputs", "label", "expected"),
    [
        ([0.6, NAN, 0.1, 0, 0, 0], 0, {"due", "correct5", "sdc1"}),
        ([0.6, NAN, 0.1, 0, 0, 0], 1, {"due", "correct1", "correct5", "sdc1", "beneficial"}),
        ([0.6, 0.3, NAN, NAN, 0, 0], 3, {"due", "correct5", "sdc1"}),
        ([NAN] * 6, 0, {"due", "correct1", "correct5"}),
        ([NAN] * 6, 5, {"due"}),
        ([INF, NAN, 0.1, 0, 0, 0], 0, {"due", "correct5", "sdc1"}),
        ([0.6, INF, 0.1, 0, 0, 0], 1, {"due", "correct1", "correct5", "sdc1", "beneficial"}),
        ([0.6, -INF, 0.1, 0, 0, 0], 0, {"due", "correct1", "correct5"}),
        ([0.6, 0.1, 0.1, 0, 0, NAN], 0, {"due", "correct5", "sdc1", "sdc5"}),
    ],
)
def test_by_argmax_the_first_nan_wins_and_infinities_are_numbers(outputs, label, expected):
    """Golden class 0 of six; a row of NaN is class 0, as numpy and torch say. A confidence of NaN or Inf is off."""
    found = Classification(nan="argmax").count(
        np.array([outputs], np.float32), np.array([GOLDEN], np.float32), np.array([label])
    )
    off = {"sdc10", "sdc20"} if not math.isfinite(outputs[int(np.argmax(outputs))]) else set()
    assert {name for name in COUNTS[1:] if getattr(found, name)} == expected | off


def judge_of(images, **options):
    """What judges runs of so many images."""
    return Classification(**options).judge(np.zeros((images, 3), np.float32), np.zeros(images, np.int64))


def test_by_argmax_a_run_without_outputs_has_another_class():
    """It is a detected error, and critical: neither right nor masked nor the golden class."""
    lost = {"n": 7, "due": 7, "sdc1": 7, "sdc5": 7, "sdc10": 7, "sdc20": 7}
    assert judge_of(7, nan="argmax").crashed() == Counts(**(dict.fromkeys(COUNTS, 0) | lost))


def test_logits_get_a_softmax_before_confidences_are_compared():
    """Scores that rise together change nothing; a gap that doubles moves the best class from 73 to 88 %."""
    assert count([12, 11], [2, 1]) == {"correct1", "correct5"}
    assert count([4, 2], [3, 2]) == {"correct1", "correct5", "sdc10", "sdc20"}
    assert count([3.3, 2], [3, 2]) == {"correct1", "correct5"}
    assert count([3.5, 2], [3, 2]) == {"correct1", "correct5", "sdc10"}


def test_probabilities_are_taken_as_they_are_by_the_golden_runs_form():
    """A faulty output that no longer sums to 1 is still a probability: .9 against .6 is 50 % off."""
    assert count([0.9, 0.6], [0.6, 0.4]) == {"correct1", "correct5", "sdc10", "sdc20"}
    assert count([0.62, 0.9], [0.4, 0.6], label=1) == {"correct1", "correct5", "sdc10", "sdc20"}


def test_a_flip_that_makes_a_wrong_answer_right_is_beneficial():
    """The golden run says 0, the label is 1, the faulty run says 1."""
    assert count([0.3, 0.6, 0.1, 0, 0, 0], label=1) == {"correct1", "correct5", "sdc1", "beneficial"}
    assert "beneficial" not in count([0.6, 0.3, 0.1, 0, 0, 0], [0.9, 0.05, 0.05, 0, 0, 0])
    assert "beneficial" not in count([NAN, 1], label=1, golden=[1, 0])


def test_half_precision_and_integer_scores_are_counted_too():
    """Models end in float16 logits or in quantized integers."""
    assert count([0.3, 0.6, 0.1, 0, 0, 0], dtype=np.float16) == {"correct5", "sdc1"}
    assert count([3, 200, 1], [200, 3, 1], dtype=np.uint8) == {"correct5", "sdc1"}


def test_a_run_that_crashed_counts_every_image_as_a_detected_error():
    """Nothing right, nothing silent, nothing masked."""
    assert judge_of(7).crashed() == Counts(**(dict.fromkeys(COUNTS, 0) | {"n": 7, "due": 7}))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3, 2), (3, 4), (1, 4), ()])
def test_outputs_that_are_not_batch_by_classes_are_refused(shape):
    """The message names the shape that came."""
    with pytest.raises(ModelError, match=r"\(batch, classes\)") as caught:
        Classification().check(np.zeros(shape, np.float32), np.arange(4) % 2, 2)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 3, 1, 1), (4, 1, 3), (4, 1, 3, 1)])
def test_axes_of_size_1_are_left_out(shape):
    """Global pooling leaves two behind, a sequence of one step one before the classes."""
    scores = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    labels = np.array([0, 1, 2, 0])
    task = Classification()
    task.check(scores.reshape(shape), labels, 3)
    faulty = scores[::-1].copy()
    expected = task.count(faulty, scores, labels)
    assert task.count(faulty.reshape(shape), scores.reshape(shape), labels) == expected


def test_a_list_of_maps_is_a_table_of_scores():
    """As ZipMap gives it: keys are class numbers, or names in scikit-learn's order."""
    scores = np.float32([[0.1, 0.9], [0.8, 0.2]])
    labels = np.array([1, 1])
    numbered = [dict(enumerate(row.tolist())) for row in scores]
    named = [{"dog": row[1], "cat": row[0]} for row in scores.tolist()]
    for maps in (numbered, named):
        assert Classification().count(maps, maps, labels) == Classification().count(scores, scores, labels)
    with pytest.raises(ModelError, match="a list of dict"):
        Classification().check([{1: 0.5, 7: 0.5}, {1: 0.5, 7: 0.5}], labels, 2)


def test_a_faulty_output_of_another_shape_is_a_detected_error():
    """A fault in a stored shape can change that of the output."""
    scores = np.eye(4, dtype=np.float32)
    judge = Classification().judge(scores, np.arange(4))
    assert judge.count(scores[:, :3]) == judge.crashed()


def test_labels_outside_the_models_classes_are_refused():
    """Eleven classes in the data, ten in the model."""
    with pytest.raises(DataError, match=r"11 classes.*10"):
        Classification().check(np.zeros((4, 10), np.float32), np.zeros(4, np.int64), 11)


@pytest.mark.parametrize("labels", [np.zeros((4, 2), np.int64), np.zeros(4)])
def test_labels_that_are_no_class_numbers_are_refused(labels):
    """They are those of another task."""
    with pytest.raises(DataError, match=r"class numbers \(images,\)"):
        Classification().check(np.zeros((4, 10), np.float32), labels, None)


@pytest.mark.parametrize("outputs", [["a", "b"], [{0: 0.5}, {0: 0.5}], None, np.array([["a"], ["b"]])])
def test_outputs_that_are_no_array_of_numbers_are_refused(outputs):
    """Sequences, maps, strings and absent outputs are something else than scores."""
    with pytest.raises(ModelError, match=r"\(batch, classes\)"):
        Classification().check(outputs, np.zeros(2, np.int64), 1)
