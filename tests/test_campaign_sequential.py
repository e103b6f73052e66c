"""Betting and Wald's test against the published formulas, written out for one mean at a time."""

import math

import numpy as np
import pytest

from ftonnx.campaign.sequential import BettingSequence, MeanTest, Sprt
from ftonnx.errors import UsageError

VALUES = (0.9, 0.8, 1.0, 0.7, 0.95, 0.85, 0.9, 0.6, 1.0, 0.9)


def hedged_wealth(values, m, alpha, horizon=None):
    """Largest max(K+, K-) / 2 so far against the mean m; Waudby-Smith and Ramdas, one value after the other."""
    up = down = 1.0
    best, seen, centres = 0.0, [], []
    for t, x in enumerate(values, start=1):
        variance = (0.25 + sum((y - c) ** 2 for y, c in zip(seen, centres, strict=True))) / t
        steps = horizon or t * math.log(t + 1)
        stake = math.sqrt(2 * math.log(2 / alpha) / (steps * variance))
        up *= 1 + min(stake, 0.5 / m) * (x - m)
        down *= 1 - min(stake, 0.5 / (1 - m)) * (x - m)
        best = max(best, up / 2, down / 2)
        seen.append(x)
        centres.append((0.5 + sum(seen)) / (t + 1))
    return best


def filled(values, **options):
    """Return a confidence sequence that has seen the values."""
    sequence = BettingSequence(**options)
    for value in values:
        sequence.add(value)
    return sequence


class TestBettingSequence:
    """Confidence sequences for the mean."""

    def test_the_known_answer_of_ten_values_is_reproduced(self):
        """Hedged, n known, grid 1e-4: [.4512, 1.0]; the limit is rounded outward by one cell."""
        low, high = filled(VALUES, horizon=10).interval()
        assert low == pytest.approx(0.4512, abs=1.5e-4)
        assert high == 1.0

    @pytest.mark.parametrize("horizon", [None, 10])
    def test_limits_are_where_the_formula_says(self, horizon):
        """Just outside the wealth has reached 1/alpha, just inside it has not."""
        low, high = filled((*VALUES, *VALUES), horizon=horizon).interval()
        assert hedged_wealth((*VALUES, *VALUES), low - 1e-9, 0.05, horizon) >= 20
        assert hedged_wealth((*VALUES, *VALUES), low + 2.1e-4, 0.05, horizon) < 20
        if high < 1:
            assert hedged_wealth((*VALUES, *VALUES), high + 1e-9, 0.05, horizon) >= 20

    def test_intervals_only_ever_shrink(self):
        """Each is the intersection of all before it, and holds the mean of a long run."""
        rng, sequence, before = np.random.default_rng(1), BettingSequence(grid=1000), (0.0, 1.0)
        for value in rng.beta(8, 2, 2000):
            sequence.add(value)
            now = sequence.interval()
            assert before[0] <= now[0] <= now[1] <= before[1]
            before = now
        assert before[0] < 0.8 < before[1]
        assert before[1] - before[0] < 0.05
        assert sequence.count == 2000
        assert sequence.mean == pytest.approx(0.8, abs=0.02)

    def test_before_the_first_value_everything_is_possible(self):
        """And there is no mean."""
        sequence = BettingSequence()
        assert sequence.interval() == (0.0, 1.0)
        assert sequence.mean is None

    def test_more_confidence_gives_a_wider_interval(self):
        """From the same values."""
        sequence = filled(VALUES * 5)
        assert sequence.interval(0.99)[0] < sequence.interval(0.9)[0]

    def test_an_interval_between_two_grid_points_is_kept(self):
        """Equal values of .5003 on a grid of tenths leave the cells around them."""
        low, high = filled([0.5003] * 3000, grid=10).interval()
        assert low <= 0.5003 <= high
        assert high - low <= 0.2001

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
    def test_values_outside_the_unit_interval_are_refused(self, value):
        """They would break the guarantee."""
        with pytest.raises(UsageError, match=r"value in \[0, 1\]"):
            BettingSequence().add(value)
        with pytest.raises(UsageError, match=r"value in \[0, 1\]"):
            MeanTest(0.5, "above").add(value)

    @pytest.mark.parametrize("options", [{"horizon": 0}, {"grid": 1}, {"confidence": 95}])
    def test_senseless_settings_are_refused(self, options):
        """With what was expected."""
        with pytest.raises(UsageError, match="expected"):
            BettingSequence(**options)


