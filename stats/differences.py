"""Comparing two models by their fault patterns, and correcting for many comparisons."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.words import nine_digits, share_digits

__all__ = [
    "DIFFERENCES",
    "Difference",
    "Interval",
    "holm",
    "sign_flip_p_value",
]

DIFFERENCES: Final = (-1.0, 1.0)
"""Where a difference of two fractions lies."""

# 65,536 sums take milliseconds; each pair more doubles them.
_EXACT_PAIRS: Final = 16
# With the observed signs as one more, p-values are multiples of 1 / 10,000.
_RANDOM_FLIPS: Final = 9_999
# Sign patterns held at a time; divides their number.
_CHUNK: Final = 99
_HALVINGS: Final = 40
# Smaller p-values are given as this one; nobody decides differently because of them.
_LEAST_P: Final = 1e-9
# Sums that differ by so little, relative to themselves, are equal.
_ROUNDING: Final = 1e-12


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
        cls,
        interval: Interval,
        *,
        pairs: int,
        p_sign_flip: float | None = None,
        confidence: float = CONFIDENCE,
    ) -> "Difference":
        """Return a difference whose p-value fits its interval."""
        found = interval(check_confidence(confidence))
        p_value = None
        if found.low is not None:
            p_value = 1.0 if found.mean == 0 else _p_of(interval)
        return cls(
            mean=found.mean,
            low=found.low,
            high=found.high,
            confidence=confidence,
            p_value=p_value,
            p_sign_flip=p_sign_flip,
            pairs=pairs,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, of which nine digits are alike on all processors."""
        found = asdict(self)
        found |= {name: share_digits(found[name]) for name in ("mean", "low", "high")}
        return found | {name: nine_digits(found[name]) for name in ("p_value", "p_sign_flip")}


def _p_of(interval: Interval) -> float:
    """Return the p-value that fits an interval: the largest alpha at which it still holds 0."""

    def holds_zero(alpha: float) -> bool:
        found = interval(1 - alpha)
        if found.low is None or found.high is None:
            return False
        return found.low <= 0 <= found.high

    # On a log scale, so that small p-values have as many digits as large ones.
    low = math.log(_LEAST_P)
    high = math.log(1.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if holds_zero(math.exp(middle)):
            low = middle
        else:
            high = middle
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
    observed = abs(float(parts.sum())) * (1 - _ROUNDING)
    if parts.size <= _EXACT_PAIRS:
        # The binary digits of 0 to 2^K - 1 are all the ways to flip K signs.
        numbers = np.arange(2**parts.size)
        bits = numbers[:, np.newaxis] >> np.arange(parts.size) & 1
        as_large = _as_large(1 - 2 * bits, parts, observed)
        return float(np.mean(as_large))
    rng = np.random.Generator(np.random.Philox(seed))
    hits = 0
    for _ in range(_RANDOM_FLIPS // _CHUNK):
        bits = rng.integers(0, 2, (_CHUNK, parts.size))
        as_large = _as_large(1.0 - 2 * bits, parts, observed)
        hits += int(np.sum(as_large))
    # The observed signs count as one of the draws, so that no p-value is 0.
    return (hits + 1) / (_RANDOM_FLIPS + 1)


def _as_large(signs: NDArray[Any], parts: NDArray[np.float64], observed: float) -> NDArray[np.bool_]:
    """Say of each row of signs, (rows, pairs), whether it gives a sum that is as large as the observed one."""
    sums = np.abs(signs @ parts)
    found: NDArray[np.bool_] = sums >= observed
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979); below alpha with family-wise error alpha.

    >>> [round(p, 4) for p in holm([.01, .04, .03, .005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    order = np.argsort(p_values, kind="stable")
    found = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        left = len(p_values) - rank
        corrected = min(1.0, left * p_values[index])
        # Never below that of a smaller p-value: who fails first takes all later ones along.
        largest = max(largest, corrected)
        found[index] = largest
    return found
