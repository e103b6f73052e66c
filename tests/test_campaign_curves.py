"""Numbers that sum up a curve, against numpy, published values and straight-line code."""

import math

import numpy as np
import pytest

from ftonnx.campaign.curves import (
    AUC_AXES,
    adjusted_log_odds,
    auc,
    auc_weights,
    bootstrap_curves,
    log_odds,
    rate_at_loss,
)
from ftonnx.campaign.statistics import clustered_mean, stratified_mean
from ftonnx.errors import UsageError

CLIPACT_RATES = (1e-7, 1e-6, 3e-6, 1e-5, 3e-5)
PAPER_RATES = (1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5)


class TestAuc:
    """The area under accuracy over rate."""

    @pytest.mark.parametrize(
        ("axis", "known"),
        [
            ("index", [0.125, 0.25, 0.25, 0.25, 0.125]),
            ("log", [0.2018, 0.2982, 0.2018, 0.2018, 0.0963]),
            ("linear", [0.0151, 0.0485, 0.1505, 0.4515, 0.3344]),
        ],
    )
    def test_the_papers_grid_has_the_known_weights(self, axis, known):
        """Five rates of ClipAct, to the four digits known."""
        assert auc_weights(CLIPACT_RATES, axis) == pytest.approx(known, abs=5.1e-5)

    def test_the_eight_rates_of_the_evaluation_have_the_known_weights(self):
        """Log .0686, six times .1438, .0686; linear up to .3334."""
        assert auc_weights(PAPER_RATES, "log") == pytest.approx([0.0686, *[0.1438] * 6, 0.0686], abs=8e-4)
        assert auc_weights(PAPER_RATES, "linear") == pytest.approx(
            [3e-4, 0.0015, 0.0045, 0.015, 0.045, 0.1501, 0.4502, 0.3334], abs=6e-5
        )

    def test_published_accuracies_give_the_known_area(self):
        """Table 3 of the paper, no SSL, FP32, ClipAct."""
        rates, accuracies = [3e-7, 3e-6, 3e-5], [41.86, 7.41, 0.09]
        assert auc(rates, accuracies) == pytest.approx(14.1925)
        assert auc(rates, accuracies, "linear") == pytest.approx(5.6486364)

    @pytest.mark.parametrize("axis", AUC_AXES)
    def test_the_weighted_sum_is_numpys_trapezoid_over_the_range(self, axis):
        """On random rates and accuracies; the weights sum to 1."""
        rng = np.random.default_rng(2)
        for count in range(2, 9):
            rates, accuracies = np.sort(10 ** rng.uniform(-8, -2, count)), rng.random(count)
            x = {"log": np.log10(rates), "linear": rates, "index": np.arange(count)}[axis]
            assert auc_weights(rates, axis).sum() == pytest.approx(1)
            assert auc(rates, accuracies, axis) == pytest.approx(np.trapezoid(accuracies, x) / (x[-1] - x[0]))

    @pytest.mark.parametrize(("rates", "axis"), [([1e-6], "log"), ([0, 1e-6], "log"), ([2, 1], "index"), ([1, 2], "x")])
    def test_rates_that_span_no_area_are_refused(self, rates, axis):
        """One rate, rate 0 on a log axis, descending rates, an unknown axis."""
        with pytest.raises(UsageError, match="axis"):
            auc_weights(rates, axis)


class TestRateAtLoss:
    """The rate at which so much accuracy is lost."""

    def test_it_is_linear_in_the_logarithm_of_the_rate(self):
        """Half-way down between 1e-6 and 1e-5 lies at 10^-5.5."""
        assert rate_at_loss([1e-6, 1e-5], [0.9, 0.5], 0.9, 0.2) == pytest.approx(10**-5.5, abs=0)

    def test_the_first_crossing_counts(self):
        """Also where a later rate happens to be better."""
        assert rate_at_loss([1e-7, 1e-6, 1e-5, 1e-4], [0.9, 0.5, 0.8, 0.1], 0.9, 0.2) == pytest.approx(10**-6.5, abs=0)

    def test_a_loss_that_is_not_reached_has_no_rate(self):
        """Within the rates tested."""
        assert rate_at_loss([1e-7, 1e-6], [0.9, 0.8], 0.9, 0.2) is None

    def test_a_loss_reached_at_the_first_rate_gives_that_rate(self):
        """Where it was reached below is not known; rate 0 is no rate on a log axis."""
        assert rate_at_loss([0, 1e-7, 1e-6], [0.9, 0.3, 0.1], 0.9, 0.2) == 1e-7

    def test_exactly_the_loss_counts_as_reached(self):
        """At that rate itself."""
        assert rate_at_loss([1e-7, 1e-6], [1.0, 0.5], 1.0, 0.5) == pytest.approx(1e-6, abs=0)


