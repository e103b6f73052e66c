"""Intervals whose unit of randomness is the fault pattern, against published numbers and plain formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from ftonnx.errors import UsageError
from ftonnx.stats.patterns import (
    Correlation,
    Estimate,
    few_patterns,
    for_new_images,
    independent_images,
    intra_pattern_correlation,
    sampling_error,
    stratified_mean,
    stratified_values,
    unseen_share,
)


def plain_limit(values, weights, worst, quantile):
    """A quantile of the weighted mean of the values and one worst one, by sums over a list, as docs/statistics.md."""
    start, end = min([*values, worst]), max([*values, worst])
    if start == end:
        return worst
    n = 1 / sum(weight**2 for weight in weights)
    shares = [(weight * n / (n + 1), value) for weight, value in zip(weights, values, strict=True)]
    shares.append((1 / (n + 1), worst))
    mean = sum(share * (value - start) / (end - start) for share, value in shares)
    square = sum(share * ((value - start) / (end - start)) ** 2 for share, value in shares)
    variance = (square - mean**2) / (n + 2)
    total = mean * (1 - mean) / variance - 1
    return start + (end - start) * beta.ppf(quantile, mean * total, (1 - mean) * total)


def plain_interval(counts, golden, sizes, tail=0.025):
    """Mean and limits of the patterns' deviations from what their batch has without faults."""
    images, repeats = sum(sizes), len(counts[0])
    level = sum(golden) / images
    values, weights = [], []
    for row, known, size in zip(counts, golden, sizes, strict=True):
        values += [(count - known) / size + level for count in row]
        weights += [size / images / repeats] * repeats
    mean = sum(map(sum, counts)) / (repeats * images)
    low = plain_limit(values, weights, 0.0, tail)
    return mean, min(mean, max(0.0, low)), max(mean, min(1.0, plain_limit(values, weights, 1.0, 1 - tail)))


@st.composite
def tables(draw):
    """Counts (batches, repeats) and golden counts of batches of unequal size, two patterns at least."""
    shape = st.tuples(st.integers(1, 5), st.integers(1, 6)).filter(lambda shape: shape[0] * shape[1] > 1)
    batches, repeats = draw(shape)
    sizes = draw(st.lists(st.integers(1, 40), min_size=batches, max_size=batches))
    counts = [draw(st.lists(st.integers(0, size), min_size=repeats, max_size=repeats)) for size in sizes]
    golden = [draw(st.integers(0, size)) for size in sizes]
    return counts, golden, sizes


@given(tables())
def test_mean_and_limits_equal_a_straight_line_calculation(table):
    """Batches weigh by their images; the mean is the share of counted images exactly, inside its interval."""
    counts, golden, sizes = table
    mean, low, high = plain_interval(counts, golden, sizes)
    found = stratified_mean(np.array(counts), np.array(sizes), golden=np.array(golden))
    assert found.mean == mean
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-8)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_one_pattern_gives_a_mean_without_an_interval():
    """The limits are absent, and null in JSON, rather than invented."""
    found = stratified_mean(np.array([[3]]), np.array([4]))
    assert found == Estimate(0.75, None, None)
    assert found.to_dict() == {"mean": 0.75, "low": None, "high": None, "confidence": 0.95}


def test_one_pattern_in_each_of_two_batches_gives_an_interval():
    """The patterns of all batches are one sample: what counts is how many there are."""
    found = stratified_mean(np.array([[3], [4]]), np.array([4, 4]), golden=np.array([4, 4]))
    assert 0 < found.low < 0.875 < found.high <= 1


def test_equal_repeats_leave_room_for_patterns_that_were_not_seen():
    """No harm in 40 patterns: by Clopper and Pearson, up to 8.81 % of patterns may lose, or win, every image."""
    found = stratified_mean(np.full((4, 10), 9), np.full(4, 10), golden=np.full(4, 9))
    unseen = unseen_share(40)
    assert unseen == pytest.approx(0.0881, abs=5e-5)
    assert (found.mean, found.low) == pytest.approx((0.9, 0.9 * (1 - unseen)))
    assert found.high == pytest.approx(0.9 + 0.1 * unseen)


def test_one_pattern_that_loses_everything_is_one_of_n_by_clopper_and_pearson():
    """1 of 20 lost everything: the lower limit lets .2487 of all patterns do so."""
    counts = np.full((1, 20), 80)
    counts[0, 3] = 0
    found = stratified_mean(counts, np.array([100]), golden=np.array([80]))
    limits = binomtest(1, 20).proportion_ci(method="exact")
    assert limits.high == pytest.approx(0.2487, abs=5e-5)
    assert found.mean == pytest.approx(0.76)
    assert found.low == pytest.approx(0.8 * (1 - limits.high))
    assert 0.8 * (1 - limits.low) < found.high < 0.8 + 0.2 * limits.high


def test_differences_between_batches_do_not_widen_the_interval():
    """Batches are strata whose accuracy without faults is known: easy and hard ones give what equal ones give."""
    rng = np.random.default_rng(3)
    noise = -rng.integers(0, 6, (6, 10))
    sizes = np.full(6, 100)
    level = stratified_mean(50 + noise, sizes, golden=np.full(6, 50))
    batches = np.array([20, 80, 35, 65, 50, 50])
    mixed = stratified_mean(batches[:, np.newaxis] + noise, sizes, golden=batches)
    assert mixed.high - mixed.low == pytest.approx(level.high - level.low)
    blind = stratified_mean(batches[:, np.newaxis] + noise, sizes)
    assert blind.high - blind.low > 1.2 * (mixed.high - mixed.low)


