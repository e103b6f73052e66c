"""Comparisons of models against published numbers and scipy.stats."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ftonnx.stats.differences import DIFFERENCES, Difference, holm, sign_flip_p_value
from ftonnx.stats.patterns import stratified_values

A = np.array([0.70, 0.65, 0.72, 0.68, 0.71])
B = np.array([0.62, 0.60, 0.66, 0.63, 0.61])


class TestSignFlips:
    """Whether two models fare alike, by the signs of their differences."""

    def test_the_known_answer_of_five_pairs_is_reproduced(self):
        """Two of 32 signs are as extreme."""
        assert sign_flip_p_value(A - B) == 0.0625

    def test_all_signs_are_tried(self):
        """Against a loop over every combination."""
        differences = np.random.default_rng(2).random(9) - np.random.default_rng(3).random(9)
        sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=9)]
        expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
        assert sign_flip_p_value(differences) == pytest.approx(expected)

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
        assert sign_flip_p_value(a - b) == pytest.approx(known.pvalue, abs=0.02)
        assert sign_flip_p_value(a - b, seed=5) == sign_flip_p_value(a - b, seed=5)


class TestDifference:
    """A difference with an interval, and the p-value that fits it."""

    def of(self, values, confidence=0.95):
        """Return the difference of one batch's patterns."""
        table = values[np.newaxis]

        def interval(level):
            return stratified_values(table, np.ones(1), known=np.zeros(1), span=DIFFERENCES, confidence=level)

        return Difference.of(interval, pairs=values.size, confidence=confidence)

    def test_equal_models_differ_by_nothing_that_was_seen(self):
        """No difference in 40 patterns: up to 8.81 % of patterns may still differ wholly; p is 1."""
        found = self.of(np.zeros(40))
        assert (found.mean, found.p_value) == (0, 1)
        assert (found.low, found.high) == pytest.approx((-0.0881, 0.0881), abs=5e-5)

    def test_one_pattern_that_ruins_one_model_is_no_proof(self):
        """One in 40: the p-value fits the interval, which holds 0."""
        found = self.of(np.where(np.arange(40) == 7, 0.8, 0.0))
        assert found.low < 0 < found.mean < found.high
        assert found.p_value > 0.05

    def test_the_p_value_fits_the_interval(self):
        """At confidence 1 - p a limit lies at 0."""
        values = np.where(np.arange(60) < 12, 0.85, 0.0)
        found = self.of(values)
        assert 1e-6 < found.p_value < 0.05
        assert self.of(values, confidence=1 - found.p_value).low == pytest.approx(0, abs=1e-6)

    def test_without_an_interval_there_is_no_p_value(self):
        """One pattern."""
        found = self.of(np.array([0.1]))
        assert (found.low, found.high, found.p_value, found.p_sign_flip) == (None,) * 4
        assert found.to_dict()["pairs"] == 1


class TestMultiplicity:
    """Correcting for many comparisons."""

    def test_the_known_answers_are_reproduced(self):
        """Of .01, .04, .03, .005."""
        p = (0.01, 0.04, 0.03, 0.005)
        assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_holm_lies_between_the_p_value_and_bonferroni(self):
        """And keeps the order."""
        p = np.random.default_rng(7).random(50) ** 2
        corrected = np.array(holm(p.tolist()))
        assert (corrected >= p).all()
        assert (corrected <= np.minimum(1, 50 * p) + 1e-15).all()
        assert (np.diff(corrected[np.argsort(p)]) >= 0).all()

    def test_nothing_to_correct_is_fine(self):
        """An empty list stays one."""
        assert holm([]) == []
