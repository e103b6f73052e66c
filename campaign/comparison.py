"""Comparing two models by their fault patterns, and correcting for many comparisons."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence

__all__ = [
    "DIFFERENCES",
    "Difference",
    "Interval",
    "benjamini_hochberg",
    "holm",
    "sign_flip_p_value",
]

DIFFERENCES: Final = (-1.0, 1.0)
"""Where a difference of two fractions lies."""

_EXACT_PAIRS: Final = 16
_RANDOM_FLIPS: Final = 9_999
_CHUNK: Final = 99  # of random sign patterns held at a time
_HALVINGS: Final = 40
_LEAST_P: Final = 1e-9


Interval = Callable[[float], Estimate]
"""Returns a quantity's interval for a confidence."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of A minus B, with an interval and p-values for "no difference".

    Attributes:
        mean: in [-1, 1].
        low: lower limit; None with fewer than two patterns.
        high: upper limit, likewise.
        confidence: coverage the interval aims at.
        p_value: two-sided: the smallest alpha at which the interval leaves 0 out; None without an interval.
        p_sign_flip: two-sided, of the sign-flip test; None for unpaired patterns.
        pairs: number of patterns compared, of the smaller side where they are not paired.
    """

    mean: float
    low: float | None
    high: float | None
    confidence: float
    p_value: float | None
    p_sign_flip: float | None
    pairs: int

    @classmethod
    def of(
        cls, interval: Interval, *, pairs: int, p_sign_flip: float | None = None, confidence: float = CONFIDENCE
    ) -> "Difference":
        """Return a difference whose p-value fits its interval."""
        found = interval(check_confidence(confidence))
        p_value = None if found.low is None else _p_of(interval)
        return cls(found.mean, found.low, found.high, confidence, p_value, p_sign_flip, pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def _p_of(interval: Interval) -> float:
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


def sign_flip_p_value(parts: NDArray[np.float64], *, seed: int = 0) -> float:
    """Return a two-sided p-value of "the two models fare alike": how often random signs give as large a sum.

    Exact for up to 16 pairs, of which all 2^K signs are tried; else by 9,999 random draws.

    Args:
        parts: each pattern's difference, times its weight in the mean, (pairs,).
        seed: of the random draws.

    >>> sign_flip_p_value(np.array([.08, .05, .06, .05, .10]))
    0.0625
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
