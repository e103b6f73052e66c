"""Intervals for accuracy under faults: the unit of randomness is the fault pattern, not the image."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence, weighted_sum
from ftonnx.stats.proportions import bounded_mean, clopper_pearson

__all__ = [
    "Correlation",
    "few_patterns",
    "for_new_images",
    "independent_images",
    "intra_pattern_correlation",
    "sampling_error",
    "stratified_mean",
    "stratified_values",
    "unseen_share",
]

_NOTEWORTHY: Final = 0.2
"""Warned of is harm that so large a share of the patterns may do without having been drawn."""


def stratified_mean(
    counts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    *,
    golden: NDArray[np.int64] | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Estimate a fraction over a fixed test set when only the faults are random (question ``these-images``).

    See `stratified_values`: the values are the fractions of the batches' images, and what is known of each
    batch is its fraction without faults.

    Args:
        counts: images counted, (batches, repeats).
        sizes: images in each batch, (batches,).
        golden: images counted without faults, (batches,); none by default.
        confidence: coverage of the interval.

    >>> stratified_mean(np.array([[9, 8, 7], [6, 5, 7]]), np.array([10, 10]), golden=np.array([9, 7]))
    Estimate(mean=0.7, low=0.3991..., high=0.8375..., confidence=0.95)
    """
    known = np.zeros(len(sizes))
    if golden is not None:
        known = golden / sizes
    fractions = counts / sizes[:, np.newaxis]
    found = stratified_values(fractions, sizes, known=known, confidence=confidence)
    # Counts add up exactly, where the sum of fractions is rounded.
    images = counts.shape[1] * sizes.sum()
    return found.around(float(counts.sum() / images))


