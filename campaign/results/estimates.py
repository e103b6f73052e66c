"""From the counts of one rate to estimates: what is random decides which interval a campaign's numbers get."""

from dataclasses import dataclass

from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.unit_table import UnitTable
from ftonnx.stats.betting import Question, anytime_mean
from ftonnx.stats.estimate import CONFIDENCE, Estimate
from ftonnx.stats.patterns import for_new_images, stratified_values
from ftonnx.stats.pooled import linearised
from ftonnx.tasks import Fraction, PooledFraction

__all__ = ["Estimator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Turns a table of counts into estimates, in the way that a campaign was run.

    Attributes:
        question: ``these-images``, intervals for these images, or ``new-images``, for new ones too.
        early: the campaign could end early, so that its intervals have to hold whenever it did.
        every: number of patterns that there are, where each is run once and nothing is random; else None.
        confidence: of the intervals.
    """

    question: Question = "these-images"
    early: bool = False
    every: int | None = None
    confidence: float = CONFIDENCE

    @classmethod
    def of(cls, header: Header, question: Question, confidence: float = CONFIDENCE) -> "Estimator":
        """Return what makes a campaign's estimates."""
        return cls(
            question=question,
            early=header.stopping is not None,
            every=header.space.bits if header.faults.covers_all else None,
            confidence=confidence,
        )

    @property
    def interval(self) -> str:
        """What kind of intervals they are: ``fixed-n`` or ``anytime-valid``."""
        return "anytime-valid" if self.early else "fixed-n"

    def estimate(self, table: UnitTable, fraction: Fraction) -> Estimate:
        """Estimate a fraction."""
        found = self.for_these_images(table, fraction)
        if self.question == "these-images":
            return found
        # nothing is known of how a function of sums over these images is off from one over new ones
        images = None if isinstance(fraction, PooledFraction) else table.images
        return for_new_images(found, images)

    def for_these_images(self, table: UnitTable, fraction: Fraction) -> Estimate:
        """Estimate the same for these images, whatever the question."""
        mean = table.mean(fraction)
        if table.rate > 0 and self.every is None:
            if isinstance(fraction, PooledFraction):
                return self._of_sums(table, fraction)
            values = table.fractions(fraction)
            weights = table.weights(fraction)
            golden = table.golden_fractions(fraction)
            if self.early:
                return anytime_mean(values.T, weights, golden=golden, confidence=self.confidence)
            found = stratified_values(values, weights, known=golden, confidence=self.confidence)
            return found.around(mean)
        if self.every is not None and table.repeats.size < self.every:
            return Estimate(mean, None, None, self.confidence)  # the first bits are no random sample
        return Estimate.exact(mean, confidence=self.confidence)

    def _of_sums(self, table: UnitTable, fraction: PooledFraction) -> Estimate:
        """Estimate a function of sums, for which there is no interval that holds at any time."""
        if self.early:
            return Estimate(table.mean(fraction), None, None, self.confidence)
        known = fraction.sums(table.golden)
        totals = known.sum(axis=0)
        found = linearised(
            fraction.sums(table.counts),
            known,
            fraction,
            worst=fraction.worst(totals),
            best=fraction.best(totals),
            confidence=self.confidence,
        )
        return found.around(table.mean(fraction))
