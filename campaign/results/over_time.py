"""What histories of a memory tell: accuracy lost from one time to the next, and its mean since loading."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftonnx.campaign.results.estimates import Estimator
from ftonnx.campaign.results.level_pair import LevelPair
from ftonnx.campaign.results.side import Side
from ftonnx.campaign.store.unit_table import Recorded, UnitTable
from ftonnx.stats.curves import area_under
from ftonnx.stats.estimate import Estimate
from ftonnx.stats.patterns import for_new_images

__all__ = ["OverTime", "TimeStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStep:
    """Two times, one after the other.

    Attributes:
        start: hours since loading, of the first.
        end: of the second.
        difference: the headline at the second minus that at the first, by the histories that were run at both.
        histories: how many these are, each on the images of a batch.
    """

    start: float
    end: float
    difference: Estimate
    histories: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "start": self.start,
            "end": self.end,
            "difference": self.difference.to_dict(),
            "histories": self.histories,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OverTime:
    """A campaign of histories, over time.

    Attributes:
        steps: from each time to the next.
        mean: the headline's mean from loading to the last time, by trapezoids between the times; without faults in the
            beginning. Its limits hold where those at all times do.
        hours: the last time.
    """

    steps: tuple[TimeStep, ...]
    mean: Estimate
    hours: float

    @classmethod
    def of(cls, recorded: Recorded, tables: Sequence[UnitTable], estimator: Estimator) -> "OverTime | None":
        """Sum up histories; None where patterns are of no time.

        Args:
            recorded: the campaign.
            tables: of its levels, ascending.
            estimator: of its intervals.
        """
        faults = recorded.header.faults
        hours = [at for table in tables if (at := faults.hours_at(table.rate)) is not None]
        if not hours:
            return None
        side = Side(recorded)
        steps = []
        for before, after in itertools.pairwise(tables):
            # of an unfinished campaign, other histories may have been run at each
            if side.units[before.rate].isdisjoint(side.units[after.rate]):
                continue
            pair = LevelPair(side, side, before.rate, after.rate, "faults")
            found = pair.answer(estimator.question, estimator.confidence)
            start = faults.hours_at(before.rate) or 0.0
            end = faults.hours_at(after.rate) or 0.0
            steps.append(TimeStep(start=start, end=end, difference=found, histories=pair.pairs))
        return cls(steps=tuple(steps), mean=_mean(hours, tables, side, estimator), hours=hours[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "steps": [step.to_dict() for step in self.steps],
            "mean": self.mean.to_dict(),
            "hours": self.hours,
        }


def _mean(hours: Sequence[float], tables: Sequence[UnitTable], side: Side, estimator: Estimator) -> Estimate:
    """Return the mean over time for these images, widened in the end where new ones are asked about."""
    heights = [Estimate.exact(side.golden, confidence=estimator.confidence)]
    for table in tables:
        heights.append(estimator.for_these_images(table, side.main))
    found = area_under([0.0, *hours], heights, "linear", together=True)
    if estimator.question == "these-images":
        return found
    return for_new_images(found, tables[0].images)
