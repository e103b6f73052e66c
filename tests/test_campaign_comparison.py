"""Comparisons of models against published numbers and scipy.stats."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ftonnx.campaign.comparison import benjamini_hochberg, holm, paired_difference, unpaired_difference
from ftonnx.errors import UsageError

A = np.array([0.70, 0.65, 0.72, 0.68, 0.71])
B = np.array([0.62, 0.60, 0.66, 0.63, 0.61])


class TestPaired:
    """Common fault patterns."""

    def test_the_known_answer_of_five_pairs_is_reproduced(self):
        """.068, standard error .0096954, interval (.0410814, .0949186), p .0021762, exact sign flips .0625."""
        found = paired_difference(A, B)
        assert (found.mean, found.error, found.low, found.high, found.p_value) == pytest.approx(
            (0.068, 0.0096954, 0.0410814, 0.0949186, 0.0021762), abs=6e-8
        )
        assert (found.p_sign_flip, found.pairs) == (0.0625, 5)

    def test_t_is_scipys(self):
        """On 40 random pairs."""
        rng = np.random.default_rng(1)
        a = rng.normal(0.7, 0.05, 40).clip(0, 1)
        b = (a - 0.01 + rng.normal(0, 0.03, 40)).clip(0, 1)
        found, known = paired_difference(a, b), stats.ttest_rel(a, b)
        limits = known.confidence_interval()
        assert (found.p_value, found.low, found.high) == pytest.approx((known.pvalue, limits.low, limits.high))

    def test_all_signs_are_tried(self):
        """Against a loop over every combination."""
        rng = np.random.default_rng(2)
        a, b = rng.random(9), rng.random(9)
        differences = a - b
        sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=9)]
        expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
        assert paired_difference(a, b).p_sign_flip == pytest.approx(expected)

    def test_random_signs_come_close_to_all_of_them(self):
        """17 pairs are too many to try all; here they are, by scipy's permutation test."""
        rng = np.random.default_rng(3)
        a = rng.random(17)
        b = (a + rng.normal(0.02, 0.05, 17)).clip(0, 1)

        def mean_difference(x, y, axis):
            return np.mean(x - y, axis=axis)

        known = stats.permutation_test(
            (a, b), mean_difference, permutation_type="samples", n_resamples=np.inf, vectorized=True, batch=5000
        )
        assert paired_difference(a, b).p_sign_flip == pytest.approx(known.pvalue, abs=0.02)
        assert paired_difference(a, b, seed=5) == paired_difference(a, b, seed=5)

    def test_batches_are_strata(self):
        """Weighted means and variances, written out; batches that differ alike in both models do not matter."""
        rng = np.random.default_rng(4)
        sizes = np.array([100, 100, 30])
        d = rng.normal(0.02, 0.01, (3, 6))
        b = np.array([[0.2], [0.5], [0.8]]) + rng.normal(0, 0.02, (3, 6))
        found, weights = paired_difference(b + d, b, sizes=sizes), sizes / 230
        error = np.sqrt(sum(w**2 * row.var(ddof=1) / 6 for w, row in zip(weights, d, strict=True)))
        half = stats.t.ppf(0.975, 15) * error
        mean = weights @ d.mean(axis=1)
        assert (found.mean, found.error) == pytest.approx((mean, error))
        assert (found.low, found.high) == pytest.approx((mean - half, mean + half))

    def test_equal_models_differ_by_nothing_that_was_seen(self):
        """No difference in 40 patterns: up to 8.81 % of patterns may still differ wholly; p is 1."""
        found = paired_difference(np.full(40, 0.9), np.full(40, 0.9))
        assert (found.mean, found.p_value, found.p_sign_flip) == (0, 1, 1)
        assert (found.low, found.high) == pytest.approx((-0.0881, 0.0881), abs=5e-5)

    def test_one_pattern_that_ruins_one_model_is_no_proof(self):
        """One in 40: the p-value fits the interval, which holds 0."""
        a, b = np.full(40, 0.9), np.full(40, 0.9)
        b[7] = 0.1
        found = paired_difference(a, b)
        assert found.low < 0 < found.mean < found.high
        assert found.p_value > 0.05

    def test_the_p_value_fits_the_interval_where_harm_is_rare(self):
        """At confidence 1 - p a limit lies at 0."""
        a, b = np.full(60, 0.9), np.full(60, 0.9)
        b[:12] = 0.05
        found = paired_difference(a, b)
        assert 1e-6 < found.p_value < 0.05
        assert paired_difference(a, b, confidence=1 - found.p_value).low == pytest.approx(0, abs=1e-6)

    def test_one_pair_has_no_interval(self):
        """And no p-values."""
        found = paired_difference(np.array([0.5]), np.array([0.4]))
        assert found.mean == pytest.approx(0.1)
        assert (found.low, found.high, found.p_value, found.p_sign_flip) == (None,) * 4
        assert found.to_dict()["pairs"] == 1

    def test_unequal_shapes_are_refused(self):
        """With both shapes."""
        with pytest.raises(UsageError, match=r"\(5,\) and \(4,\)"):
            paired_difference(A, B[:4])


class TestUnpaired:
    """Different fault patterns."""

    def test_the_known_standard_error_is_reproduced(self):
        """.0161245, against .0096954 for pairs."""
        assert unpaired_difference(A, B).error == pytest.approx(0.0161245, abs=5e-8)

    def test_it_is_welchs_interval(self):
        """By scipy, with sides of different size and spread."""
        rng = np.random.default_rng(6)
        a, b = rng.normal(0.7, 0.05, 30), rng.normal(0.68, 0.02, 50)
        found, known = unpaired_difference(a, b), stats.ttest_ind(a, b, equal_var=False)
        limits = known.confidence_interval()
        assert (found.p_value, found.low, found.high) == pytest.approx((known.pvalue, limits.low, limits.high))

    def test_rare_harm_widens_it(self):
        """Patterns that were not seen on either side: limits of both, combined."""
        found = unpaired_difference(np.full(30, 0.9), np.full(30, 0.9))
        assert found.p_value == 1
        assert found.low < -0.05
        assert found.high > 0.05

    def test_one_value_on_a_side_has_no_interval(self):
        """And empty or two-dimensional sides are refused."""
        assert unpaired_difference(A, B[:1]).low is None
        for bad in (A[:0], A.reshape(1, 5)):
            with pytest.raises(UsageError, match="two rows"):
                unpaired_difference(A, bad)


class TestMultiplicity:
    """Correcting for many comparisons."""

    def test_the_known_answers_are_reproduced(self):
        """Of .01, .04, .03, .005."""
        p = (0.01, 0.04, 0.03, 0.005)
        assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])

    def test_benjamini_hochberg_is_scipys(self):
        """And Holm never exceeds Bonferroni, nor falls below the p-value."""
        p = np.random.default_rng(7).random(50) ** 2
        assert benjamini_hochberg(p.tolist()) == pytest.approx(stats.false_discovery_control(p))
        corrected = np.array(holm(p.tolist()))
        assert (corrected >= p).all()
        assert (corrected <= np.minimum(1, 50 * p) + 1e-15).all()
        assert (np.diff(corrected[np.argsort(p)]) >= 0).all()

    def test_nothing_to_correct_is_fine(self):
        """An empty list stays one."""
        assert holm([]) == benjamini_hochberg([]) == []
