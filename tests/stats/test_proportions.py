"""Intervals for proportions and bounded means, against published numbers and scipy.stats."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ftonnx.errors import UsageError
from ftonnx.stats.proportions import bounded_mean, clopper_pearson, normal_quantile


@pytest.mark.parametrize(
    ("x", "n", "exact"),
    [
        (81, 263, (0.2527, 0.3676)),
        (15, 148, (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1684)),
        (1, 29, (0.0009, 0.1776)),
        (5, 10, (0.1871, 0.8129)),
        (3, 1000, (0.00062, 0.00874)),
    ],
)
def test_newcombes_cases_are_reproduced(x, n, exact):
    """Newcombe (1998), method 5, to the digits printed there."""
    found = clopper_pearson(x, n)
    assert (found.low, found.high) == pytest.approx(exact, abs=6e-5 if n < 1000 else 6e-6)
    assert found.mean == x / n


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.99]))
def test_the_interval_is_scipys(case, confidence):
    """For any whole numbers."""
    x, n = case
    found = clopper_pearson(x, n, confidence)
    known = binomtest(x, n).proportion_ci(confidence, "exact")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)
    assert 0 <= found.low <= found.mean <= found.high <= 1


@pytest.mark.parametrize(("x", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(x, n):
    """With both numbers in the message."""
    with pytest.raises(UsageError, match=f"got x = {x}, n = {n}"):
        clopper_pearson(x, n)


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
