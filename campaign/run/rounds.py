"""Working round by round, so that a campaign can end as soon as enough is known.

Round r is repeat r of every batch, at the rates that still need it. A rule sees complete rounds alone, in order, so
that what it decides does not depend on who ran the units, or when.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.stopping import Budget, Stopping
from ftonnx.campaign.run.base import Executor
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.unit_table import images_for
from ftonnx.stats.betting import anytime_mean
from ftonnx.stats.patterns import for_new_images
from ftonnx.tasks import Counts, Fraction

__all__ = ["PrecisionRule", "Rounds", "Rule"]

_LOOKS_GROW: Final = 1.02  # intervals are computed when there are so many times more rounds than at the last look


class Rule(ABC):
    """Decides after every round at which rates another one is needed."""

    @property
    @abstractmethod
    def open_rates(self) -> tuple[float, ...]:
        """The rates that need another round."""

    @abstractmethod
    def add(self, rate: float, found: Sequence[Counts], golden: Sequence[Counts]) -> None:
        """Take in one rate's outcomes of a round, one per batch, next to those without faults."""


class PrecisionRule(Rule):
    """Leaves a rate once its headline's interval, which holds at any time, is narrow enough."""

    def __init__(self, rates: Sequence[float], stopping: Stopping, fraction: Fraction, *, pooled: bool) -> None:
        """Start without evidence.

        Args:
            rates: the rates.
            stopping: the half-width, if any, and the question.
            fraction: the headline.
            pooled: a round is one pattern met by all batches, not one for each.
        """
        self._stopping = stopping
        self._fraction = fraction
        self._pooled = pooled
        self._open = list(rates)
        self._values: dict[float, list[NDArray[np.float64]]] = {rate: [] for rate in rates}
        self._next_look = dict.fromkeys(rates, 1)

    @property
    def open_rates(self) -> tuple[float, ...]:
        """The rates whose interval is too wide."""
        return tuple(self._open)

    def add(self, rate: float, found: Sequence[Counts], golden: Sequence[Counts]) -> None:
        """Look at the interval, at ever larger distances."""
        fraction = self._fraction
        batches = golden
        if self._pooled:
            found = [Counts.total(found)]
            golden = [Counts.total(golden)]
        fault_free = fraction.columns(golden)
        rounds = self._values[rate]
        rounds.append(fraction.by_batch(fraction.columns(found), fault_free))
        if rate == 0:  # the golden run, exactly
            self._open.remove(rate)
            return
        if self._stopping.precision is None or len(rounds) < self._next_look[rate]:
            return
        self._next_look[rate] = math.ceil(_LOOKS_GROW * len(rounds))
        interval = anytime_mean(
            np.array(rounds),
            fraction.weights(fault_free),
            golden=fraction.by_batch(fault_free, fault_free),
            confidence=self._stopping.confidence,
        )
        if self._stopping.question == "new-images":
            interval = for_new_images(interval, images_for(fraction, fraction.columns(batches)))
        if interval.low is not None and interval.high is not None:
            half = (interval.high - interval.low) / 2
            if half <= self._stopping.precision:
                self._open.remove(rate)


@dataclass(slots=True, kw_only=True)
class _Clock:
    """Says when a budget is spent; a first unit is always granted."""

    budget: Budget
    started: float = field(default_factory=time.monotonic)

    def spent(self, recorded: int) -> bool:
        if recorded == 0:
            return False
        if self.budget.units is not None and recorded >= self.budget.units:
            return True
        return self.budget.seconds is not None and time.monotonic() - self.started >= self.budget.seconds

    def units_left(self, recorded: int) -> int | None:
        """Return how many units may still be run; None for any number."""
        return None if self.budget.units is None else self.budget.units - recorded


class Rounds:
    """A campaign's rounds: those that are recorded are taken from the store, the others are run."""

    def __init__(self, store: Store, ledger: Ledger, executor: Executor, repeats: int) -> None:
        self._ledger = ledger
        self._executor = executor
        self._repeats = repeats
        self._outcomes = {unit: record.outcomes for unit, record in store.units().items()}

    def run(self, rule: Rule, budget: Budget) -> bool:
        """Do round after round until the rule needs no more; False where the budget was spent before.

        Raises:
            Interrupted: a signal came; every finished unit is recorded.
        """
        clock = _Clock(budget=budget)
        batches = range(self._ledger.batches)
        for repeat in range(self._repeats):
            rates = rule.open_rates
            if not rates:
                return True
            if not self._round(repeat, rates, clock):
                return False
            golden = [self._ledger.golden(number) for number in batches]
            for rate in rates:
                found = [self._outcomes.pop(Unit(rate, repeat, number)) for number in batches]
                rule.add(rate, found, golden)
        return True

    def _round(self, repeat: int, rates: Sequence[float], clock: _Clock) -> bool:
        """Run what is missing of a round; say whether it is complete."""

        def enough(record: Record) -> bool:
            self._outcomes[record.unit] = record.outcomes
            return clock.spent(self._ledger.recorded)

        self._ledger.ask_for(repeat, rates)
        if not self._ledger.open_batches():
            return True
        if clock.spent(self._ledger.recorded):
            return False
        # which units are the last ones must not depend on who is the fastest
        self._ledger.ask_for(repeat, rates, clock.units_left(self._ledger.recorded))
        self._executor.run(enough)
        # The unit that spends the budget may be the last one of the round.
        self._ledger.ask_for(repeat, rates)
        return not self._ledger.open_batches()