class TestLogOdds:
    """Equations (6) to (8) of the paper."""

    def test_they_are_the_logarithm_of_the_odds(self):
        """Nine to one; infinite at the ends."""
        assert log_odds(0.9) == pytest.approx(math.log(9))
        assert (log_odds(0), log_odds(1)) == (-math.inf, math.inf)

    def test_the_adjustment_is_that_of_the_equations(self):
        """Written out in loops over methods and data sets."""
        table = np.random.default_rng(3).uniform(0.2, 0.95, (4, 5))
        means, errors = adjusted_log_odds(table)
        x = [[math.log(p / (1 - p)) for p in row] for row in table]
        for m in range(4):
            adjusted = [x[m][d] - sum(x[n][d] for n in range(4)) / 4 for d in range(5)]
            mean = sum(adjusted) / 5
            error = math.sqrt(sum((value - mean) ** 2 for value in adjusted) / 4 / 5) * math.sqrt(4 / 3)
            assert (means[m], errors[m]) == pytest.approx((mean, error))

    @pytest.mark.parametrize("table", [[[0.5, 0.6]], [[0.5], [0.6]], [[0.5, 1.0], [0.2, 0.3]]])
    def test_tables_that_cannot_be_adjusted_are_refused(self, table):
        """One method, one data set, an accuracy of 1."""
        with pytest.raises(UsageError, match="expected"):
            adjusted_log_odds(np.array(table))


class TestBootstrap:
    """Intervals from resampled fault patterns."""

    RATES = (1e-6, 1e-5, 1e-4)

    def counts(self, rng, batches=6, repeats=20):
        """Correct images of three rates; 50 per batch."""
        levels = np.array([0.9, 0.7, 0.3])[:, np.newaxis, np.newaxis]
        return rng.binomial(50, rng.beta(levels * 10, (1 - levels) * 10, (3, batches, repeats)))

    @pytest.mark.parametrize(("target", "estimate"), [("test-set", stratified_mean), ("population", clustered_mean)])
    def test_one_rate_gives_nearly_the_t_interval(self, target, estimate):
        """Of a mean of 120 patterns."""
        counts, sizes = self.counts(np.random.default_rng(4)), np.full(6, 50)
        found = bootstrap_curves(counts, sizes, lambda curve: float(curve[1]), target=target, seed=1)
        table = counts[1] if target == "test-set" else counts[1].ravel()
        known = estimate(table, sizes if target == "test-set" else np.full(120, 50))
        assert found.mean == pytest.approx(known.mean)
        assert found.high - found.low == pytest.approx(known.high - known.low, rel=0.08)

    def test_intervals_of_the_area_cover_it(self):
        """About 95 % of 100 simulated campaigns."""
        rng, sizes = np.random.default_rng(5), np.full(6, 50)
        truth = auc(self.RATES, [0.9, 0.7, 0.3])
        found = [
            bootstrap_curves(self.counts(rng), sizes, lambda curve: auc(self.RATES, curve), seed=seed, samples=200)
            for seed in range(100)
        ]
        assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.88

    def test_few_repeats_are_not_too_sure(self):
        """With 3 repeats, resampling all 3 would give two thirds of the variance; drawing 2 gives all of it."""
        counts = np.random.default_rng(6).binomial(50, 0.5, (1, 200, 3))
        found = bootstrap_curves(counts, np.full(200, 50), lambda curve: float(curve[0]), seed=2, samples=4000)
        fractions = counts[0] / 50
        error = np.sqrt((fractions.var(axis=1, ddof=1) / 3).sum()) / 200
        assert (found.high - found.low) / 2 / 1.96 == pytest.approx(error, rel=0.05)

    def test_patterns_are_resampled_jointly_over_rates(self):
        """Where the second rate repeats the first, their difference never varies."""
        counts = np.random.default_rng(7).binomial(50, 0.5, (1, 4, 9))
        both = np.concatenate((counts, counts))
        found = bootstrap_curves(both, np.full(4, 50), lambda curve: float(curve[0] - curve[1]), seed=3)
        assert (found.low, found.mean, found.high) == (0, 0, 0)

    def test_the_seed_decides(self):
        """Same seed, same limits."""
        counts, sizes = self.counts(np.random.default_rng(8)), np.full(6, 50)
        first, again, other = (
            bootstrap_curves(counts, sizes, lambda curve: auc(self.RATES, curve), seed=seed) for seed in (1, 1, 2)
        )
        assert first == again
        assert first != other

    def test_a_limit_beyond_the_rates_is_open(self):
        """Where a loss is reached on average, but not in every resampled campaign."""
        counts = np.array([[[50, 50, 50, 50]], [[25, 35, 30, 35]]])
        loss = 0.36

        def statistic(curve):
            return rate_at_loss((1e-6, 1e-5), curve, 1.0, loss)

        found = bootstrap_curves(counts, np.array([50]), statistic, seed=4)
        assert found.low < found.mean <= 1e-5
        assert found.high is None
        loss = 0.6
        assert bootstrap_curves(counts, np.array([50]), statistic, seed=4) is None

    def test_one_repeat_gives_no_interval(self):
        """Nor does a target that is not known."""
        counts = np.array([[[9]], [[5]]])
        found = bootstrap_curves(counts, np.array([10]), lambda curve: auc((1e-6, 1e-5), curve), seed=5)
        assert (found.mean, found.low, found.high) == (0.7, None, None)
        with pytest.raises(UsageError, match="test-set, population"):
            bootstrap_curves(counts, np.array([10]), lambda curve: 0.0, target="images", seed=5)
