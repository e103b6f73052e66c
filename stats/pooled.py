"""Intervals for functions of sums of counts that are no means over batches, such as intersections over unions."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.stats.proportions import beta_quantile

__all__ = ["PooledFunction", "linearised"]


class PooledFunction(Protocol):
    """A smooth function of the sums of some counts over all images, with values in [0, 1]."""

    def value(self, totals: NDArray[np.float64]) -> float:
        """Return the function of the sums, (counts,)."""

    def gradient(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how much it rises with each of them, (counts,)."""


def linearised(
    counts: NDArray[np.int64],
    known: NDArray[np.int64],
    function: PooledFunction,
    *,
    worst: Sequence[NDArray[np.float64]],
    best: NDArray[np.float64],
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Estimate a function of the counts of a fixed test set when only the faults are random.

    As in `patterns.stratified_values`, batches are strata whose counts without faults are known, and all patterns are
    one sample of deviations from them. As in `proportions.bounded_mean`, each limit is a quantile of the function under
    Bayesian-bootstrap (Dirichlet) weights of the patterns and of one more that does all the harm there may be (none,
    for the upper limit), so that it leaves room for harm that was not drawn. The function is replaced by its tangent at
    the sums with that pattern (delta method), and its distribution by the Beta distribution of the same mean and
    variance.

    Args:
        counts: of every pattern, (batches, repeats, counts).
        known: of every batch without faults, (batches, counts).
        function: of the sums over all batches.
        worst: sums where every pattern does all the harm there may be; of several, the ones that cost most count.
        best: sums where all is right.
        confidence: coverage of the interval.

    Returns:
        The limits are None with one pattern in all.
    """
    tail = (1 - check_confidence(confidence)) / 2
    batches, repeats, _ = counts.shape
    level = known.sum(axis=0, dtype=np.float64)
    deviations = (counts - known[:, np.newaxis]).astype(np.float64)
    # what the sums would be if every batch had met the like of a pattern
    sums = batches * deviations + level
    samples = sums.reshape(batches * repeats, -1)
    mean = function.value(samples.mean(axis=0))
    if len(samples) < 2:
        return Estimate(mean, None, None, confidence)
    low = min(_limit(samples, each, function, tail) for each in worst)
    high = _limit(samples, best, function, 1 - tail)
    return Estimate(mean, min(mean, low), max(mean, high), confidence)


def _limit(
    samples: NDArray[np.float64], extreme: NDArray[np.float64], function: PooledFunction, quantile: float
) -> float:
    """Return a quantile of the function of the Dirichlet-weighted mean of the samples and one more.

    Args:
        samples: sums, (patterns, counts).
        extreme: those of one more pattern, (counts,).
        function: of the sums.
        quantile: between 0 and 1.
    """
    n = len(samples)
    middle = (samples.sum(axis=0) + extreme) / (n + 1)
    mean = function.value(middle)
    gradient = function.gradient(middle)
    deviations = (samples - middle) @ gradient
    last = float((extreme - middle) @ gradient)
    squares = float(np.dot(deviations, deviations)) + last**2
    variance = squares / ((n + 1) * (n + 2))
    # the function of a mean lies between those of what it is the mean of
    end = function.value(extreme)
    near = function.value(samples.mean(axis=0))
    start = max(0.0, min(end, near, mean + float(deviations.min())))
    stop = min(1.0, max(end, near, mean + float(deviations.max())))
    if not start < mean < stop:
        return mean
    length = stop - start
    place = (mean - start) / length
    # a tangent may spread further than values between 0 and 1 can
    share = min(variance / length**2, place * (1 - place) / 2)
    return start + length * beta_quantile(place, share, quantile)
