"""Intervals whose unit of randomness is the fault pattern, against published numbers and plain formulas."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ftonnx.campaign.statistics import (
    Correlation,
    Estimate,
    clustered_mean,
    few_clusters,
    intra_pattern_correlation,
    stratified_mean,
)
from ftonnx.errors import UsageError

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


def shared(counts, sizes):
    """Whether Student's t is to be used, by the rule as docs/statistics.md says it, one pattern at a time."""
    parts = [
        size * abs(count / size - statistics.median(one / size for one in row))
        for row, size in zip(counts, sizes, strict=True)
        for count in row
    ]
    squares = sum(part**2 for part in parts)
    return squares > 0 and sum(parts) ** 2 / squares >= 0.6 * len(counts) * (len(counts[0]) - 1)


@given(tables())
def test_unequal_batches_are_weighted_by_their_images(table):
    """Mean and limits equal a straight-line calculation, clipped to [0, 1]; rare harm gives other limits."""
    counts, sizes = table
    mean, low, high = plain_interval(counts, sizes)
    found = stratified_mean(np.array(counts), np.array(sizes))
    assert found.mean == pytest.approx(mean, abs=1e-12)
    if shared(counts, sizes):
        assert found.low == pytest.approx(max(0.0, low), abs=1e-8)
        assert found.high == pytest.approx(min(1.0, high), abs=1e-8)
    else:
        assert found.low < mean or mean == 0
        assert found.high > mean or mean == 1


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


def test_equal_repeats_leave_room_for_patterns_that_were_not_seen():
    """No harm in 40 patterns: by Clopper and Pearson, up to 8.81 % of patterns may lose every image."""
    found = stratified_mean(np.full((4, 10), 9), np.full(4, 10))
    unseen = 1 - 0.025 ** (1 / 40)
    assert unseen == pytest.approx(0.0881, abs=5e-5)
    assert (found.mean, found.low) == pytest.approx((0.9, 0.9 * (1 - unseen)))
    assert found.high == pytest.approx(0.9 + 0.1 * unseen)


def test_one_pattern_that_loses_everything_is_one_of_n_by_clopper_and_pearson():
    """1 of 20: .0013 to .2487 of the quiet accuracy may be lost; gains were not seen, so up to .1684 may come."""
    counts = np.full((1, 20), 80)
    counts[0, 3] = 0
    found = stratified_mean(counts, np.array([100]))
    limits = binomtest(1, 20).proportion_ci(method="exact")
    unseen = 1 - 0.025 ** (1 / 20)
    assert (limits.low, limits.high, unseen) == pytest.approx((0.0013, 0.2487, 0.1684), abs=5e-5)
    assert found.mean == pytest.approx(0.76)
    assert found.low == pytest.approx(0.8 * (1 - limits.high))
    assert found.high == pytest.approx(0.8 * (1 - limits.low) + 0.2 * unseen)


def test_differences_between_batches_do_not_widen_the_interval():
    """Batches are strata: easy and hard batches of equal spread give what batches of one level give."""
    rng = np.random.default_rng(3)
    noise = rng.integers(-5, 6, (6, 10))
    sizes = np.full(6, 100)
    level = stratified_mean(50 + noise, sizes)
    mixed = stratified_mean(np.array([[20], [80], [35], [65], [50], [50]]) + noise, sizes)
    assert mixed.high - mixed.low == pytest.approx(level.high - level.low)


def test_a_known_value_has_an_interval_of_no_width():
    """For rate 0, where every repeat is the golden run."""
    assert Estimate.exact(0.9).to_dict() == {"mean": 0.9, "low": 0.9, "high": 0.9, "confidence": 0.95}


def test_the_confidence_can_be_chosen():
    """At 90 % and 4 degrees of freedom the factor is 2.131847."""
    found = stratified_mean(np.array([[9, 8, 7], [6, 5, 7]]), np.array([10, 10]), confidence=0.9)
    assert found.high - 0.7 == pytest.approx(2.131846786 * 0.0408248290, abs=1e-9)
    assert found.confidence == 0.9


