"""Intervals for functions of sums: linear ones against intervals for means, others by what they must keep to."""

import numpy as np
import pytest

from ftonnx.stats import bounded_mean, linearised


class Share:
    """One count over the sum of both, where the sum is known: a mean, for which there is another interval."""

    def value(self, totals):
        """The share of 100."""
        return float(totals[0] / 100)

    def gradient(self, totals):
        """The same everywhere."""
        return np.array([0.01, 0.0])


class Fixed:
    """A share of a sum of any size."""

    def __init__(self, whole):
        self.whole = whole

    def value(self, totals):
        """The first count's."""
        return float(totals[0] / self.whole)

    def gradient(self, totals):
        """The same everywhere."""
        return np.array([1 / self.whole, 0.0])


class Square(Share):
    """Its square, which bends."""

    def value(self, totals):
        """A share of a share."""
        return float(totals[0] / 100) ** 2

    def gradient(self, totals):
        """Steeper above."""
        return np.array([2 * totals[0] / 100**2, 0.0])


NONE, ALL = np.array([0, 100]), np.array([100, 0])


def interval(hits, function, known=90):
    """Of patterns of one batch with so many hits of 100, of which there are 90 without faults."""
    counts = np.stack([hits, 100 - hits], axis=-1)[np.newaxis]
    golden = np.array([[known, 100 - known]])
    return linearised(counts, golden, function, worst=[NONE], best=ALL)


@pytest.mark.parametrize("hits", [[90, 90], [90] * 20, [90, 88, 91, 3], [0, 100, 50], [100, 100], [0, 0, 0]])
def test_of_a_linear_function_they_are_those_of_a_mean(hits):
    """Whose room for harm that was not drawn is the same."""
    hits = np.array(hits)
    found, mean = interval(hits, Share()), bounded_mean(hits / 100)
    assert (found.mean, found.low, found.high) == pytest.approx((mean.mean, mean.low, mean.high))


def test_batches_are_moved_to_their_level_without_faults():
    """Batches that differ, and patterns that do nothing, have the interval of one even batch."""
    golden = np.array([[45, 5], [15, 35]])
    counts = np.repeat(golden[:, np.newaxis], 3, axis=1)
    found = linearised(counts, golden, Share(), worst=[NONE], best=ALL)
    even = bounded_mean(np.full(6, 0.6))
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, even.low, even.high))


@pytest.mark.parametrize("hits", [[90, 90], [90, 88, 91, 3], [0, 100, 50, 50, 50], [100] * 50, [0] * 50])
def test_limits_surround_the_value_of_the_sums_and_stay_in_range(hits):
    """Which is no mean of the patterns' own values."""
    found = interval(np.array(hits), Square())
    assert found.mean == pytest.approx(np.mean(hits) ** 2 / 100**2)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low < found.high


def test_of_several_kinds_of_harm_the_one_that_costs_most_counts():
    """Whatever their order."""
    counts = np.array([[[90, 10]] * 10])
    limits = []
    for worst in ([NONE, ALL], [ALL, NONE], [NONE]):
        limits.append(linearised(counts, counts[:, 0], Share(), worst=worst, best=ALL).low)
    assert limits[0] == limits[1] == limits[2]


def test_counts_may_be_as_large_as_weights_make_them():
    """Single faults tensor by tensor count as often as a tensor has bits, of hundreds of tensors."""
    golden = np.array([[90, 10], [90, 10]])
    counts = np.array([[[90, 10], [80, 20], [90, 10]]] * 2)
    found, large = (
        linearised(each * counts, each * golden, Fixed(200 * each), worst=[each * 2.0 * NONE], best=each * 2.0 * ALL)
        for each in (1, 9 * 10**16)
    )
    assert (large.mean, large.low, large.high) == pytest.approx((found.mean, found.low, found.high))


def test_one_pattern_has_no_interval():
    """Nothing is known of others."""
    found = interval(np.array([80]), Share())
    assert (found.mean, found.low, found.high) == (0.8, None, None)