def test_mild_jitter_does_not_take_away_the_room_for_catastrophes():
    """Nine patterns around .95 and none that ruined everything: Student's t would end 1 point below the mean."""
    rng = np.random.default_rng(5)
    found = stratified_mean(rng.integers(940, 960, (1, 9)), np.array([1000]), golden=np.array([950]))
    assert found.low == pytest.approx(found.mean * (1 - unseen_share(9)), abs=0.01)


def test_a_known_value_has_an_interval_of_no_width():
    """For rate 0, where every repeat is the golden run."""
    assert Estimate.exact(0.9).to_dict() == {"mean": 0.9, "low": 0.9, "high": 0.9, "confidence": 0.95}


def test_the_confidence_can_be_chosen():
    """90 % limits are the straight-line ones with tails of 5 %."""
    counts, golden, sizes = [[9, 8, 7], [6, 5, 7]], [9, 7], [10, 10]
    found = stratified_mean(np.array(counts), np.array(sizes), golden=np.array(golden), confidence=0.9)
    assert (found.low, found.high) == pytest.approx(plain_interval(counts, golden, sizes, tail=0.05)[1:])
    assert found.confidence == 0.9


def test_a_confidence_outside_0_to_1_is_refused():
    """95 instead of 0.95, for instance."""
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(UsageError, match=r"such as 0\.95; got"):
            stratified_mean(np.array([[9, 8]]), np.array([10]), confidence=confidence)


def test_differences_of_two_fractions_may_be_negative():
    """No difference in 40 patterns: up to 8.81 % of patterns may still differ wholly, in either direction."""
    found = stratified_values(np.zeros((4, 10)), np.full(4, 90), known=np.zeros(4), span=(-1, 1))
    assert (found.mean, found.low, found.high) == pytest.approx((0, -0.0881, 0.0881), abs=5e-5)


class TestNewImages:
    """The question "new-images": the images are a sample, too."""

    def test_without_faults_it_is_clopper_and_pearsons_interval_of_the_images(self):
        """98 of 100 right: .9296 to .9976."""
        limits = binomtest(98, 100).proportion_ci(method="exact")
        found = for_new_images(Estimate.exact(0.98), 100)
        assert (found.mean, found.low, found.high) == pytest.approx((0.98, limits.low, limits.high))

    def test_both_errors_are_added_as_squares(self):
        """5 points from the patterns and what 200 images leave."""
        limits = binomtest(160, 200).proportion_ci(method="exact")
        found = for_new_images(Estimate(0.8, 0.75, 0.84), 200)
        assert found.low == pytest.approx(0.8 - math.hypot(0.05, 0.8 - limits.low))
        assert found.high == pytest.approx(0.8 + math.hypot(0.04, limits.high - 0.8))

    def test_one_batch_shows_nothing_of_new_images(self):
        """No interval, whatever is known of these."""
        assert independent_images(np.array([90]), np.array([100])) is None
        assert for_new_images(Estimate(0.9, 0.85, 0.95), None) == Estimate(0.9, None, None)
        assert sampling_error(0.9, None).low is None

    def test_alike_images_count_as_fewer(self):
        """Batches of .4 and .9: Pearson's statistic is 5.49; those that differ as chance does count in full."""
        assert independent_images(np.array([4, 9]), np.array([10, 10])) == pytest.approx(20 / (5 * 25 / 22.75))
        assert independent_images(np.array([9, 9, 8]), np.array([10, 10, 10])) == 30
        assert independent_images(np.array([10, 10]), np.array([10, 10])) == 20

    def test_images_of_unequal_weight_count_as_fewer(self):
        """Kish: 30 images that weigh the same stay 30; one of three batches with half of the weight leaves 80/3."""
        golden, sizes = np.array([9, 9, 9]), np.array([10, 10, 10])
        assert independent_images(golden, sizes, weights=3.5 * sizes) == pytest.approx(30)
        each = np.array([0.05] * 10 + [0.025] * 20)
        weights = np.array([0.5, 0.25, 0.25])
        expected = each.sum() ** 2 / (each**2).sum()
        assert expected == pytest.approx(80 / 3)
        assert independent_images(golden, sizes, weights=weights) == pytest.approx(expected)

    def test_it_equals_a_chi_square_over_images(self):
        """Batches of unequal size, image by image."""
        golden, sizes = np.array([50, 90, 30]), np.array([100, 128, 104])
        level = golden.sum() / sizes.sum()
        chi = sum((g - m * level) ** 2 / (m * level * (1 - level)) for g, m in zip(golden, sizes, strict=True))
        assert independent_images(golden, sizes) == pytest.approx(sizes.sum() / (chi / 2))


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


def test_few_patterns_are_warned_of_by_what_they_can_miss():
    """Where harm of a fifth of all patterns may not have been drawn, which 16 patterns leave open and 17 do not."""
    assert few_patterns(1) == "1 fault pattern: no interval, and nothing can be said about other patterns"
    assert "harm that up to 84 % of patterns do" in few_patterns(2)
    assert "harm that up to 21 % of patterns do" in few_patterns(16)
    assert few_patterns(17) is None
    assert (1 - unseen_share(16)) ** 16 == pytest.approx(0.025)
