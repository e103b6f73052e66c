"""Intervals for accuracy under faults: the unit of randomness is the fault pattern, not the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["CONFIDENCE", "Estimate", "stratified_mean"]

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

    def to_dict(self) -> dict[str, float | None]:
        """Return JSON values."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "confidence": self.confidence}


def stratified_mean(counts: NDArray[np.int64], sizes: NDArray[np.int64], *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate a fraction over a fixed test set when only the faults are random.

    Batches are strata; the repeats of one batch are independent fault patterns. With ``y_br`` the
    fraction in batch b and repeat r, and weights ``w_b = sizes_b / sum(sizes)``:
    mean = sum_b w_b mean_r(y_br), variance = sum_b w_b^2 s_b^2 / R, Student's t with B (R - 1)
    degrees of freedom, clipped to [0, 1] (stratified sampling, Cochran 1977, chapter 5).

    Args:
        counts: images counted, (batches, repeats).
        sizes: images in each batch, (batches,).
        confidence: coverage of the interval.

    >>> stratified_mean(np.array([[9, 8, 7], [6, 5, 7]]), np.array([10, 10]))
    Estimate(mean=0.7, low=0.5866521032..., high=0.8133478967..., confidence=0.95)
    """
    batches, repeats = counts.shape
    weights = sizes / sizes.sum()
    fractions = counts / sizes[:, np.newaxis]
    mean = float(counts.sum() / (repeats * sizes.sum()))
    if repeats < 2:
        return Estimate(mean, None, None, confidence)
    error = float(np.sqrt(np.sum(weights**2 * fractions.var(axis=1, ddof=1) / repeats)))
    half = float(special.stdtrit(batches * (repeats - 1), (1 + confidence) / 2)) * error
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), confidence)
