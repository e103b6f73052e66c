"""Working round by round, so that a campaign can end as soon as enough is known.

Round r is repeat r of every batch, at the rates that still need it. Golden runs are kept from one round
to the next while memory allows.
"""

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.environment import parse_duration
from ftonnx.campaign.estimate import CONFIDENCE, check_confidence
from ftonnx.campaign.evidence import Target, anytime_mean, parse_target
from ftonnx.campaign.interrupt import StopRequest
from ftonnx.campaign.plan import CampaignSettings, Unit
from ftonnx.campaign.runner import BatchRunner
from ftonnx.campaign.statistics import for_new_images, independent_images
from ftonnx.campaign.store import Store
from ftonnx.campaign.task import Outcomes
from ftonnx.campaign.work import Ledger
from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError

__all__ = ["MOST_ROUNDS", "Budget", "HeldRunners", "PrecisionRule", "Rounds", "Rule", "Stopping"]

MOST_ROUNDS: Final = 10_000
"""Upper limit of rounds where none is given."""

_LOOKS_GROW: Final = 1.02  # intervals are computed when there are so many times more rounds than at the last look
_UNITS: Final = re.compile(r"(\d+)\s*units?")


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be spent.

    Attributes:
        seconds: of this run; None for any.
        units: recorded in all, those of earlier runs included; None for any.

    >>> Budget.parse("10min"), Budget.parse("500units")
    (Budget(seconds=600.0, units=None), Budget(seconds=None, units=500))
    """

    seconds: float | None = None
    units: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read a time, a number of units, or both.

        Raises:
            UsageError: it is neither.

        >>> Budget.parse("1.5h, 2000units")
        Budget(seconds=5400.0, units=2000)
        """
        found: dict[str, Any] = {}
        for part in text.lower().split(","):
            match = _UNITS.fullmatch(part.strip())
            name, value = ("units", int(match[1])) if match else ("seconds", _seconds(text, part))
            if name in found or value <= 0:
                raise UsageError(_expected(text))
            found[name] = value
        return cls(**found)

    def __str__(self) -> str:
        parts = [f"{self.seconds:g} s"] if self.seconds is not None else []
        return " or ".join(parts + ([f"{self.units} units"] if self.units is not None else []))

    def to_dict(self) -> dict[str, float | int | None]:
        """Return JSON values."""
        return {"seconds": self.seconds, "units": self.units}


def _seconds(text: str, part: str) -> float:
    try:
        return round(3600 * parse_duration(part), 6)
    except UsageError:
        raise UsageError(_expected(text)) from None


def _expected(text: str) -> str:
    return f"a budget such as 10min, 500units, or 10min,500units was expected, got {text!r}"


class Rule(ABC):
    """Decides after every round at which rates another one is needed."""

    @property
    @abstractmethod
    def open_rates(self) -> tuple[float, ...]:
        """The rates that need another round."""

    @abstractmethod
    def add(self, rate: float, found: Sequence[Outcomes], golden: Sequence[Outcomes]) -> None:
        """Take in one rate's outcomes of a round, one per batch, next to those without faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """When a campaign may end before its last repeat.

    Attributes:
        precision: half-width of the accuracy's interval at which a rate is left; None for all repeats.
        budget: what may be spent; None for any amount.
        target: ``test-set`` or ``population``.
        confidence: of the interval.

    Raises:
        UsageError: a value makes no sense.
    """

    precision: float | None = None
    budget: Budget | None = None
    target: Target = "test-set"
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        """Check the ranges."""
        parse_target(self.target)
        check_confidence(self.confidence)
        if self.precision is not None and not 0 < self.precision < 0.5:
            raise UsageError(
                f"a precision (half-width of an interval) between 0 and 0.5 was expected: {self.precision}"
            )

    @classmethod
    def of(cls, precision: float | None, budget: str | Budget | None, target: Target) -> "Stopping | None":
        """Return when a campaign may end early; None where neither a precision nor a budget is given.

        Raises:
            UsageError: a value makes no sense.
        """
        parse_target(target)
        if precision is None and budget is None:
            return None
        allowed = Budget.parse(budget) if isinstance(budget, str) else budget
        return cls(precision=precision, budget=allowed, target=target)

    def require_reachable(self, batches: int) -> None:
        """Refuse a precision that no number of patterns reaches.

        Raises:
            UsageError: it is asked for new images, of which one batch says nothing.
        """
        if self.precision is not None and self.target == "population" and batches == 1:
            raise UsageError(
                "a precision for new images needs two batches of images or more, got one: choose a smaller batch size"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        budget = None if self.budget is None else self.budget.to_dict()
        return {"precision": self.precision, "budget": budget, "target": self.target}


class PrecisionRule(Rule):
    """Leaves a rate once its accuracy's interval, which holds at any time, is narrow enough."""

    def __init__(self, rates: Sequence[float], stopping: Stopping, *, pooled: bool) -> None:
        """Start without evidence.

        Args:
            rates: the rates.
            stopping: the half-width, if any, and the target.
            pooled: a round is one pattern met by all batches, not one for each.
        """
        self._stopping, self._pooled = stopping, pooled
        self._open = list(rates)
        self._values: dict[float, list[NDArray[np.float64]]] = {rate: [] for rate in rates}
        self._next_look = dict.fromkeys(rates, 1)

    @property
    def open_rates(self) -> tuple[float, ...]:
        """The rates whose interval is too wide."""
        return tuple(self._open)

    def add(self, rate: float, found: Sequence[Outcomes], golden: Sequence[Outcomes]) -> None:
        """Look at the interval, at ever larger distances."""
        correct, sizes = _columns(found, pooled=self._pooled)
        rounds = self._values[rate]
        rounds.append(correct / sizes)
        if rate == 0:  # the golden run, exactly
            self._open.remove(rate)
            return
        if self._stopping.precision is None or len(rounds) < self._next_look[rate]:
            return
        self._next_look[rate] = math.ceil(_LOOKS_GROW * len(rounds))
        interval = anytime_mean(np.array(rounds), sizes, confidence=self._stopping.confidence)
        if self._stopping.target == "population":
            interval = for_new_images(interval, self._images(golden))
        if interval.low is not None and interval.high is not None:
            half = (interval.high - interval.low) / 2
            if half <= self._stopping.precision:
                self._open.remove(rate)

    def _images(self, golden: Sequence[Outcomes]) -> float | None:
        """Return as how many independent images the data set's count."""
        return independent_images(*_columns(golden, pooled=False))


