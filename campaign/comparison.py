"""Comparing two models by their fault patterns, and correcting for many comparisons."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.campaign.intervals import bounded_limits
from ftonnx.campaign.statistics import spread_is_shared, stratified_deviation, t_half_width
from ftonnx.errors import UsageError

__all__ = ["Difference", "benjamini_hochberg", "holm", "paired_difference", "unpaired_difference"]

_EXACT_PAIRS: Final = 16
_RANDOM_FLIPS: Final = 9_999
_CHUNK: Final = 99  # of random sign patterns held at a time
_HALVINGS: Final = 40
_LEAST_P: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of A minus B, with an interval and p-values for "no difference".

    Attributes:
        mean: in [-1, 1].
        low: lower limit; None with fewer than two patterns.
        high: upper limit, likewise.
        confidence: coverage the interval aims at.
        p_value: two-sided, the one that fits the interval; None with fewer than two patterns.
        p_sign_flip: two-sided, of the sign-flip test; None for unpaired patterns.
        error: standard error.
        pairs: number of patterns compared, of the smaller side where they are not paired.
    """

    mean: float
    low: float | None
    high: float | None
    confidence: float
    p_value: float | None
    p_sign_flip: float | None
    error: float | None
    pairs: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def paired_difference(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    *,
    sizes: NDArray[np.int64] | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Difference:
    """Compare two models that met the same fault patterns on the same images.

    One-dimensional values are one sample of patterns: d = a - b, Student's t with K - 1 degrees of
    freedom. Two-dimensional ones are batches (strata) by repeats: mean = sum_b w_b mean_r(d_br),
    variance = sum_b w_b^2 s_b^2 / R with B (R - 1) degrees of freedom. Where few patterns make the whole
    difference, or none differs, the interval is that of `statistics.stratified_deviation`.

    Args:
        a: fractions per fault pattern, (patterns,) or (batches, repeats).
        b: the same patterns on the other model.
        sizes: images in each batch, (batches,); equal by default.
        confidence: coverage of the interval.
        seed: of the sign-flip test where there are too many pairs to try all signs.

    Raises:
        UsageError: the shapes differ, or nothing is given.

    >>> found = paired_difference(np.array([.70, .65, .72, .68, .71]), np.array([.62, .60, .66, .63, .61]))
    >>> round(found.mean, 4), round(found.low, 7), round(found.high, 7), round(found.p_value, 7), found.p_sign_flip
    (0.068, 0.0410814, 0.0949186, 0.0021762, 0.0625)
    """
    if a.shape != b.shape or a.ndim not in (1, 2) or not a.size:
        raise UsageError(f"paired values of one shape were expected, got {a.shape} and {b.shape}")
    check_confidence(confidence)
    table = np.atleast_2d(np.asarray(a, np.float64) - b)
    batches, repeats = table.shape
    images = np.ones(batches, np.int64) if sizes is None else sizes
    weights = (images / images.sum())[:, np.newaxis]
    mean = float(np.sum(weights * table) / repeats)
    if repeats < 2:
        return Difference(mean, None, None, confidence, None, None, None, table.size)
    room = (np.ones(batches), np.ones(batches))

    def interval(level: float) -> Estimate:
        return stratified_deviation(mean, table, images, room=room, limits=(-1.0, 1.0), confidence=level)

    error = float(np.sqrt(np.sum(weights[:, 0] ** 2 * table.var(axis=1, ddof=1) / repeats)))
    freedom = batches * (repeats - 1)
    shared = spread_is_shared(weights * table, freedom)
    found, p_value = interval(confidence), _p_of_t(mean, error, freedom) if shared else _p_of(interval)
    flipped = _sign_flip((weights * table).ravel(), seed)
    return Difference(mean, found.low, found.high, confidence, p_value, flipped, error, table.size)


def unpaired_difference(
    a: NDArray[np.float64], b: NDArray[np.float64], *, confidence: float = CONFIDENCE
) -> Difference:
    """Compare two models that met different fault patterns.

    Welch's t interval (1947). Where few patterns make the whole spread of a side, or there is none, the
    limits of both sides' `intervals.bounded_mean` are combined instead (Zou and Donner 2008).

    Args:
        a: fractions per fault pattern, (patterns of a,).
        b: the same for the other model, (patterns of b,).
        confidence: coverage of the interval.

    Raises:
        UsageError: the values are not two rows.

    >>> found = unpaired_difference(np.array([.70, .65, .72, .68, .71]), np.array([.62, .60, .66, .63, .61]))
    >>> round(found.mean, 4), round(found.error, 7)
    (0.068, 0.0161245)
    """
    if not (a.ndim == b.ndim == 1 and a.size and b.size):
        raise UsageError(f"two rows of values were expected, got shapes {a.shape} and {b.shape}")
    check_confidence(confidence)
    mean, pairs = float(a.mean() - b.mean()), min(a.size, b.size)
    if pairs < 2:
        return Difference(mean, None, None, confidence, None, None, None, pairs)
    parts = np.array([a.var(ddof=1) / a.size, b.var(ddof=1) / b.size])
    error = float(np.sqrt(parts.sum()))
    if all(spread_is_shared(side - np.median(side), side.size - 1) for side in (a, b)):
        freedom = float(parts.sum() ** 2 / np.sum(parts**2 / (np.array([a.size, b.size]) - 1)))
        half, p_value = t_half_width(error, freedom, confidence), _p_of_t(mean, error, freedom)
        found = Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half), confidence)
    else:
        found = _combined(a, b, confidence)
        p_value = _p_of(lambda level: _combined(a, b, level))
    return Difference(mean, found.low, found.high, confidence, p_value, None, error, pairs)


