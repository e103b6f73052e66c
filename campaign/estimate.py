"""The value that every statistic of a campaign is given as: a fraction with its confidence interval."""

from dataclasses import dataclass

from ftonnx.errors import UsageError

__all__ = ["CONFIDENCE", "Estimate", "check_confidence"]

CONFIDENCE = 0.95


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

    def to_dict(self) -> dict[str, float | None]:
        """Return JSON values."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "confidence": self.confidence}


def check_confidence(confidence: float) -> float:
    """Return a confidence that makes sense.

    Raises:
        UsageError: it is not strictly between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence between 0 and 1 was expected, such as 0.95; got {confidence}")
    return confidence
