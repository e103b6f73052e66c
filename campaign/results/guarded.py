"""What guards did in the runs of a campaign, by drawing its patterns again: they depend on nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ftonnx.campaign.inputs import recorded_model
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.store.unit_table import Recorded
from ftonnx.errors import UsageError
from ftonnx.inject import FaultModel
from ftonnx.inject.guards import GuardedMemory, WordCounts
from ftonnx.words import nine_digits

__all__ = ["GuardedRuns", "guarded_runs", "recorded_guarded_runs"]

_MOST: Final = 1000
"""Patterns per rate that are drawn again: their means are known to a few per cent."""
_MOST_FLIPS: Final = 2_000_000
"""In all of them together, as a decoder takes about a microsecond for each; means over many flips are known anyway."""
_FEWEST: Final = 10
"""Patterns that are drawn again however many flips they have."""
_UNPROTECTED: Final = "a campaign with a protection plan was expected: this one ran without"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedRuns:
    """What guards did in runs at a rate.

    Attributes:
        rate: flips per bit.
        patterns: that were drawn again, all that were run or 1,000 of them at random, fewer where they have thousands
            of flips.
        words: what decoders did in all of them.
        stopped: patterns at which a guard has ended the run.
    """

    rate: float
    patterns: int
    words: WordCounts
    stopped: int

    @property
    def means(self) -> dict[str, float]:
        """Mean number of words per run, by what decoders did with them."""
        return {name: count / self.patterns for name, count in self.words.to_dict().items()}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        means = {name: nine_digits(mean) for name, mean in self.means.items()}
        return {"rate": self.rate, "patterns": self.patterns, **means, "stopped": self.stopped / self.patterns}


def guarded_runs(result: CampaignResult, schedule: Schedule) -> list[GuardedRuns]:
    """Return what guards did at each rate of a campaign, in up to 1,000 of its patterns.

    Args:
        result: of the campaign.
        schedule: what it ran.

    Raises:
        UsageError: nothing protected the model's bits.
        ModelError: the model's file changed or vanished.
    """
    if schedule.memory is None:
        raise UsageError(_UNPROTECTED)
    return _at_each_rate(result, schedule.memory, schedule.faults)


def recorded_guarded_runs(result: CampaignResult) -> list[GuardedRuns]:
    """Return the same of a campaign that was recorded before; its model is read again.

    Raises:
        UsageError: nothing protected the model's bits, the model never was a file, or the faults are a published
            list, which is not recorded.
        ModelError: the model's file changed or vanished.
        StoreError: the results folder can no longer be read.
    """
    plan = result.settings.protection
    if plan is None:
        raise UsageError(_UNPROTECTED)
    space = result.settings.fault_space(recorded_model(result.model))
    return _at_each_rate(result, GuardedMemory(plan, space), result.faults)


def _at_each_rate(result: CampaignResult, memory: GuardedMemory, faults: FaultModel) -> list[GuardedRuns]:
    found = []
    for rate in result.rates:
        flips = max(1.0, faults.expected_faults(memory.space, rate.rate))
        most = min(_MOST, max(_FEWEST, int(_MOST_FLIPS / flips)))
        found.append(_runs(result, memory, faults, _some_units(result, rate.rate, most)))
    return found


def _runs(result: CampaignResult, memory: GuardedMemory, faults: FaultModel, units: Sequence[Unit]) -> GuardedRuns:
    words = WordCounts()
    stopped = 0
    for unit in units:
        seed, repeat = result.header.identity.origin(unit.repeat)
        pattern = faults.unit_pattern(memory.space, seed, level=unit.rate, repeat=repeat, batch=unit.batch)
        decoded = memory.decode(pattern)
        words += decoded.words
        stopped += decoded.stopped
    return GuardedRuns(rate=units[0].rate, patterns=len(units), words=words, stopped=stopped)


def _some_units(result: CampaignResult, rate: float, most: int) -> list[Unit]:
    """Return units with different patterns, at most so many, at random from those that were run."""
    recorded = result.recorded or Recorded.open(result.results)
    pairs = recorded.pairs(rate)
    if not result.faults.fresh_per_batch:
        # all batches meet the same pattern
        pairs = frozenset((0, repeat) for _, repeat in pairs)
    units = [Unit(rate, repeat, batch) for batch, repeat in sorted(pairs)]
    if len(units) <= most:
        return units
    # every so-many-th could always be the same bit of an element
    chosen = np.random.default_rng(0).choice(len(units), most, replace=False)
    return [units[number] for number in np.sort(chosen)]
