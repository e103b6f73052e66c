"""Intervals for a proportion and for the mean of bounded values.

Not aware of fault patterns and batches: `patterns` decides which interval a campaign needs.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence

__all__ = [
    "anytime_proportion",
    "bounded_mean",
    "clopper_pearson",
    "normal_quantile",
]

# Jeffreys' prior: little is lost at shares near 0, where most bits are.
_PRIOR: Final = 0.5
# More than a float64 has digits: a limit is then as exact as its evidence.
_HALVINGS: Final = 50


def normal_quantile(confidence: float) -> float:
    """Return the two-sided cut-off of the normal distribution.

    >>> round(normal_quantile(0.95), 6)
    1.959964
    """
    below = (1 + check_confidence(confidence)) / 2
    return float(scipy.special.ndtri(below))


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
    if not (n > 0 and 0 <= x <= n):
        raise UsageError(f"0 <= x <= n and n > 0 were expected, got x = {x}, n = {n}")
    tail = (1 - check_confidence(confidence)) / 2
    # The Beta quantiles do not exist at the ends, where nothing or everything was seen.
    low = 0.0
    if x > 0:
        low = float(scipy.special.betaincinv(x, n - x + 1, tail))
    high = 1.0
    if x < n:
        high = float(scipy.special.betaincinv(x + 1, n - x, 1 - tail))
    return Estimate(x / n, low, high, confidence)


def anytime_proportion(x: float, n: float, confidence: float = CONFIDENCE) -> Estimate:
    """Return an interval for a proportion that holds whenever sampling is ended.

    It leaves out every p against which a Beta mixture of likelihoods has gathered evidence of 1 / (1 - confidence)
    (Robbins 1970; Ville's inequality). Of all values in [0, 1] with mean p, yes and no give the largest expected
    likelihood ratio, so a sum of fractions makes it conservative.

    Args:
        x: successes; may be a sum of fractions in [0, 1].
        n: trials, above 0.
        confidence: of the interval, at all times together.

    >>> anytime_proportion(3, 1000)
    Estimate(mean=0.003, low=0.00012..., high=0.01431..., confidence=0.95)
    """
    mean = x / n
    most = -math.log1p(-check_confidence(confidence))
    # What the data are worth to a gambler who has spread the stake over all p as the prior says.
    prior = _log_beta(_PRIOR, _PRIOR)
    posterior = _log_beta(x + _PRIOR, n - x + _PRIOR)
    mixed = posterior - prior

    def evidence(p: float) -> float:
        # Neither likelihood exists at the ends; both ends are refuted by any value between them.
        if not 0 < p < 1:
            return math.inf
        successes = x * math.log(p)
        failures = (n - x) * math.log1p(-p)
        return mixed - successes - failures

    low = 0.0
    if mean != 0:
        low = _threshold(evidence, most, mean, 0.0)
    high = 1.0
    if mean != 1:
        high = _threshold(evidence, most, mean, 1.0)
    return Estimate(mean, low, high, confidence)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _threshold(evidence: Callable[[float], float], most: float, mean: float, end: float) -> float:
    """Return where the evidence reaches a limit on the way from the mean to 0 or 1, along which it grows."""
    inside = mean
    outside = end
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if evidence(middle) < most:
            inside = middle
        else:
            outside = middle
    return outside


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
    shares = weights
    if shares is None:
        shares = np.full(len(values), 1 / len(values))
    tail = (1 - check_confidence(confidence)) / 2
    mean = float(np.dot(shares, values))
    low = _limit_with_one_more(values, shares, span[0], tail)
    high = _limit_with_one_more(values, shares, span[1], 1 - tail)
    # A few values outside the span, or a mean close to its end, must not leave the mean beside its own limits.
    return Estimate(
        mean=mean,
        low=max(span[0], min(mean, low)),
        high=min(span[1], max(mean, high)),
        confidence=confidence,
    )


def _limit_with_one_more(
    values: NDArray[np.float64], shares: NDArray[np.float64], worst: float, quantile: float
) -> float:
    """Return a quantile of the Dirichlet-weighted mean of the values and ``worst``."""
    start = min(float(values.min()), worst)
    length = max(float(values.max()), worst) - start
    # Every value is the worst one: there is no spread, and the Beta distribution has no parameters.
    if length == 0:
        return worst
    # Unequal weights count as fewer equal ones, as in Kish's effective sample size.
    n = 1 / float(np.dot(shares, shares))
    # The Beta distribution lives on 0 to 1.
    places = (values - start) / length
    last = (worst - start) / length
    # Moments of a mean under Dirichlet weights of n values and one more.
    seen = float(np.dot(shares, places))
    mean = (n * seen + last) / (n + 1)
    deviations = places - mean
    spread = float(np.dot(shares, deviations**2))
    last_square = (last - mean) ** 2
    squares = n * spread + last_square
    freedom = (n + 1) * (n + 2)
    variance = squares / freedom
    return start + length * beta_quantile(mean, variance, quantile)


def beta_quantile(mean: float, variance: float, quantile: float) -> float:
    """Return a quantile of the Beta distribution with these moments: its parameters add up to m (1 - m) / v - 1."""
    total = mean * (1 - mean) / variance - 1
    successes = mean * total
    failures = (1 - mean) * total
    return float(scipy.special.betaincinv(successes, failures, quantile))
