"""Intervals for a proportion and for the mean of values in [0, 1], and stratified proportions.

Not aware of fault patterns, batches or stores: `statistics` decides which interval a campaign needs.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.errors import UsageError

__all__ = [
    "bounded_mean",
    "clopper_pearson",
    "neyman_allocation",
    "normal_quantile",
    "stratified_proportion",
    "upper_limit",
    "weighted_sum",
    "wilson",
]


def normal_quantile(confidence: float) -> float:
    """Return the two-sided cut-off of the normal distribution.

    >>> round(normal_quantile(0.95), 6)
    1.959964
    """
    return float(scipy.special.ndtri((1 + check_confidence(confidence)) / 2))


def wilson(x: float, n: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return Wilson's score interval (1927) for x of n: for display, its coverage is right on average.

    Args:
        x: successes; a sum of fractions in [0, 1] makes the interval conservative.
        n: trials, above 0.
        confidence: coverage of the interval.

    Raises:
        UsageError: x is not in [0, n], or n is not above 0.

    >>> wilson(81, 263)
    Estimate(mean=0.307..., low=0.2552..., high=0.3662..., confidence=0.95)
    """
    share, z2 = _share(x, n), normal_quantile(confidence) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the limits are 0 and 1; rounding must not leave them beside the mean.
    low = 0.0 if x == 0 else max(0.0, centre - half)
    high = 1.0 if x == n else min(1.0, centre + half)
    return Estimate(share, low, high, confidence)


