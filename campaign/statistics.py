"""Intervals for accuracy under faults: the unit of randomness is the fault pattern, not the image."""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.campaign.intervals import bounded_limits

__all__ = [
    "CONFIDENCE",
    "FEW_CLUSTERS",
    "Correlation",
    "Estimate",
    "clustered_mean",
    "few_clusters",
    "intra_pattern_correlation",
    "spread_is_shared",
    "stratified_deviation",
    "stratified_mean",
    "t_half_width",
]

FEW_CLUSTERS = 20
"""Fewer fault patterns than this give rough intervals: one new pattern may move them by much."""

_SHARED_SPREAD = 0.6
"""Student's t is used where the effective number of patterns that cause the spread is this share of the
degrees of freedom or more; for normal values it is 2/pi = 0.64 or more."""


def stratified_mean(counts: NDArray[np.int64], sizes: NDArray[np.int64], *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate a fraction over a fixed test set when only the faults are random (target ``test-set``).

    Batches are strata; the repeats of one batch are independent fault patterns. With ``y_br`` the
    fraction in batch b and repeat r, and weights ``w_b = sizes_b / sum(sizes)``:
    mean = sum_b w_b mean_r(y_br), variance = sum_b w_b^2 s_b^2 / R, Student's t with B (R - 1)
    degrees of freedom, clipped to [0, 1] (stratified sampling, Cochran 1977, chapter 5). Where a few
    patterns cause the whole spread, or there is none, `stratified_deviation` says what is done.

    Args:
        counts: images counted, (batches, repeats).
        sizes: images in each batch, (batches,).
        confidence: coverage of the interval.

    >>> stratified_mean(np.array([[9, 8, 7], [6, 5, 7]]), np.array([10, 10]))
    Estimate(mean=0.7, low=0.5866521032..., high=0.8133478967..., confidence=0.95)
    """
    fractions = counts / sizes[:, np.newaxis]
    mean = float(counts.sum() / (counts.shape[1] * sizes.sum()))
    quiet = np.median(fractions, axis=1)
    return stratified_deviation(
        mean, fractions - quiet[:, np.newaxis], sizes, room=(quiet, 1 - quiet), limits=(0.0, 1.0), confidence=confidence
    )


def stratified_deviation(
    mean: float,
    deviations: NDArray[np.float64],
    sizes: NDArray[np.int64],
    *,
    room: tuple[NDArray[np.float64], NDArray[np.float64]],
    limits: tuple[float, float],
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return ``mean`` with an interval from the patterns' deviations from each batch's quiet level.

    Student's t (see `stratified_mean`) where the spread is shared by the patterns: with
    a_br = w_b |deviation|, the effective number (sum a)^2 / sum a^2 is 0.6 B (R - 1) or more. Else
    harmful patterns are rare, t covers the truth far too seldom, and losses and gains are each
    bounded by `intervals.bounded_mean`, as a share of the room that the quiet level leaves. There the patterns of
    all batches are taken as one sample: whether a pattern does harm depends on the pattern more than
    on the images.

    Args:
        mean: the estimate.
        deviations: from the batch's quiet level, (batches, repeats).
        sizes: images in each batch, (batches,).
        room: largest possible deviation below and above the quiet level, each (batches,), positive.
        limits: of the estimate.
        confidence: coverage of the interval.
    """
    check_confidence(confidence)
    batches, repeats = deviations.shape
    if repeats < 2:
        return Estimate(mean, None, None, confidence)
    weights = sizes / sizes.sum()
    freedom = batches * (repeats - 1)
    if spread_is_shared(weights[:, np.newaxis] * deviations, freedom):
        error = float(np.sqrt(np.sum(weights**2 * deviations.var(axis=1, ddof=1) / repeats)))
        down = up = t_half_width(error, freedom, confidence)
    else:
        less, more = _slack(-deviations, weights * room[0], room[0], confidence)
        gain_less, gain_more = _slack(deviations, weights * room[1], room[1], confidence)
        down, up = more + gain_less, less + gain_more
    return Estimate(mean, max(limits[0], mean - down), min(limits[1], mean + up), confidence)


def _slack(
    parts: NDArray[np.float64], reach: NDArray[np.float64], room: NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """Return by how much the mean of the positive parts may be smaller or larger than observed."""
    most = float(reach.sum())
    if most <= 0:
        return 0.0, 0.0
    open_ = room > 0
    shares = np.clip(parts[open_], 0, None) / room[open_, np.newaxis]
    repeats = parts.shape[1]
    weights = np.repeat(reach[open_] / (most * repeats), repeats)
    values = np.minimum(shares, 1).ravel()
    low, high = bounded_limits(values, weights, confidence)
    mean = float(np.dot(weights, values))
    return most * (mean - low), most * (high - mean)


def clustered_mean(counts: NDArray[np.int64], sizes: NDArray[np.int64], *, confidence: float = CONFIDENCE) -> Estimate:
    """Estimate a fraction for new images too: fault patterns with their images are the sample (target ``population``).

    Ratio estimator with one pattern and its m_k images per cluster (Cochran 1977, chapter 6):
    mean = sum y / sum m, variance = K / (K - 1) sum (y_k - mean m_k)^2 / (sum m)^2, Student's t with
    K - 1 degrees of freedom, clipped to [0, 1]. Where a few patterns cause the whole spread, or there is
    none, `intervals.bounded_mean` of the patterns' fractions takes its place.

    Args:
        counts: images counted in each cluster, (clusters,).
        sizes: images in each cluster, (clusters,).
        confidence: coverage of the interval.

    >>> clustered_mean(np.array([120, 96, 64, 15]), np.array([128, 128, 128, 16]))
    Estimate(mean=0.7375, low=0.370905..., high=1.0, confidence=0.95)
    """
    check_confidence(confidence)
    clusters, images = len(counts), int(sizes.sum())
    mean = float(counts.sum() / images)
    if clusters < 2:
        return Estimate(mean, None, None, confidence)
    fractions, weights = counts / sizes, sizes / images
    if not spread_is_shared(weights * (fractions - np.median(fractions)), clusters - 1):
        return Estimate(mean, *bounded_limits(fractions, weights, confidence), confidence)
    error = float(np.sqrt(clusters / (clusters - 1) * np.sum((counts - mean * sizes) ** 2))) / images
    half = t_half_width(error, clusters - 1, confidence)
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), confidence)


