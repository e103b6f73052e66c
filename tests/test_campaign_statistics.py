"""Intervals whose unit of randomness is the fault pattern, against published numbers and plain formulas."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftonnx.campaign import Estimate, stratified_mean

T_975 = {
    1: 12.706204736, 2: 4.302652730, 3: 3.182446305, 4: 2.776445105, 5: 2.570581836, 6: 2.446911851,
    8: 2.306004135, 9: 2.262157163, 10: 2.228138852, 12: 2.178812830, 15: 2.131449546, 16: 2.119905299,
    20: 2.085963447, 30: 2.042272456,
}  # fmt: skip
"""Two-sided 95 % points of Student's t, from printed tables."""


def plain_interval(counts, sizes):
    """Mean and unclipped limits, written out with the statistics module and a printed t table."""
    repeats, images = len(counts[0]), sum(sizes)
    mean = sum(sum(row) / repeats for row in counts) / images
    variance = sum(
        (size / images) ** 2 * statistics.variance([count / size for count in row]) / repeats
        for row, size in zip(counts, sizes, strict=True)
    )
    half = T_975[len(counts) * (repeats - 1)] * math.sqrt(variance)
    return mean, mean - half, mean + half


def test_the_known_answer_of_two_batches_and_three_repeats_is_reproduced():
    """Mean .70, standard error .0408248, 4 degrees of freedom, interval (.5866521, .8133479)."""
    found = stratified_mean(np.array([[9, 8, 7], [6, 5, 7]]), np.array([10, 10]))
    assert (found.mean, found.low, found.high) == pytest.approx((0.7, 0.5866521, 0.8133479), abs=5e-8)
    assert (found.high - found.low) / 2 / T_975[4] == pytest.approx(0.0408248, abs=5e-8)
    assert found.confidence == 0.95


@st.composite
def tables(draw):
    """Counts (batches, repeats) of batches of unequal size, for which the t table has a row."""
    batches, repeats = draw(
        st.tuples(st.integers(1, 5), st.integers(2, 6)).filter(lambda shape: shape[0] * (shape[1] - 1) in T_975)
    )
    sizes = draw(st.lists(st.integers(1, 40), min_size=batches, max_size=batches))
    counts = [draw(st.lists(st.integers(0, size), min_size=repeats, max_size=repeats)) for size in sizes]
    return counts, sizes


@given(tables())
def test_unequal_batches_are_weighted_by_their_images(table):
    """Mean and limits equal a straight-line calculation, clipped to [0, 1]."""
    counts, sizes = table
    mean, low, high = plain_interval(counts, sizes)
    found = stratified_mean(np.array(counts), np.array(sizes))
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.low == pytest.approx(max(0.0, low), abs=1e-8)
    assert found.high == pytest.approx(min(1.0, high), abs=1e-8)


@given(tables())
def test_the_mean_is_exactly_the_share_of_counted_images(table):
    """All counts over all images, and always inside its own interval within [0, 1]."""
    counts, sizes = table
    found = stratified_mean(np.array(counts), np.array(sizes))
    assert found.mean == sum(map(sum, counts)) / (len(counts[0]) * sum(sizes))
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_one_repeat_gives_a_mean_without_an_interval():
    """The limits are absent, and null in JSON, rather than invented."""
    found = stratified_mean(np.array([[3], [4]]), np.array([4, 4]))
    assert found == Estimate(0.875, None, None)
    assert found.to_dict() == {"mean": 0.875, "low": None, "high": None, "confidence": 0.95}


def test_the_interval_does_not_leave_the_unit_interval():
    """Wide intervals at both ends are clipped at 0 and 1."""
    found = stratified_mean(np.array([[0, 10]]), np.array([10]))
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_equal_repeats_give_an_interval_of_no_width():
    """Rate 0, where every repeat is the golden run, leaves no uncertainty about this test set."""
    found = stratified_mean(np.array([[9, 9], [1, 1]]), np.array([10, 3]))
    assert found.low == found.mean == found.high == 10 / 13


def test_differences_between_batches_do_not_widen_the_interval():
    """Batches are strata: an easy and a hard batch, each stable over its repeats, leave no width."""
    found = stratified_mean(np.array([[100, 100, 100], [0, 0, 0]]), np.array([100, 100]))
    assert (found.low, found.high) == (0.5, 0.5)


def test_the_confidence_can_be_chosen():
    """At 90 % and 4 degrees of freedom the factor is 2.131847."""
    found = stratified_mean(np.array([[9, 8, 7], [6, 5, 7]]), np.array([10, 10]), confidence=0.9)
    assert found.high - 0.7 == pytest.approx(2.131846786 * 0.0408248290, abs=1e-9)
    assert found.confidence == 0.9


def test_nominal_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time():
    """Images of a batch share their fault pattern (beta-binomial, correlation .3); a binomial interval would fail."""
    rng = np.random.default_rng(11)
    sizes, levels = np.array([64, 64, 64, 64, 16]), np.array([0.8, 0.6, 0.7, 0.5, 0.6])
    truth = float((levels * sizes).sum() / sizes.sum())
    concentration = (1 - 0.3) / 0.3
    covered = naive = 0
    for _ in range(600):
        chances = rng.beta(levels[:, None] * concentration, (1 - levels[:, None]) * concentration, size=(5, 10))
        counts = rng.binomial(sizes[:, None], chances)
        found = stratified_mean(counts, sizes)
        covered += found.low <= truth <= found.high
        margin = 1.96 * math.sqrt(found.mean * (1 - found.mean) / counts[:, 0].size / 10 / 54.4)
        naive += abs(found.mean - truth) <= margin
    assert 0.92 <= covered / 600 <= 0.98
    assert naive / 600 < 0.6


@pytest.mark.parametrize(("accuracy", "naive", "stratified"), [(0.9, 0.23, 0.93), (0.99, 0.23, 0.71)])
def test_intervals_cover_as_often_as_the_page_on_faults_says(accuracy, naive, stratified):
    """45 patterns of 128 images, beta-binomial with correlation 0.3: counting images as independent covers 23 %."""
    rng, rho, images, runs = np.random.default_rng(0), 0.3, 128, 1000
    a, b = (share * (1 - rho) / rho for share in (accuracy, 1 - accuracy))
    covered = np.zeros(2)
    for _ in range(runs):
        counts = rng.binomial(images, rng.beta(a, b, size=(3, 15)))
        estimate = stratified_mean(counts, np.full(3, images))
        mean = counts.mean() / images
        half = 1.96 * np.sqrt(mean * (1 - mean) / (45 * images))
        covered += abs(mean - accuracy) <= half, estimate.low <= accuracy <= estimate.high
    assert covered / runs == pytest.approx([naive, stratified], abs=0.03)