def test_a_confidence_outside_0_to_1_is_refused():
    """95 instead of 0.95, for instance."""
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(UsageError, match=r"such as 0\.95; got"):
            stratified_mean(np.array([[9, 8]]), np.array([10]), confidence=confidence)


class TestClusteredMean:
    """The target "population": fault patterns with their images are the sample."""

    def test_the_known_answer_of_four_clusters_is_reproduced(self):
        """Ratio estimate .7375, standard error .1151926, interval .3709058 to 1 (clipped from 1.1040942)."""
        found = clustered_mean(np.array([120, 96, 64, 15]), np.array([128, 128, 128, 16]))
        assert (found.mean, found.low, found.high) == pytest.approx((0.7375, 0.3709058, 1.0), abs=5e-8)
        assert (found.mean - found.low) / T_975[3] == pytest.approx(0.1151926, abs=5e-8)

    def test_the_other_target_of_the_same_data_has_the_known_error(self):
        """Six clusters of the two-batch example: standard error .0577350 in place of .0408248."""
        found = clustered_mean(np.array([9, 8, 7, 6, 5, 7]) * 10, np.full(6, 100))
        assert (found.mean - found.low) / T_975[5] == pytest.approx(0.0577350, abs=5e-8)

    def test_one_cluster_has_no_interval(self):
        """As one repeat has none."""
        assert clustered_mean(np.array([3]), np.array([4])) == Estimate(0.75, None, None)

    @pytest.mark.parametrize("lost", [0, 1, 2, 5])
    def test_rare_patterns_that_lose_everything_give_clopper_and_pearsons_limits(self, lost):
        """Of 40 patterns, the others losing nothing."""
        counts = np.where(np.arange(40) < lost, 0, 64)
        found = clustered_mean(counts, np.full(40, 64))
        limits = binomtest(40 - lost, 40).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((limits.low, limits.high), abs=1e-9)


class TestCorrelation:
    """How alike the images of a pattern fare."""

    def test_the_known_answer_of_three_patterns_is_reproduced(self):
        """MSB .5833333, MSW .1666667: correlation .3846154, design effect 2.1538462."""
        found = intra_pattern_correlation(np.array([3, 1, 4]), np.array([4, 4, 4]))
        assert (found.icc, found.design_effect) == pytest.approx((0.3846154, 2.1538462), abs=5e-8)
        assert found.to_dict() == {"icc": found.icc, "design_effect": found.design_effect}

    def test_it_equals_an_analysis_of_variance_over_images(self):
        """Sums of squares image by image, patterns of equal size."""
        rng = np.random.default_rng(4)
        images = (rng.random((9, 12)) < rng.random((9, 1))).astype(float)
        grand, levels = images.mean(), images.mean(axis=1)
        between = 12 * sum((level - grand) ** 2 for level in levels) / 8
        within = sum((image - level) ** 2 for row, level in zip(images, levels, strict=True) for image in row) / 99
        found = intra_pattern_correlation(images.sum(axis=1).astype(int), np.full(9, 12))
        assert found.icc == pytest.approx((between - within) / (between + 11 * within))

    def test_it_finds_the_correlation_that_the_data_were_made_with(self):
        """Beta-binomial with .3, patterns of unequal size."""
        rng = np.random.default_rng(5)
        sizes = rng.integers(20, 120, 4000)
        counts = rng.binomial(sizes, rng.beta(0.7 * 7 / 3, 0.3 * 7 / 3, 4000))
        assert intra_pattern_correlation(counts, sizes).icc == pytest.approx(0.3, abs=0.02)

    @pytest.mark.parametrize(("counts", "sizes"), [([5], [9]), ([1, 0, 1], [1, 1, 1]), ([4, 4], [4, 4])])
    def test_nothing_to_compare_gives_none(self, counts, sizes):
        """One pattern, one image per pattern, or images that all fared the same."""
        assert intra_pattern_correlation(np.array(counts), np.array(sizes)) == Correlation(None, None)


def test_few_patterns_are_warned_of():
    """Below 20, with the number and the remedy."""
    assert few_clusters(1) == "only 1 fault pattern: intervals are rough below 20, use more repeats"
    assert few_clusters(19) is not None
    assert few_clusters(20) is None