def t_half_width(error: float, freedom: float, confidence: float) -> float:
    """Return the half width of a Student's t interval.

    >>> round(t_half_width(1.0, 4, 0.95), 6)
    2.776445
    """
    return float(scipy.special.stdtrit(freedom, (1 + confidence) / 2)) * error


def spread_is_shared(deviations: NDArray[np.float64], freedom: int) -> bool:
    """Whether the patterns share the spread, as Student's t needs, or few of them cause it."""
    squares = float(np.sum(deviations**2))
    return squares > 0 and float(np.sum(np.abs(deviations))) ** 2 >= _SHARED_SPREAD * freedom * squares


@dataclass(frozen=True, slots=True)
class Correlation:
    """How alike the images of one fault pattern fare.

    Attributes:
        icc: intra-pattern (intra-class) correlation; None where all images fared the same.
        design_effect: 1 + (m - 1) icc: the factor by which sharing patterns multiplies the variance.
    """

    icc: float | None
    design_effect: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return JSON values."""
        return {"icc": self.icc, "design_effect": self.design_effect}


def intra_pattern_correlation(counts: NDArray[np.int64], sizes: NDArray[np.int64]) -> Correlation:
    """Return the analysis-of-variance estimate of the correlation between images that share a pattern.

    rho = (MSB - MSW) / (MSB + (m0 - 1) MSW) with m0 = (M - sum m_k^2 / M) / (K - 1), M = sum m_k, which is
    the batch size where all are equal (Donner 1986). Slightly negative values are sampling noise.

    Args:
        counts: images counted in each cluster, (clusters,).
        sizes: images in each cluster, (clusters,).

    >>> intra_pattern_correlation(np.array([3, 1, 4]), np.array([4, 4, 4]))
    Correlation(icc=0.3846..., design_effect=2.1538...)
    """
    clusters, images = len(counts), int(sizes.sum())
    if clusters < 2 or images == clusters:
        return Correlation(None, None)
    fractions, mean = counts / sizes, counts.sum() / images
    between = float(np.sum(sizes * (fractions - mean) ** 2)) / (clusters - 1)
    within = float(np.sum(counts * (1 - fractions))) / (images - clusters)
    size = (images - float(np.sum(sizes**2)) / images) / (clusters - 1)
    spread = between + (size - 1) * within
    if spread == 0:
        return Correlation(None, None)
    icc = (between - within) / spread
    return Correlation(icc, 1 + (size - 1) * icc)


def few_clusters(patterns: int) -> str | None:
    """Return a warning where an interval rests on few fault patterns, else None.

    >>> few_clusters(5)
    'only 5 fault patterns: intervals are rough below 20, use more repeats'
    >>> few_clusters(45) is None
    True
    """
    if patterns >= FEW_CLUSTERS:
        return None
    noun = "fault pattern" if patterns == 1 else "fault patterns"
    return f"only {patterns} {noun}: intervals are rough below {FEW_CLUSTERS}, use more repeats"
