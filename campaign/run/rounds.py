"""Working portion by portion, so that a campaign can end as soon as enough is known.

A portion is a round, one repeat of every batch, or some batches drawn at random (`plan.order`), at the rates that still
need it. A rule sees complete portions alone, in order, so that what it decides does not depend on who ran the units, or
when.
"""

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.order import Order, Place
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.plan.stopping import Budget, Stopping
from ftonnx.campaign.run.base import Executor
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.unit_table import images_for
from ftonnx.stats.betting import anytime_mean
from ftonnx.stats.patterns import for_new_images
from ftonnx.tasks import Counts, Fraction
from ftonnx.words import percent, some_of

__all__ = ["PrecisionRule", "Rounds", "Rule"]

_GOLDEN_AT_ONCE: Final = 64  # batches
_READING_SECONDS: Final = 1.0
_LOOKS_GROW: Final = 1.02  # intervals are computed when there are so many times more rounds than at the last look


class Rule(ABC):
    """Decides after every portion at which rates another one is needed."""

    @property
    @abstractmethod
    def open_rates(self) -> tuple[float, ...]:
        """The rates that need another portion."""

    @property
    def needs_every_golden(self) -> bool:
        """Whether it goes on only when it knows what all batches give without faults."""
        return False

    @property
    def needs_quiet(self) -> bool:
        """Whether it must know what patterns without a flip give, which is what their batches give without faults."""
        return True

    @abstractmethod
    def add(
        self,
        rate: float,
        found: Sequence[Counts],
        golden: Sequence[Counts],
        quiet: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in one rate's outcomes of a portion.

        Args:
            rate: of the patterns.
            found: outcomes under faults, one per place that was run.
            golden: those without, likewise.
            quiet: which places of the portion have no flip and were not run, (places,); None where all were.
        """

    def know(self, golden: Sequence[Counts]) -> None:  # noqa: B027  # few rules ask
        """Take in what all batches give without faults, in order."""

    @property
    def so_far(self) -> str:
        """What is known so far, in a few words for who waits; empty where there is nothing to say."""
        return ""


class PrecisionRule(Rule):
    """Leaves a rate once its headline's interval, which holds at any time, is narrow enough.

    Where patterns are nested it leaves all at once: a history that is not met at every time is lost to their
    differences.
    """

    def __init__(
        self, rates: Sequence[float], stopping: Stopping, fraction: Fraction, *, pooled: bool, nested: bool = False
    ) -> None:
        """Start without evidence.

        Args:
            rates: the rates.
            stopping: the half-width, if any, and the question.
            fraction: the headline.
            pooled: a round is one pattern met by all batches, not one for each.
            nested: the patterns of a round are those of the same histories, at one time after the other.
        """
        self._stopping = stopping
        self._fraction = fraction
        self._pooled = pooled
        self._nested = nested
        self._rates = tuple(rates)
        self._narrow: set[float] = set()
        self._values: dict[float, list[NDArray[np.float64]]] = {rate: [] for rate in rates}
        self._next_look = dict.fromkeys(rates, 1)
        self._halves: dict[float, float] = {}  # half-widths at the last look

    @classmethod
    def of(cls, schedule: Schedule, stopping: Stopping, fraction: Fraction) -> Self:
        """Return the rule of a campaign."""
        nested = schedule.faults.is_nested
        return cls(schedule.levels, stopping, fraction, pooled=schedule.pooled, nested=nested)

    @property
    def open_rates(self) -> tuple[float, ...]:
        """The rates whose interval is too wide; where patterns are nested, all as long as one is."""
        wide = self._wide
        return self._rates if self._nested and wide else wide

    @property
    def _wide(self) -> tuple[float, ...]:
        return tuple(rate for rate in self._rates if rate not in self._narrow)

    def add(
        self,
        rate: float,
        found: Sequence[Counts],
        golden: Sequence[Counts],
        quiet: NDArray[np.bool_] | None = None,
    ) -> None:
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
            self._narrow.add(rate)
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
            self._halves[rate] = half
            if half <= self._stopping.precision:
                self._narrow.add(rate)
            else:
                # it may have been narrow before, and be wider after the rounds that other times needed
                self._narrow.discard(rate)

    @property
    def so_far(self) -> str:
        """The half-widths at the rates where they are too large."""
        known = [f"{rate:g}: ±{percent(self._halves[rate])}" for rate in self._wide if rate in self._halves]
        asked = "" if self._stopping.precision is None else f", ±{percent(self._stopping.precision)} asked"
        return f"{some_of(known)}{asked}" if known else ""


@dataclass(slots=True, kw_only=True)
class _Clock:
    """Says when a budget is spent, so that what would not end in it is not begun; a first unit is always granted.

    Attributes:
        budget: what may be spent.
        began: when its time began, by ``time.monotonic``.
        units: that were run by now.
        unit_seconds: that they took together.
        portions: that were completed by now.
    """

    budget: Budget
    began: float
    units: int = 0
    unit_seconds: float = 0.0
    portions: int = 0

    def note(self, record: Record) -> None:
        """Take in how long a unit took."""
        self.units += 1
        self.unit_seconds += record.wall_ns * 1e-9

    def spent(self, recorded: int) -> bool:
        """Say whether another unit is too much, given how many are recorded."""
        if recorded == 0:
            return False
        if self.budget.units is not None and recorded >= self.budget.units:
            return True
        return self.units > 0 and self._is_over_after(self.unit_seconds / self.units)

    def has_no_room_for(self, units: int, at_once: int) -> bool:
        """Say whether one more portion is too much, given how many units of it are missing and run at once."""
        return self.units > 0 and self._is_over_after(self.unit_seconds / self.units * units / at_once)

    def _is_over_after(self, seconds: float) -> bool:
        left = self.budget.seconds
        return left is not None and time.monotonic() - self.began + seconds > left

    def units_left(self, recorded: int) -> int | None:
        """Return how many units may still be run; None for any number."""
        return None if self.budget.units is None else self.budget.units - recorded


class Rounds:
    """A campaign's portions: what is recorded of them is taken from the store, the rest is run."""

    def __init__(
        self, store: Store, ledger: Ledger, executor: Executor, order: Order, say: Callable[[str], None] | None = None
    ) -> None:
        """Take what is recorded.

        Args:
            store: the open results folder.
            ledger: what is left.
            executor: runs it.
            order: of the portions.
            say: told from time to time what the rule knows so far.
        """
        self._say = say
        self._said = 0.0
        self._ledger = ledger
        self._executor = executor
        self._order = order
        self._outcomes = {unit: record.outcomes for unit, record in store.units().items()}
        self._quiet: set[Unit] = set()  # that were not run

    def run(self, rule: Rule, budget: Budget, began: float) -> bool:
        """Do portion after portion until the rule needs no more; False where the budget was spent before.

        Args:
            rule: it.
            budget: what may be spent.
            began: when its time began, by ``time.monotonic``.

        Raises:
            Interrupted: a signal came; every finished unit is recorded.
        """
        clock = _Clock(budget=budget, began=began)
        for number in itertools.count():
            places = self._order.portion(number)
            rates = rule.open_rates
            if not rates or not places:
                return True
            if not self._portion(number, rates, clock, skips_quiet=not rule.needs_quiet):
                return False
            for rate in rates:
                self._tell(rule, rate, places)
            self._say_so_far(rule)
            if rule.needs_every_golden and not self._every_golden(rule, clock):
                return False
        raise AssertionError("counting has no end")

    def _say_so_far(self, rule: Rule) -> None:
        """Say it not more often than people read, as it may have to be computed."""
        if self._say is not None and time.monotonic() - self._said > _READING_SECONDS:
            self._said = time.monotonic()
            self._say(rule.so_far)

    def _tell(self, rule: Rule, rate: float, places: Sequence[Place]) -> None:
        """Let the rule see a portion at one rate."""
        units = [Unit(rate, place.repeat, place.batch) for place in places]
        run = [unit for unit in units if unit not in self._quiet]
        found = [self._outcomes.pop(unit) for unit in run]
        golden = [self._ledger.golden(unit.batch) for unit in run]
        quiet = None if len(run) == len(units) else np.array([unit in self._quiet for unit in units])
        rule.add(rate, found, golden, quiet)

    def _portion(self, number: int, rates: Sequence[float], clock: _Clock, *, skips_quiet: bool) -> bool:
        """Run what is missing of a portion; say whether it is complete."""

        def enough(record: Record) -> bool:
            self._outcomes[record.unit] = record.outcomes
            clock.note(record)
            return clock.spent(self._ledger.recorded)

        self._ledger.ask_for(number, rates)
        if not self._ledger.open_batches():
            return True
        if clock.spent(self._ledger.recorded):
            return False
        if skips_quiet:
            self._quiet.update(self._ledger.skip_quiet(clock.units_left(self._ledger.recorded)))
        else:
            self._ledger.run_quiet()
        # which units are the last ones must not depend on who is the fastest
        self._ledger.ask_for(number, rates, clock.units_left(self._ledger.recorded))
        if clock.portions and clock.has_no_room_for(self._ledger.asked_left, self._executor.at_once):
            return False
        self._executor.run(enough)
        # The unit that spends the budget may be the last one of the portion.
        self._ledger.ask_for(number, rates)
        is_complete = not self._ledger.open_batches()
        clock.portions += is_complete
        return is_complete

    def _every_golden(self, rule: Rule, clock: _Clock) -> bool:
        """Do the golden runs that are missing, unless the budget is spent before, and tell the rule."""
        batches = range(self._ledger.batches)
        missing = [number for number in batches if not self._ledger.has_golden(number)]
        # some at a time, as nothing but units is asked whether the budget is spent
        for start in range(0, len(missing), _GOLDEN_AT_ONCE):
            if clock.spent(self._ledger.recorded):
                return False
            self._ledger.ask_for_golden(missing[start : start + _GOLDEN_AT_ONCE])
            self._executor.run()
        rule.know([self._ledger.golden(number) for number in batches])
        return True
