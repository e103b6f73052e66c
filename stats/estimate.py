"""The value that every statistic of a campaign is given as: a fraction with its confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ftonnx.errors import UsageError
from ftonnx.words import share_digits

__all__ = ["CONFIDENCE", "Estimate", "check_confidence", "weighted_sum"]

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A fraction with its confidence interval.

    Attributes:
        mean: in [0, 1].
        low: lower limit; None where there are too few repeats for an interval.
        high: upper limit, likewise.
        confidence: coverage the interval aims at.
    """

    mean: float
    low: float | None
    high: float | None
    confidence: float = CONFIDENCE

    @classmethod
    def exact(cls, value: float, *, confidence: float = CONFIDENCE) -> "Estimate":
        """Return a value that is known, such as the accuracy at fault rate 0.

        >>> Estimate.exact(0.98)
        Estimate(mean=0.98, low=0.98, high=0.98, confidence=0.95)
        """
        return cls(value, value, value, confidence)

    def around(self, mean: float) -> "Estimate":
        """Return the estimate with a mean that was computed more exactly, which lies between the limits.

        >>> Estimate(0.1, 0.1, 0.2).around(0.09)
        Estimate(mean=0.09, low=0.09, high=0.2, confidence=0.95)
        """
        if self.low is None or self.high is None:
            return Estimate(mean, None, None, self.confidence)
        return Estimate(mean, min(mean, self.low), max(mean, self.high), self.confidence)

    def to_dict(self) -> dict[str, float | None]:
        """Return JSON values, of which nine digits are alike on all processors."""
        return {
            "mean": share_digits(self.mean),
            "low": share_digits(self.low),
            "high": share_digits(self.high),
            "confidence": self.confidence,
        }


def check_confidence(confidence: float) -> float:
    """Return a confidence that makes sense.

    Raises:
        UsageError: it is not strictly between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence between 0 and 1 was expected, such as 0.95; got {confidence}")
    return confidence


def weighted_sum(
    weights: Sequence[float],
    estimates: Sequence[Estimate],
    *,
    span: tuple[float, float] = (0.0, 1.0),
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
    confidence = estimates[0].confidence
    mean = 0.0
    squares_below = 0.0
    squares_above = 0.0
    is_limited = True
    for weight, estimate in zip(weights, estimates, strict=True):
        mean += weight * estimate.mean
        if estimate.low is None or estimate.high is None:
            is_limited = False
            continue
        down = weight * (estimate.mean - estimate.low)
        up = weight * (estimate.high - estimate.mean)
        # What is subtracted counts with its ends swapped: its largest value makes the sum smallest.
        if weight > 0:
            squares_below += down**2
            squares_above += up**2
        else:
            squares_below += up**2
            squares_above += down**2
    if not is_limited:
        return Estimate(mean, None, None, confidence)
    low = mean - math.sqrt(squares_below)
    high = mean + math.sqrt(squares_above)
    return Estimate(
        mean=mean,
        low=max(span[0], low),
        high=min(span[1], high),
        confidence=confidence,
    )