def stratified_values(
    values: NDArray[np.float64],
    sizes: NDArray[Any],
    *,
    known: NDArray[np.float64],
    span: tuple[float, float] = (0.0, 1.0),
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Estimate the mean over a fixed test set of a value that each fault pattern gives each batch.

    Batches are strata, and what each has without faults is known, so only the deviations from that are random.
    Whether a pattern does harm depends on the pattern more than on the images: the patterns of all batches are
    one sample, `proportions.bounded_mean` of which leaves room for harm that was not drawn.

    Student's t is not used, also not where the spread looks even: it covers the truth as rarely as in half of all
    campaigns when a few patterns out of many ruin everything (docs/statistics.md).

    Args:
        values: (batches, repeats), of independent patterns.
        sizes: images in each batch, or other weights of theirs, (batches,).
        known: the value of each batch without faults, (batches,).
        span: smallest and largest possible value.
        confidence: coverage of the interval.

    Returns:
        The limits are None with one pattern in all.
    """
    check_confidence(confidence)
    repeats = values.shape[1]
    shares = sizes / sizes.sum()
    weights = np.repeat(shares / repeats, repeats)
    # Every batch is moved to the same fault-free level: what is left is what the patterns did.
    level = float(np.dot(shares, known))
    moved = (values - known[:, np.newaxis] + level).ravel()
    if values.size < 2:
        mean = float(np.dot(weights, moved))
        return Estimate(mean, None, None, confidence)
    return bounded_mean(moved, weights, confidence, span=span)


def for_new_images(estimate: Estimate, images: float | None) -> Estimate:
    """Widen the estimate of a fraction of these images to one for new images too (question ``new-images``).

    The errors from the draw of the patterns and from the draw of the images are independent of each other, and
    are added as squares (see `estimate.weighted_sum`).

    Args:
        estimate: for these images, whatever they met.
        images: as how many independent ones they count, see `independent_images`.

    >>> for_new_images(Estimate.exact(0.98), 100)
    Estimate(mean=0.98, low=0.9296..., high=0.9975..., confidence=0.95)
    """
    error = sampling_error(estimate.mean, images, estimate.confidence)
    return weighted_sum([1, 1], [estimate, error])


def sampling_error(fraction: float, images: float | None, confidence: float = CONFIDENCE) -> Estimate:
    """Return by how much the fraction of new images may be off from that of these images: 0, with limits.

    An image counts with a value in [0, 1], its mean over the patterns. The variance of such values is at most that
    of 0 and 1 with the same mean, so Clopper and Pearson's limits hold, with room to spare under heavy faults.

    Args:
        fraction: of these images.
        images: as how many independent ones they count; None where nothing is known of new ones.
        confidence: coverage of the interval.
    """
    # One batch of images tells nothing about how alike the images of a batch are.
    if images is None:
        return Estimate(0.0, None, None, confidence)
    # The product of a fraction of 1 may be rounded above the number of images.
    counted = min(fraction * images, images)
    found = clopper_pearson(counted, images, confidence)
    if found.low is None or found.high is None:
        return Estimate(0.0, None, None, confidence)
    return Estimate(
        mean=0.0,
        low=found.low - fraction,
        high=found.high - fraction,
        confidence=confidence,
    )


def independent_images(
    golden: NDArray[Any], sizes: NDArray[np.int64], *, weights: NDArray[Any] | None = None
) -> float | None:
    """Return as how many independent images those of a data set count; None with one batch.

    Images that come in batches of their like (frames of one scene, a class at a time) say less about new ones.
    Pearson's dispersion of the batches' fault-free accuracy, sum m_b (g_b - g)^2 / (g (1 - g) (B - 1)), is 1 for
    independent images; their number is divided by it where it is larger. One batch shows nothing of this.

    Where images weigh differently, as those of rare classes in a mean over classes, they count as Kish's effective
    number (sum w)^2 / sum w^2 of them, as if those of a batch were alike.

    Args:
        golden: images that are right without faults, or their number times the share of them that is right, (batches,).
        sizes: images in each batch, (batches,).
        weights: of the batches in what is estimated, (batches,); by default, and where they are in the proportion of
            ``sizes``, every image counts once.

    >>> independent_images(np.array([9, 9]), np.array([10, 10])), independent_images(np.array([4, 9]), np.full(2, 10))
    (20.0, 3.6...)
    """
    batches = len(sizes)
    if batches < 2:
        return None
    images = float(sizes.sum())
    level = float(golden.sum()) / images
    if weights is not None:
        images = _effective(weights, sizes)
    spread = level * (1 - level) * (batches - 1)
    # All right, or all wrong: batches cannot differ, and nothing speaks against independence.
    if spread == 0:
        return images
    deviations = golden / sizes - level
    dispersion = float(np.sum(sizes * deviations**2)) / spread
    # Batches that are more even than chance would have them make no more images than there are.
    return images / max(1.0, dispersion)


def _effective(weights: NDArray[Any], sizes: NDArray[np.int64]) -> float:
    """Return Kish's effective number of images.

    >>> _effective(np.array([30, 10]), np.array([3, 1])), _effective(np.array([2.0, 1.0]), np.array([1, 1]))
    (4.0, 1.8)
    """
    squares = float(np.sum(weights.astype(np.float64) ** 2 / sizes))
    return float(weights.sum()) ** 2 / squares if squares else 0.0


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
        return {
            "icc": self.icc,
            "design_effect": self.design_effect,
        }


def intra_pattern_correlation(counts: NDArray[Any], sizes: NDArray[np.int64]) -> Correlation:
    """Return the analysis-of-variance estimate of the correlation between images that share a pattern.

    rho = (MSB - MSW) / (MSB + (m0 - 1) MSW) with m0 = (M - sum m_k^2 / M) / (K - 1), M = sum m_k, which is
    the batch size where all are equal (Donner 1986). Slightly negative values are sampling noise.

    Args:
        counts: images counted in each cluster, or their number times the share of them that is, (clusters,).
        sizes: images in each cluster, (clusters,).

    >>> intra_pattern_correlation(np.array([3, 1, 4]), np.array([4, 4, 4]))
    Correlation(icc=0.3846..., design_effect=2.1538...)
    """
    clusters = len(counts)
    images = int(sizes.sum())
    # One cluster has no spread between clusters, images one by one none within.
    if clusters < 2 or images == clusters:
        return Correlation(None, None)
    fractions = counts / sizes
    deviations = fractions - counts.sum() / images
    squares_between = float(np.sum(sizes * deviations**2))
    squares_within = float(np.sum(counts * (1 - fractions)))
    between = squares_between / (clusters - 1)
    within = squares_within / (images - clusters)
    # The size of a cluster that unequal ones stand for; Donner's m0.
    weighted_size = float(np.sum(sizes**2)) / images
    size = (images - weighted_size) / (clusters - 1)
    spread = between + (size - 1) * within
    if spread == 0:
        return Correlation(None, None)
    icc = (between - within) / spread
    return Correlation(icc, 1 + (size - 1) * icc)


def unseen_share(patterns: int, confidence: float = CONFIDENCE) -> float:
    """Return the largest share of patterns that may be harmful although none of ``patterns`` was.

    >>> round(unseen_share(10), 4), round(unseen_share(100), 4)
    (0.3085, 0.0362)
    """
    tail = (1 - check_confidence(confidence)) / 2
    return float(1 - tail ** (1 / patterns))


def few_patterns(patterns: int) -> str | None:
    """Return a warning where so few fault patterns were run that a fifth of them may do harm unseen, else None.

    >>> few_patterns(10)
    '10 fault patterns: harm that up to 31 % of patterns do may not have been drawn, so intervals are wide'
    >>> few_patterns(45) is None
    True
    """
    if patterns < 2:
        return "1 fault pattern: no interval, and nothing can be said about other patterns"
    share = unseen_share(patterns)
    if share <= _NOTEWORTHY:
        return None
    return (
        f"{patterns} fault patterns: harm that up to {100 * share:.0f} % of patterns do may not have been drawn, "
        "so intervals are wide"
    )
