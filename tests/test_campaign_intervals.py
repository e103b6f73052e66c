"""Intervals for proportions and bounded means, against published numbers and scipy.stats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ftonnx.campaign.intervals import (
    bounded_mean,
    clopper_pearson,
    neyman_allocation,
    normal_quantile,
    stratified_proportion,
    upper_limit,
    wilson,
)
from ftonnx.errors import UsageError


@pytest.mark.parametrize(
    ("x", "n", "score", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
        (5, 10, (0.2366, 0.7634), (0.1871, 0.8129)),
        (3, 1000, (0.00102, 0.00878), (0.00062, 0.00874)),
    ],
)
def test_newcombes_cases_are_reproduced(x, n, score, exact):
    """Newcombe (1998), methods 3 and 5, to the digits printed there."""
    for found, known in ((wilson(x, n), score), (clopper_pearson(x, n), exact)):
        assert (found.low, found.high) == pytest.approx(known, abs=6e-5 if n < 1000 else 6e-6)
        assert found.mean == x / n


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.99]))
def test_both_intervals_are_scipys(case, confidence):
    """For any whole numbers."""
    x, n = case
    for found, method in ((wilson(x, n, confidence), "wilson"), (clopper_pearson(x, n, confidence), "exact")):
        known = binomtest(x, n).proportion_ci(confidence, method)
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)
        assert 0 <= found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize(("n", "limit"), [(59, 0.0495), (299, 0.00997), (2995, 0.00099974)])
def test_nothing_seen_gives_the_known_upper_limits(n, limit):
    """1 - alpha^(1/n)."""
    assert upper_limit(0, n) == pytest.approx(limit, rel=1e-3)
    assert upper_limit(0, n) == pytest.approx(1 - 0.05 ** (1 / n))
    assert upper_limit(n, n) == 1.0


@pytest.mark.parametrize("interval", [wilson, clopper_pearson, upper_limit])
@pytest.mark.parametrize(("x", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(interval, x, n):
    """With both numbers in the message."""
    with pytest.raises(UsageError, match=f"got x = {x}, n = {n}"):
        interval(x, n)


@pytest.mark.parametrize(
    ("confidence", "known"), [(0.9, 1.6448536), (0.95, 1.9599640), (0.99, 2.5758293), (0.999, 3.2905267)]
)
def test_normal_cut_offs_are_the_tables(confidence, known):
    """Two-sided."""
    assert normal_quantile(confidence) == pytest.approx(known, abs=5e-8)


class TestBoundedMean:
    """An interval that also holds for rare large values."""

    @given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_zeros_and_ones_give_clopper_and_pearson(self, case):
        """Exactly, by scipy's."""
        x, n = case
        found, known = bounded_mean(np.arange(n) < x * np.ones(n)), binomtest(x, n).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)

    def test_it_is_close_to_the_bayesian_bootstrap_it_stands_for(self):
        """Quantiles of 200,000 Dirichlet-weighted means with one worst value added, on skewed values."""
        rng = np.random.default_rng(6)
        values = rng.beta(0.3, 2.0, 25)
        weights = rng.dirichlet(np.ones(26), 200_000)
        found = bounded_mean(values)
        assert found.low == pytest.approx(np.quantile(weights @ np.append(values, 0), 0.025), rel=0.03)
        assert found.high == pytest.approx(np.quantile(weights @ np.append(values, 1), 0.975), rel=0.03)

    def test_many_values_give_the_normal_interval(self):
        """100,000 uniform values: half width 1.96 / sqrt(12 n)."""
        found = bounded_mean(np.random.default_rng(7).random(100_000))
        assert (found.high - found.low) / 2 == pytest.approx(1.959964 / np.sqrt(1.2e6), rel=0.01)

    def test_equal_weights_are_the_default(self):
        """And unequal ones count as fewer values: the interval widens."""
        values = np.array([0.2, 0.9, 0.4, 0.7, 0.5])
        assert bounded_mean(values, np.full(5, 0.2)) == bounded_mean(values)
        uneven = bounded_mean(np.full(5, 0.5), np.array([0.96, 0.01, 0.01, 0.01, 0.01]))
        even = bounded_mean(np.full(5, 0.5))
        assert uneven.high - uneven.low > even.high - even.low > 0


class TestStratified:
    """Single faults drawn per layer and bit."""

    def test_the_known_answer_of_31_quiet_bits_and_one_loud_one_is_reproduced(self):
        """P = .009859375; standard error .00066364 proportional, .00028442 by Neyman's allocation."""
        for n, error in (((15_500, 500), 0.00066364), ((9631.25, 6368.75), 0.00028442)):
            found = stratified_proportion([n[0] * 0.0005, n[1] * 0.3], n, [31, 1])
            assert found.mean == pytest.approx(0.009859375, rel=1e-12)
            assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(error, rel=0.06)

    def test_neymans_allocation_is_reproduced(self):
        """9631.25 and 6368.75 of 16,000; variance 7.54 times smaller than without strata."""
        found = neyman_allocation(16_000, [31, 1], [0.0005, 0.3])
        assert found == pytest.approx([9631.25, 6368.75], abs=0.005)

    def test_it_covers_the_truth_where_strata_show_no_success(self):
        """Ten strata of 60 trials, truth .004 to .2: the plain estimate often sees nothing in most of them."""
        rng = np.random.default_rng(8)
        shares, chances, trials = np.full(10, 0.1), np.geomspace(0.004, 0.2, 10), np.full(10, 60)
        truth = float(shares @ chances)
        found = [stratified_proportion(rng.binomial(60, chances), trials, shares) for _ in range(1000)]
        assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.94

    def test_one_stratum_without_success_has_an_interval(self):
        """Of positive width."""
        found = stratified_proportion([0], [100], [1])
        assert found.low == 0 < found.high < 0.06

    @pytest.mark.parametrize(
        ("x", "n", "weights"),
        [([1], [2, 3], [1]), ([3], [2], [1]), ([0], [0], [1]), ([1], [2], [-1]), ([1], [2], [0]), ([], [], [])],
    )
    def test_impossible_strata_are_refused(self, x, n, weights):
        """Lengths that differ, more successes than trials, no trials, no weight, nothing at all."""
        with pytest.raises(UsageError, match="expected"):
            stratified_proportion(x, n, weights)

    def test_an_allocation_needs_a_stratum_that_varies(self):
        """Chances of 0 and 1 leave nothing to measure."""
        with pytest.raises(UsageError, match="strictly between 0 and 1"):
            neyman_allocation(100, [1, 1], [0, 1])
