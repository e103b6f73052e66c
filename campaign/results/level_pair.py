"""Two campaigns at one level, or one campaign at two: the difference of their headlines, pattern by pattern."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.results.comparison import Pairing, RateComparison
from ftonnx.campaign.results.estimates import Estimator
from ftonnx.campaign.results.side import Side
from ftonnx.campaign.store.unit_table import UnitTable
from ftonnx.stats.betting import Question, anytime_mean
from ftonnx.stats.differences import DIFFERENCES, Difference, sign_flip_p_value
from ftonnx.stats.estimate import Estimate, weighted_sum
from ftonnx.stats.patterns import sampling_error, stratified_values

__all__ = ["LevelPair"]


class LevelPair:
    """Two campaigns at one level.

    Attributes:
        rate: the level of the first one.
        accuracy: the other model's headline, over the patterns compared.
        baseline: the baseline's, likewise.
    """

    def __init__(self, first: Side, other: Side, mine: float, its: float, pairing: Pairing) -> None:
        self.rate = mine
        self._its = its
        self._sides = (other, first)
        self._pairing = pairing
        self._main = first.main
        self._early = first.ends_early or other.ends_early
        own, others = first.units[mine], other.units[its]
        if pairing != "none":
            own = others = own & others
        self._other = other.table(its, others)
        self._baseline = first.table(mine, own)
        self.accuracy = self._other.mean(self._main)
        self.baseline = self._baseline.mean(self._main)

    @property
    def _tables(self) -> tuple[UnitTable, UnitTable]:
        return self._other, self._baseline

    @property
    def _is_random(self) -> bool:
        """Whether patterns were drawn: of every bit nothing is left to chance."""
        return all(side.every is None for side in self._sides)

    def difference(self, confidence: float) -> Estimate:
        """Estimate the difference on these images."""
        if self._pairing == "none" or not self._is_random:
            estimates = []
            for side, table in zip(self._sides, self._tables, strict=True):
                estimator = Estimator(early=self._early, every=side.every, confidence=confidence)
                estimates.append(estimator.for_these_images(table, self._main))
            return weighted_sum([1, -1], estimates, span=DIFFERENCES)
        values = self._values
        weights = self._other.weights(self._main)
        if self._early:
            return _from_shares(anytime_mean((1 + values.T) / 2, weights, confidence=confidence))
        known = self._other.golden_fractions(self._main) - self._baseline.golden_fractions(self._main)
        return stratified_values(values, weights, known=known, span=DIFFERENCES, confidence=confidence)

    def answer(self, question: Question, confidence: float) -> Estimate:
        """Estimate the difference for what is asked about."""
        found = self.difference(confidence)
        return found if question == "these-images" else self.for_new_images(found, self.accuracy, self.baseline)

    def compared(self, question: Question, confidence: float) -> RateComparison:
        """Return what is shown of this rate."""

        def interval(level: float) -> Estimate:
            return self.answer(question, level)

        hours = self.hours
        return RateComparison(
            rate=self.rate,
            baseline=self.baseline,
            accuracy=self.accuracy,
            difference=Difference.of(
                interval, pairs=self.pairs, p_sign_flip=self._p_sign_flip(question), confidence=confidence
            ),
            interval="anytime-valid" if self._early else "fixed-n",
            hours=hours,
            other_rate=self._its if hours is not None and self._its != self.rate else None,
        )

    @property
    def hours(self) -> float | None:
        """Hours since loading, of the first one; None where patterns are of no time."""
        return self._sides[1].header.faults.hours_at(self.rate)

    def for_new_images(self, difference: Estimate, a: float, b: float) -> Estimate:
        """Widen the difference of two fractions of these images to one for new images too.

        The images that one model gets wrong are rather those that the other gets wrong, too, so that the sampling
        error of the difference is at most that of two independent fractions.
        """
        parts = [difference]
        for fraction, table in zip((a, b), self._tables, strict=True):
            parts.append(sampling_error(fraction, table.images, difference.confidence))
        return weighted_sum([1, 1, -1], parts, span=DIFFERENCES)

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        """Differences by pattern, (batches, patterns)."""
        return self._other.fractions(self._main) - self._baseline.fractions(self._main)

    @property
    def pairs(self) -> int:
        """Number of patterns compared, of the smaller side where they are not paired."""
        return min(table.patterns for table in self._tables)

    def _p_sign_flip(self, question: Question) -> float | None:
        """Return the p-value of the sign-flip test, which knows these images only, and is no sequential one."""
        if self._pairing == "none" or question == "new-images" or self._early or not self._is_random:
            return None
        if self.pairs < 2:
            return None
        shares = self._other.weights(self._main)
        values = self._values
        weights = shares / (shares.sum() * values.shape[1])
        return sign_flip_p_value((weights[:, np.newaxis] * values).ravel())


def _from_shares(estimate: Estimate) -> Estimate:
    """Return the difference d of an estimate of (1 + d) / 2.

    >>> _from_shares(Estimate(0.5, 0.25, 1.0))
    Estimate(mean=0.0, low=-0.5, high=1.0, confidence=0.95)
    """
    low, high = (None if end is None else 2 * end - 1 for end in (estimate.low, estimate.high))
    return Estimate(2 * estimate.mean - 1, low, high, estimate.confidence)
