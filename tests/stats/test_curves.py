"""Numbers that sum up a curve, against numpy, published values and straight-line code."""

import math

import numpy as np
import pytest

from ftonnx.errors import UsageError
from ftonnx.stats.curves import (
    AUC_AXES,
    GridRate,
    adjusted_log_odds,
    area_under,
    auc,
    auc_weights,
    critical_rate,
    log_odds,
    rate_at_loss,
)
from ftonnx.stats.estimate import Estimate

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
        found = rate_at_loss([1e-6, 1e-5], [0.9, 0.5], 0.9, 0.2)
        assert (found.relation, found.rate) == ("=", pytest.approx(10**-5.5, abs=0))

    def test_the_first_crossing_counts(self):
        """Also where a later rate happens to be better."""
        found = rate_at_loss([1e-7, 1e-6, 1e-5, 1e-4], [0.9, 0.5, 0.8, 0.1], 0.9, 0.2)
        assert found.rate == pytest.approx(10**-6.5, abs=0)

    def test_a_loss_that_is_not_reached_lies_beyond_the_highest_rate(self):
        """However far."""
        found = rate_at_loss([1e-7, 1e-6], [0.9, 0.8], 0.9, 0.2)
        assert (found, str(found)) == (GridRate(1e-6, ">"), "> 1e-06")

    def test_a_loss_reached_at_the_first_rate_lies_there_or_below(self):
        """Where it was reached below is not known."""
        found = rate_at_loss([1e-7, 1e-6], [0.3, 0.1], 0.9, 0.2)
        assert (found, str(found)) == (GridRate(1e-7, "<="), "≤ 1e-07")

    def test_exactly_the_loss_counts_as_reached(self):
        """At that rate itself."""
        assert rate_at_loss([1e-7, 1e-6], [1.0, 0.5], 1.0, 0.5).rate == pytest.approx(1e-6, abs=0)


class TestCriticalRate:
    """The same with limits, which are those of the curve read across."""

    RATES = (1e-7, 1e-6, 1e-5)

    def test_its_limits_are_where_those_of_the_curve_lose_the_points(self):
        """By numpy's interpolation over log10 of the rate."""
        curve = [Estimate(0.95, 0.93, 0.96), Estimate(0.85, 0.78, 0.92), Estimate(0.3, 0.2, 0.5)]
        found = critical_rate(self.RATES, curve, 0.96, 0.1)
        for limit, end in ((found.low, "low"), (found.at, "mean"), (found.high, "high")):
            falling = [getattr(each, end) for each in curve]
            known = 10 ** np.interp(-0.86, np.negative(falling), np.log10(self.RATES))
            assert limit.rate == pytest.approx(known)
        assert found.low.rate < found.at.rate < found.high.rate

    @pytest.mark.parametrize(
        ("mean", "half", "words"),
        [(0.2, 0.05, "≤ 1e-07"), (0.95, 0.03, "> 1e-05"), (0.5, 0.499, "≤ 1e-07 to > 1e-05")],
    )
    def test_at_the_ends_of_the_rates_it_never_is_an_interval_of_zero_width(self, mean, half, words):
        """Lost before the first rate, kept beyond the last, or open on both sides."""
        found = critical_rate(self.RATES, [Estimate(mean, mean - half, mean + half)] * 3, 0.96, 0.05)
        assert found.interval() == words
        assert set(found.to_dict()) == {"at", "low", "high"}

    def test_without_intervals_it_has_none(self):
        """One pattern per rate."""
        found = critical_rate(self.RATES, [Estimate(0.9, None, None)] * 3, 0.96, 0.05)
        assert (found.at.relation, found.low, found.high, found.interval()) == ("<=", None, None, None)


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


class TestAreaUnder:
    """The area with limits."""

    def test_errors_at_the_rates_are_added_as_squares_with_the_trapezoids_weights(self):
        """Written out."""
        curve = [Estimate(0.95, 0.9, 0.96), Estimate(0.8, 0.6, 0.9), Estimate(0.3, 0.2, 0.5)]
        found = area_under((1e-7, 1e-6, 1e-5), curve)
        assert found.mean == pytest.approx(0.25 * 0.95 + 0.5 * 0.8 + 0.25 * 0.3)
        assert found.low == pytest.approx(found.mean - math.hypot(0.25 * 0.05, 0.5 * 0.2, 0.25 * 0.1))
        assert found.high == pytest.approx(found.mean + math.hypot(0.25 * 0.01, 0.5 * 0.1, 0.25 * 0.2))

    def test_a_rate_without_an_interval_leaves_none(self):
        """One pattern at one of the rates."""
        found = area_under((1e-6, 1e-5), [Estimate(0.9, 0.8, 1.0), Estimate(0.5, None, None)])
        assert (found.mean, found.low, found.high) == (pytest.approx(0.7), None, None)


def test_rates_that_differ_in_their_last_bits_have_no_area_on_a_log_axis():
    """Their logarithms are equal, and nothing lies between them."""
    with pytest.raises(UsageError, match="lie apart on the log axis"):
        auc_weights([1e-8, 1.0000000000000002e-08], "log")
