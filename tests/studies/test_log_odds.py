"""Log-odds over data sets against the paper's own numbers, and by hand."""

import math
from types import SimpleNamespace

import pytest

from ftonnx.studies import Cell
from ftonnx.studies.log_odds import log_odds_figures, log_odds_gaps, log_odds_of
from ftonnx.tasks import default_task

DATA = ("imagenet", "bcs", "eurosat", "patternnet", "rsi-cb256")
BEFORE = {
    "supervised": (76.15, 92.01, 98.83, 99.74, 99.55),
    "swav": (75.30, 92.71, 98.07, 99.72, 99.68),
    "dino": (75.28, 92.01, 98.70, 99.64, 99.72),
    "simsiam": (68.29, 92.88, 98.68, 99.59, 99.68),
    "ssql": (67.74, 90.97, 98.72, 99.64, 99.78),
}
"""Fault-free accuracies of tables 3 and 4, in per cent."""
CLIPPED = {
    "supervised": (48.23, 88.37, 94.57, 99.21, 98.69),
    "swav": (51.07, 91.15, 94.98, 99.33, 96.93),
    "dino": (54.42, 90.45, 96.87, 99.29, 98.93),
    "simsiam": (53.08, 92.01, 98.24, 99.47, 99.64),
    "ssql": (62.96, 90.80, 98.00, 99.54, 99.41),
}
"""The same with ClipAct."""


def fractions(table):
    """Return accuracies by model and data set."""
    return {(model, data): value / 100 for model, row in table.items() for data, value in zip(DATA, row, strict=True)}


def test_the_papers_reduction_is_found():
    """Section VII: with ClipAct the supervised model loses 27.95 % of its mean log-odds, most of all models."""
    found = log_odds_of(fractions(BEFORE), fractions(CLIPPED), variant="clipact", reference="imagenet")
    means = {(point.model, point.variant): point.mean for point in found.points}
    reductions = {model: 1 - means[model, "clipact"] / means[model, "as it is"] for model in BEFORE}
    assert reductions["supervised"] == pytest.approx(0.2795, abs=5e-5)
    assert [point.accuracy for point in found.points[:5]] == [pytest.approx(row[0] / 100) for row in BEFORE.values()]
    assert found.data == DATA
    assert found.left_out == ()


def test_errors_follow_equations_7_and_8_by_hand():
    """Two models, two data sets: logits 2 and 1, and 1 and -1."""

    def p(logit):
        return 1 / (1 + math.exp(-logit))

    table = {("a", "x"): p(2.0), ("a", "y"): p(1.0), ("b", "x"): p(1.0), ("b", "y"): p(-1.0)}
    found = log_odds_of(table, table, variant="ptq")
    # less the data sets' means 1.5 and 0: a has 0.5 and 1, b the same below zero
    deviation = math.sqrt(0.25**2 + 0.25**2)
    error = deviation / math.sqrt(2) * math.sqrt(2 / 1)
    assert [(point.model, point.variant) for point in found.points] == [
        ("a", "as it is"),
        ("b", "as it is"),
        ("a", "ptq"),
        ("b", "ptq"),
    ]
    assert [point.mean for point in found.points] == pytest.approx([1.5, 0.0, 1.5, 0.0])
    assert [point.error for point in found.points] == pytest.approx([error] * 4)
    at = [(p(2.0) + p(1.0)) / 2, (p(1.0) + p(-1.0)) / 2]
    assert [point.accuracy for point in found.points[:2]] == pytest.approx(at)
    assert found.slope == pytest.approx(1.5 / (at[0] - at[1]))
    assert found.intercept == pytest.approx(-found.slope * at[1])


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_an_accuracy_without_log_odds_leaves_its_data_set_out(extreme):
    """For all models, in both variants, with the reason; the reference stays one."""
    clipped = fractions(CLIPPED) | {("swav", "bcs"): extreme}
    found = log_odds_of(fractions(BEFORE), clipped, variant="clipact", reference="bcs")
    assert found.data == ("imagenet", "eurosat", "patternnet", "rsi-cb256")
    assert found.left_out == (f"bcs, on which swav has {extreme:.0%}",)
    assert found.points[0].accuracy == pytest.approx(0.9201)


def test_a_model_without_a_result_is_left_out():
    """Its mean would be over other data sets."""
    clipped = fractions(CLIPPED)
    del clipped["dino", "eurosat"]
    found = log_odds_of(fractions(BEFORE), clipped, variant="clipact")
    assert {point.model for point in found.points} == {"supervised", "swav", "simsiam", "ssql"}
    assert found.left_out == ("dino, without a result on eurosat",)


def test_too_little_is_no_figure():
    """Fewer than two models, or two data sets."""
    before = fractions(BEFORE)
    one_model = {pair: value for pair, value in before.items() if pair[0] == "dino"}
    one_set = {pair: value for pair, value in before.items() if pair[1] == "bcs"}
    assert log_odds_of(one_model, before, variant="ptq").points == ()
    assert log_odds_of(one_set, before, variant="ptq").points == ()
    assert log_odds_of({}, {}, variant="ptq").points == ()


def test_a_figure_that_was_asked_for_and_cannot_be_drawn_is_said():
    """With what is left out; without a reference nobody asked."""
    results = {}
    for model, data, clean in (("a", "x", 1.0), ("a", "y", 0.9), ("b", "x", 0.8), ("b", "y", 0.7)):
        for protect in ("none", "relu6"):
            cell = Cell(model, protect, "none", data, "rates")
            results[cell] = SimpleNamespace(task=default_task(), clean=clean)
    assert log_odds_figures(results, "x") == []
    assert log_odds_gaps(results, None) == []
    assert log_odds_gaps(results, "x") == [
        "log-odds@relu6 is not drawn: two models and two data sets were expected, left out are x, on which a has 100%"
    ]


def test_equal_accuracies_lie_on_no_line():
    """A regression through one place has no slope."""
    table = {("a", "x"): 0.6, ("a", "y"): 0.5, ("b", "x"): 0.6, ("b", "y"): 0.7}
    found = log_odds_of(table, table, variant="ptq", reference="x")
    assert found.slope is None
    assert found.intercept is None
