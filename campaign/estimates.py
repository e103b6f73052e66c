"""From the counts of one rate to estimates: what is random decides which interval a campaign's numbers get."""

from dataclasses import dataclass

from ftonnx.campaign.estimate import CONFIDENCE, Estimate
from ftonnx.campaign.evidence import Target, anytime_mean
from ftonnx.campaign.statistics import for_new_images, stratified_mean
from ftonnx.campaign.tables import UnitTable

__all__ = ["Estimator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Turns a table of counts into estimates, in the way that a campaign was run.

    Attributes:
        target: ``test-set``, intervals for these images, or ``population``, for new ones too.
        early: the campaign could end early, so that its intervals have to hold whenever it did.
        every: number of patterns that there are, where each is run once and nothing is random; else None.
    """

    target: Target = "test-set"
    early: bool = False
    every: int | None = None

    def estimate(self, table: UnitTable, column: str, confidence: float = CONFIDENCE) -> Estimate:
        """Estimate the share of images with an outcome."""
        found = self.for_these_images(table, column, confidence)
        return for_new_images(found, table.images) if self.target == "population" else found

    def for_these_images(self, table: UnitTable, column: str, confidence: float = CONFIDENCE) -> Estimate:
        """Estimate the same for these images, whatever the target."""
        counts = table.counts[column]
        if table.rate > 0 and self.every is None:
            if self.early:
                return anytime_mean(table.fractions(column).T, table.sizes, confidence=confidence)
            return stratified_mean(counts, table.sizes, golden=table.golden[column], confidence=confidence)
        mean = float(counts.sum() / (counts.shape[1] * table.sizes.sum()))
        if self.every is not None and table.repeats.size < self.every:
            return Estimate(mean, None, None, confidence)  # the first bits are no random sample
        return Estimate.exact(mean, confidence=confidence)