def _combined(a: NDArray[np.float64], b: NDArray[np.float64], confidence: float) -> Estimate:
    """Combine the limits of two independent means into limits of their difference."""
    (low_a, high_a), (low_b, high_b) = (
        bounded_limits(side, np.full(side.size, 1 / side.size), confidence) for side in (a, b)
    )
    mean_a, mean_b = float(a.mean()), float(b.mean())
    down = math.hypot(mean_a - low_a, high_b - mean_b)
    up = math.hypot(high_a - mean_a, mean_b - low_b)
    return Estimate(mean_a - mean_b, mean_a - mean_b - down, mean_a - mean_b + up, confidence)


def _p_of_t(mean: float, error: float, freedom: float) -> float:
    return float(2 * scipy.special.stdtr(freedom, -abs(mean) / error))


def _p_of(interval: Callable[[float], Estimate]) -> float:
    """Return the p-value that fits an interval: the largest alpha at which it still holds 0."""

    def holds_zero(alpha: float) -> bool:
        found = interval(1 - alpha)
        return found.low is not None and found.high is not None and found.low <= 0 <= found.high

    low, high = math.log(_LEAST_P), 0.0
    if interval(CONFIDENCE).mean == 0:
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds_zero(math.exp(middle)) else (low, middle)
    return math.exp(high)


def _sign_flip(parts: NDArray[np.float64], seed: int) -> float:
    """Return how often flipping signs at random gives a sum as far from 0 as the observed one.

    Exact for up to 16 pairs, which all 2^K signs are tried for; else by 9,999 random draws.
    """
    observed = abs(float(parts.sum())) * (1 - 1e-12)  # sums that differ by rounding only are equal
    if parts.size <= _EXACT_PAIRS:
        signs = 1 - 2 * (np.arange(2**parts.size)[:, np.newaxis] >> np.arange(parts.size) & 1)
        return float(np.mean(np.abs(signs @ parts) >= observed))
    rng = np.random.Generator(np.random.Philox(seed))
    hits = sum(
        int(np.sum(np.abs((1.0 - 2 * rng.integers(0, 2, (_CHUNK, parts.size))) @ parts) >= observed))
        for _ in range(_RANDOM_FLIPS // _CHUNK)
    )
    return (hits + 1) / (_RANDOM_FLIPS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979); below alpha with family-wise error alpha.

    >>> [round(p, 4) for p in holm([.01, .04, .03, .005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    order, found, largest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        found[index] = largest
    return found


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected to control the false discovery rate (Benjamini and Hochberg 1995).

    >>> [round(p, 4) for p in benjamini_hochberg([.01, .04, .03, .005])]
    [0.02, 0.04, 0.04, 0.02]
    """
    order, found, smallest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 1.0
    for rank in range(len(p_values), 0, -1):
        index = order[rank - 1]
        smallest = min(smallest, p_values[index] * len(p_values) / rank)
        found[index] = smallest
    return found