def clopper_pearson(x: float, n: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return Clopper and Pearson's interval (1934) for x of n: for claims, it covers at least as often as it says.

    Args:
        x: successes; a sum of fractions in [0, 1] makes the interval conservative.
        n: trials, above 0.
        confidence: coverage of the interval.

    Raises:
        UsageError: x is not in [0, n], or n is not above 0.

    >>> clopper_pearson(3, 1000)
    Estimate(mean=0.003, low=0.00061..., high=0.00874..., confidence=0.95)
    """
    share, tail = _share(x, n), (1 - check_confidence(confidence)) / 2
    low = 0.0 if x == 0 else float(scipy.special.betaincinv(x, n - x + 1, tail))
    high = 1.0 if x == n else float(scipy.special.betaincinv(x + 1, n - x, 1 - tail))
    return Estimate(share, low, high, confidence)


def upper_limit(x: float, n: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper Clopper-Pearson limit; 1 - (1 - confidence)^(1/n) where nothing was seen.

    >>> round(upper_limit(0, 299), 5)
    0.00997
    """
    _share(x, n)
    return 1.0 if x == n else float(scipy.special.betaincinv(x + 1, n - x, check_confidence(confidence)))


def bounded_mean(
    values: NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    confidence: float = CONFIDENCE,
    *,
    span: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Return an interval for the mean of independent bounded values that also holds for rare large ones.

    Each limit is a quantile of the mean under Bayesian-bootstrap (Dirichlet) weights after one more
    observation of the worst kind has been added, the span's upper end for the upper limit and its lower
    end for the lower one (Gaffke 2005; Phan, Thomas and Learned-Miller, ICML 2021). The distribution of
    that mean is taken as the Beta distribution with the same first two moments on the range of the values
    and the worst one. For values of 0 and 1 only, this is exactly the Clopper-Pearson interval, and so it is
    for n equal values, of which 0.025^(1/n) is left; for many values of moderate spread, it is the normal one.
    It never has zero width inside the span. docs/statistics.md has its measured coverage.

    Args:
        values: (n,); a few may lie outside the span where only their mean is known to lie in it.
        weights: of the values, summing to 1; equal by default. n counts as 1 / sum(weights^2).
        confidence: coverage of the interval.
        span: smallest and largest possible mean.

    >>> bounded_mean(np.array([1.0, 0, 0, 0, 0]))  # as clopper_pearson(1, 5)
    Estimate(mean=0.2, low=0.00505..., high=0.7164..., confidence=0.95)
    >>> bounded_mean(np.full(5, 0.9)).low / 0.9, 0.025 ** (1 / 5)
    (0.4781..., 0.4781...)
    """
    shares = np.full(len(values), 1 / len(values)) if weights is None else weights
    tail = (1 - check_confidence(confidence)) / 2
    mean = float(np.dot(shares, values))
    low = _limit_with_one_more(values, shares, span[0], tail)
    high = _limit_with_one_more(values, shares, span[1], 1 - tail)
    return Estimate(mean, max(span[0], min(mean, low)), min(span[1], max(mean, high)), confidence)


def _limit_with_one_more(
    values: NDArray[np.float64], shares: NDArray[np.float64], worst: float, quantile: float
) -> float:
    """Return a quantile of the Dirichlet-weighted mean of the values and ``worst``."""
    start = min(float(values.min()), worst)
    length = max(float(values.max()), worst) - start
    if length == 0:  # every value is the worst one
        return worst
    n = 1 / float(np.dot(shares, shares))
    places = (values - start) / length
    last = (worst - start) / length
    mean = (n * float(np.dot(shares, places)) + last) / (n + 1)
    squares = n * float(np.dot(shares, (places - mean) ** 2)) + (last - mean) ** 2
    variance = squares / ((n + 1) * (n + 2))
    total = mean * (1 - mean) / variance - 1
    return start + length * float(scipy.special.betaincinv(mean * total, (1 - mean) * total, quantile))


def weighted_sum(
    weights: Sequence[float], estimates: Sequence[Estimate], *, span: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Return an interval for a weighted sum of quantities that were estimated independently of each other.

    The distances from each estimate to its limits are added as squares, which needs no symmetric intervals
    (method of variance estimates recovery, MOVER; Zou and Donner 2008).

    Args:
        weights: of any sign, one per estimate.
        estimates: of one confidence.
        span: smallest and largest possible sum.

    Returns:
        The limits are None where one of the estimates has none.

    >>> weighted_sum([1, -1], [Estimate(0.75, 0.5, 1.0), Estimate(0.5, 0.5, 0.5)], span=(-1, 1))
    Estimate(mean=0.25, low=0.0, high=0.5, confidence=0.95)
    """
    mean = 0.0
    below = 0.0
    above = 0.0
    for weight, estimate in zip(weights, estimates, strict=True):
        mean += weight * estimate.mean
        if estimate.low is None or estimate.high is None:
            below = above = math.nan
            continue
        down = weight * (estimate.mean - estimate.low)
        up = weight * (estimate.high - estimate.mean)
        below += down**2 if weight > 0 else up**2
        above += up**2 if weight > 0 else down**2
    confidence = estimates[0].confidence
    if math.isnan(below):
        return Estimate(mean, None, None, confidence)
    return Estimate(mean, max(span[0], mean - math.sqrt(below)), min(span[1], mean + math.sqrt(above)), confidence)


def stratified_proportion(
    successes: Sequence[float], n: Sequence[float], weights: Sequence[float], confidence: float = CONFIDENCE
) -> Estimate:
    """Return a proportion from single faults drawn per stratum, such as per layer and bit.

    P = sum_h W_h p_h with variance sum_h W_h^2 p_h (1 - p_h) / n_h (Cochran 1977, chapter 5). The
    limits are Clopper and Pearson's for P at the effective sample size P (1 - P) / variance (Korn
    and Graubard 1998). Each p_h (1 - p_h) is taken with half a success and half a failure added, so
    that a stratum without successes does not count as known.

    Args:
        successes: in each stratum, (strata,).
        n: trials in each stratum, (strata,), above 0.
        weights: each stratum's share of the population, any positive scale.
        confidence: coverage of the interval.

    Raises:
        UsageError: the lengths differ, or a number is out of range.

    >>> stratified_proportion([1, 30], [1000, 100], [31, 1])
    Estimate(mean=0.0103..., low=0.00709..., high=0.01455..., confidence=0.95)
    """
    x, trials, shares = (np.asarray(values, np.float64) for values in (successes, n, weights))
    if not x.shape == trials.shape == shares.shape or x.ndim != 1 or not x.size:
        raise UsageError(
            f"as many trials and weights as successes were expected; got {x.size}, {trials.size}, {shares.size}"
        )
    if (trials <= 0).any() or (x < 0).any() or (x > trials).any() or (shares < 0).any() or not shares.sum() > 0:
        raise UsageError("successes from 0 to n, n above 0 and weights of 0 or more were expected in every stratum")
    shares = shares / shares.sum()
    mean = float(np.dot(shares, x / trials))
    cautious = (x + 0.5) / (trials + 1)
    variance = float(np.sum(shares**2 * cautious * (1 - cautious) / trials))
    middle = float(np.dot(shares, cautious))
    effective = middle * (1 - middle) / variance
    limits = clopper_pearson(mean * effective, effective, confidence)
    return Estimate(mean, limits.low, limits.high, confidence)


def neyman_allocation(total: float, weights: Sequence[float], p: Sequence[float]) -> NDArray[np.float64]:
    """Share out trials over strata so that the variance is least: n_h proportional to W_h sqrt(p_h (1 - p_h)).

    Args:
        total: trials in all.
        weights: each stratum's share of the population.
        p: expected proportion in each stratum, in [0, 1].

    Raises:
        UsageError: every expected proportion is 0 or 1.

    >>> neyman_allocation(16000, [31, 1], [0.0005, 0.3]).round(2).tolist()
    [9631.25, 6368.75]
    """
    chances = np.asarray(p, np.float64)
    pull = np.asarray(weights, np.float64) * np.sqrt(chances * (1 - chances))
    if not pull.sum() > 0:
        raise UsageError("an expected proportion strictly between 0 and 1 was expected in at least one stratum")
    found: NDArray[np.float64] = total * pull / pull.sum()
    return found


def _share(x: float, n: float) -> float:
    if not (n > 0 and 0 <= x <= n):
        raise UsageError(f"0 <= x <= n and n > 0 were expected, got x = {x}, n = {n}")
    return x / n