def _columns(found: Sequence[Outcomes], *, pooled: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    correct = np.array([outcomes.correct1 for outcomes in found], np.int64)
    sizes = np.array([outcomes.n for outcomes in found], np.int64)
    return (correct.sum(keepdims=True), sizes.sum(keepdims=True)) if pooled else (correct, sizes)


class OpenBatch(Protocol):
    """Does a batch's golden run."""

    def __call__(self, images: NDArray[np.float32], labels: NDArray[np.int64]) -> BatchRunner:
        """Return what runs the batch's units."""


class HeldRunners:
    """The batches' runners with their golden runs, as many as fit into a given memory."""

    def __init__(self, data: Dataset, batch_size: int, open_batch: OpenBatch, memory: int) -> None:
        self._data, self._batch_size, self._open_batch, self._memory = data, batch_size, open_batch, memory
        self._held: dict[int, BatchRunner] = {}

    def runners(self, wanted: Sequence[int]) -> Iterator[tuple[int, BatchRunner]]:
        """Yield the batches asked for, in order; the data are read only where one is not held."""
        if all(number in self._held for number in wanted):
            for number in wanted:
                yield number, self._held[number]
                self._keep(number, self._held[number])
            return
        numbers = set(wanted)
        for number, (images, labels) in enumerate(self._data.batches(self._batch_size)):
            if number in numbers:
                runner = self._held.get(number) or self._open_batch(images, labels)
                yield number, runner
                self._keep(number, runner)

    def _keep(self, number: int, runner: BatchRunner) -> None:
        """Keep a runner, whose size may have changed, if it fits beside the others."""
        others = sum(each.nbytes for key, each in self._held.items() if key != number)
        if others + runner.nbytes <= self._memory:
            self._held[number] = runner
        else:
            self._held.pop(number, None)


@dataclass(slots=True, kw_only=True)
class _Clock:
    """Says when a budget is spent; a first unit is always granted."""

    budget: Budget
    started: float = field(default_factory=time.monotonic)

    def spent(self, recorded: int) -> bool:
        late = self.budget.seconds is not None and time.monotonic() - self.started >= self.budget.seconds
        return recorded > 0 and (late or (self.budget.units is not None and recorded >= self.budget.units))


class Rounds:
    """A campaign's rounds: those that are recorded are taken from the store, the others are run."""

    def __init__(self, store: Store, ledger: Ledger, runners: HeldRunners, settings: CampaignSettings) -> None:
        self._ledger, self._runners, self._settings = ledger, runners, settings
        self._outcomes = {unit: record.outcomes for unit, record in store.units().items()}
        self._golden = store.golden()

    def run(self, rule: Rule, budget: Budget, stop: StopRequest, batches: int) -> bool:
        """Do round after round of ``batches`` until the rule needs no more; False where the budget was spent before.

        Raises:
            Interrupted: a signal came; every finished unit is recorded.
        """
        clock = _Clock(budget=budget)
        for repeat in range(self._settings.repeats):
            rates = rule.open_rates
            if not rates:
                return True
            if not self._round(repeat, rates, clock, stop, batches):
                return False
            golden = [self._golden[number] for number in range(batches)]
            for rate in rates:
                found = [self._outcomes.pop(Unit(rate, repeat, number)) for number in range(batches)]
                rule.add(rate, found, golden)
        return True

    def _round(self, repeat: int, rates: Sequence[float], clock: _Clock, stop: StopRequest, batches: int) -> bool:
        """Run what is missing of a round; say whether it is complete."""
        missing = {
            number: [unit for rate in rates if (unit := Unit(rate, repeat, number)) not in self._outcomes]
            for number in range(batches)
        }
        wanted = [number for number, units in missing.items() if units or number not in self._golden]
        if wanted and clock.spent(self._ledger.recorded):
            return False
        for number, runner in self._runners.runners(wanted):
            self._golden[number] = runner.golden
            self._ledger.add_golden(number, runner.golden)
            for unit in missing[number]:
                stop.raise_if_asked(self._ledger.summary)
                if clock.spent(self._ledger.recorded):
                    return False
                record = runner.run(unit)
                self._ledger.add(record)
                self._outcomes[unit] = record.outcomes
        return True