class TestMeanTest:
    """One-sided tests that may be looked at after every value."""

    def test_the_wealth_is_the_average_over_the_stakes(self):
        """Products written out; at stake 1 a value of 0 costs everything."""
        values, m = (1.0, 0.0, 0.9, 1.0), 0.8
        test = MeanTest(m, "above")
        expected = 0.0
        for stake, purse in zip((0.02, 0.05, 0.15, 0.4, 1.0), (0.05, 0.1, 0.15, 0.25, 0.45), strict=True):
            expected += purse * math.prod(1 + stake / m * (value - m) for value in values)
        for value in values:
            test.add(value)
        assert math.exp(test.log_wealth) == pytest.approx(expected)
        assert test.p_value == pytest.approx(1 / (1 + 0.25 * 0.5785))  # the wealth was largest after the first value

    def test_both_sides_mirror_each_other(self):
        """A mean above m is one minus a mean below 1 - m."""
        above, below = MeanTest(0.9, "above"), MeanTest(0.1, "below")
        for value in VALUES:
            above.add(value)
            below.add(1 - value)
        assert above.log_wealth == pytest.approx(below.log_wealth)

    def test_perfect_values_are_convincing_after_the_fewest_possible_patterns(self):
        """No bounded test needs fewer than ln(20) / ln(1 / .9) = 29 values of 1 for a mean above .9; this takes 36."""
        test = MeanTest(0.9, "above", 0.05)
        while not test.rejected:
            test.add(1.0)
        assert test.count == 36

    def test_a_rejection_stays(self):
        """Bad values afterwards do not take it back, as the wealth has reached 1/alpha."""
        test = MeanTest(0.5, "above")
        for value in [1.0] * 12 + [0.0] * 12:
            test.add(value)
        assert test.rejected
        assert test.log_wealth < 0
        assert test.p_value <= 0.05

    @pytest.mark.parametrize(
        ("threshold", "side"), [(0.0, "above"), (1.0, "below"), (1.5, "above"), (math.nan, "below")]
    )
    def test_a_threshold_without_a_question_is_refused(self, threshold, side):
        """Every mean lies above... or none does."""
        with pytest.raises(UsageError, match="threshold in"):
            MeanTest(threshold, side)

    def test_an_unknown_side_is_refused(self):
        """Only above and below."""
        with pytest.raises(UsageError, match="side above or below"):
            MeanTest(0.5, "left")


class TestSprt:
    """Wald's sequential probability ratio test."""

    def test_the_known_bounds_and_steps_are_reproduced(self):
        """At alpha .05, beta .1: 2.8903718 and -2.2512918; .05 against .10: +.6931472 and -.0540672."""
        test = Sprt(0.05, 0.10, alpha=0.05, beta=0.1)
        assert test.bounds == pytest.approx((-2.2512918, 2.8903718), abs=5e-8)
        test.add(failed=True)
        assert test.log_ratio == pytest.approx(0.6931472, abs=5e-8)
        test.add(failed=False)
        assert test.log_ratio == pytest.approx(0.6931472 - 0.0540672, abs=1e-7)

    @pytest.mark.parametrize(("failed", "verdict", "trials"), [(True, "p1", 5), (False, "p0", 42)])
    def test_it_decides_and_then_stays(self, failed, verdict, trials):
        """5 failures are too many, 42 passes enough."""
        test = Sprt(0.05, 0.10)
        for _ in range(trials):
            assert test.verdict is None
            test.add(failed=failed)
        decided = test.log_ratio
        test.add(failed=not failed)
        assert (test.verdict, test.log_ratio) == (verdict, decided)

    @pytest.mark.parametrize(
        "options", [{"p0": 0.2, "p1": 0.1}, {"p0": 0, "p1": 0.1}, {"p0": 0.1, "p1": 0.2, "alpha": 0}]
    )
    def test_senseless_settings_are_refused(self, options):
        """With what was expected."""
        with pytest.raises(UsageError, match="expected"):
            Sprt(**options)
