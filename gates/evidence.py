"""What is known about one goal of a gate: from whole rounds, or from batches drawn at random."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.gates.goals import Goal
from ftonnx.gates.verdict import GoalVerdict, Verdict
from ftonnx.stats.betting import Question, RoundTest, Side, anytime_limits
from ftonnx.stats.draws import DrawnValues, drawn_limits, drawn_p_value
from ftonnx.stats.estimate import Estimate
from ftonnx.tasks import Columns, Counts, Task
from ftonnx.words import percent

__all__ = ["DrawnEvidence", "Evidence", "RoundEvidence"]

_logger: Final = logging.getLogger(__name__)


class Evidence(ABC):
    """What is known about one goal.

    Attributes:
        rate: of the goal.
        verdict: so far.
        p_pass: of "the goal is missed", valid at any time.
        p_fail: of "the goal is reached", likewise.
    """

    def __init__(self, goal: Goal, task: Task, confidence: float) -> None:
        """Know nothing yet."""
        self._goal = goal
        self._name = goal.words(task)
        self._fraction = goal.fraction(task)
        self._main = task.main
        self._confidence = confidence
        self._golden: float | None = None
        self._looks = 0
        self._seconds: float | None = None
        self.rate = goal.rate or 0.0
        self.verdict: Verdict = "INCONCLUSIVE"
        self.p_pass = 1.0
        self.p_fail = 1.0

    @abstractmethod
    def add(self, found: Sequence[Counts], golden: Sequence[Counts], quiet: NDArray[np.bool_] | None = None) -> None:
        """Take in a portion of the work: outcomes under faults, next to those without.

        Args:
            found: of what was run.
            golden: likewise.
            quiet: which places have no flip and were not run, (places,); None where all were.
        """

    @property
    @abstractmethod
    def patterns(self) -> int:
        """Fault patterns in all."""

    @abstractmethod
    def _estimate(self) -> Estimate | None:
        """Return what is known of the quantity that the goal limits; None where nothing is."""

    @property
    def needs_every_golden(self) -> bool:
        """Whether it would tell more if the fault-free outcomes of all batches were known."""
        return False

    @property
    def needs_quiet(self) -> bool:
        """Whether patterns without a flip say something that depends on the batch."""
        return True

    def know(self, golden: Sequence[Counts]) -> None:
        """Take in the fault-free outcomes of all batches."""
        self._golden = self._main.of(Counts.total(golden))

    def decide(self, verdict: Verdict, seconds: float) -> None:
        """Settle the goal."""
        self.verdict, self._seconds = verdict, seconds

    @property
    def out_of_reach(self) -> bool:
        """Whether an accuracy is asked for that is not there without faults either, as far as that is known."""
        if self._golden is None:
            return False
        return self._goal.kind == "min_accuracy" and self._golden < self._goal.bound

    @property
    def _side(self) -> Side:
        """On which side of its limit the quantity lies where the goal is reached, as it is bet on."""
        return "below" if self._goal.kind == "max_sdc" else "above"

    @property
    def _other_side(self) -> Side:
        return "above" if self._goal.kind == "max_sdc" else "below"

    def summary(self, seconds: float, why: str) -> GoalVerdict:
        """Return what is known in the end."""
        found = self._estimate()
        estimate = None if found is None else self._with_what_was_shown(found)
        return GoalVerdict(
            goal=self._goal,
            name=self._name,
            verdict=self.verdict,
            estimate=estimate,
            rounds=self._looks,
            patterns=self.patterns,
            seconds=seconds if self._seconds is None else self._seconds,
            message="; ".join(self._remarks(estimate, why)),
        )

    def _with_what_was_shown(self, estimate: Estimate) -> Estimate:
        """Return limits that do not take back the verdict, as those of what is known now may after a lucky start."""
        bound = self._goal.bound
        low, high = estimate.low, estimate.high
        if self.verdict == "INCONCLUSIVE" or low is None or high is None:
            return estimate
        is_above = (self._goal.kind == "min_accuracy") == (self.verdict == "PASS")
        if is_above:
            return replace(estimate, low=max(low, min(bound, estimate.mean)))
        return replace(estimate, high=min(high, max(bound, estimate.mean)))

    def _remarks(self, estimate: Estimate | None, why: str) -> list[str]:
        if estimate is None or estimate.low is None or estimate.high is None:
            return [f"no round was finished {why}: allow more, or use fewer images"]
        remarks = [
            f"{percent(estimate.mean)}, limits {percent(estimate.low)} and {percent(estimate.high)} "
            f"({100 * self._confidence:g} % each), {self.patterns} fault patterns"
        ]
        if self.verdict == "INCONCLUSIVE":
            remarks.append(f"not decided {why}")
        if self.out_of_reach and self._golden is not None:
            remarks.append(f"the fault-free accuracy, {percent(self._golden)}, is below it already")
        return remarks


class RoundEvidence(Evidence):
    """From whole rounds: one fault pattern on every batch.

    The quantity that the goal limits is ``offset + factor * value`` of values in [0, 1] that are bet on.
    """

    def __init__(self, goal: Goal, task: Task, question: Question, confidence: float) -> None:
        """Know nothing yet."""
        super().__init__(goal, task, confidence)
        self._question = question
        self._rounds: list[NDArray[np.float64]] = []
        self._fault_free: Columns = {}
        self._weights: NDArray[Any] = np.zeros(0)
        self._by_batch: NDArray[np.float64] | None = None
        self._offset = 0.0
        self._factor = 1.0
        self._tests: tuple[RoundTest, RoundTest] | None = None
        self._hopeless = False

    def add(self, found: Sequence[Counts], golden: Sequence[Counts], quiet: NDArray[np.bool_] | None = None) -> None:
        """See ``Evidence``."""
        if not self._rounds:
            self._start(golden)
        self._looks += 1
        values = self._values(found)
        self._rounds.append(values)
        if self._tests is not None:
            passing, failing = self._tests
            passing.add(values)
            failing.add(values)
            self.p_pass = passing.p_value
            self.p_fail = failing.p_value

    @property
    def patterns(self) -> int:
        """See ``Evidence``."""
        return len(self._rounds) * len(self._weights)

    def _start(self, golden: Sequence[Counts]) -> None:
        """Choose what to bet on, now that the fault-free accuracy is known."""
        self._fault_free = self._fraction.columns(golden)
        self._weights = self._fraction.weights(self._fault_free)
        self._golden = self._main.of(Counts.total(golden))
        side = self._side
        threshold = self._goal.bound
        if self._goal.kind == "max_drop":
            # Of these images the fault-free accuracy is known, so a limit of the drop is one of the accuracy.
            new_images = self._question == "new-images"
            self._offset = 1.0 if new_images else self._golden
            self._factor = -2.0 if new_images else -1.0
            threshold = (self._goal.bound - self._offset) / self._factor
        if threshold <= 0:  # less cannot be lost than there is
            self.p_pass = 0.0
            return
        # harm is counted against the fault-free run by itself
        if self._goal.kind != "max_sdc" and self._question == "these-images":
            self._by_batch = self._golden_values
        passing = RoundTest(threshold, side, self._weights, question=self._question, golden=self._by_batch)
        failing = RoundTest(threshold, self._other_side, self._weights, question=self._question, golden=self._by_batch)
        self._tests = (passing, failing)
        self._hopeless = self._question == "new-images" and not self._can_pass(threshold, side)

    def _can_pass(self, threshold: float, side: Side) -> bool:
        """Say whether one round of perfect values would be enough, as no average of rounds is better."""
        best = RoundTest(threshold, side, self._weights, question=self._question)
        best.add(np.full(len(self._weights), 1.0 if side == "above" else 0.0))
        possible = best.p_value <= 1 - self._confidence
        if not possible:
            _logger.warning("%s: %s", self._name, self._too_few)
        return possible

    @property
    def _too_few(self) -> str:
        return f"{len(self._weights)} batches are too few to pass for new images: let fewer images share a pattern"

    def _values(self, found: Sequence[Counts]) -> NDArray[np.float64]:
        values = self._fraction.by_batch(self._fraction.columns(found), self._fault_free)
        if self._goal.kind == "max_drop" and self._question == "new-images":
            return (1 - (self._golden_values - values)) / 2
        return values

    @property
    def _golden_values(self) -> NDArray[np.float64]:
        """The fraction of every batch without faults."""
        return self._fraction.by_batch(self._fault_free, self._fault_free)

    def _estimate(self) -> Estimate | None:
        if not self._rounds:
            return None
        values = np.array(self._rounds)
        low, high = anytime_limits(
            values, self._weights, 1 - self._confidence, question=self._question, golden=self._by_batch
        )
        mean = float(np.average(values.mean(axis=0), weights=self._weights))
        ends = [self._offset + self._factor * end for end in (min(mean, low), max(mean, high))]
        return Estimate(self._offset + self._factor * mean, min(ends), max(ends), self._confidence)

    def _remarks(self, estimate: Estimate | None, why: str) -> list[str]:
        hopeless = [self._too_few] if self._hopeless and self.verdict != "FAIL" else []
        return super()._remarks(estimate, why) + hopeless


class DrawnEvidence(Evidence):
    """From batches that are drawn at random, each with a fault pattern of its own.

    A loss is bet on as the difference to the batch's own fault-free run, so that nothing need be known of others. An
    accuracy is bet on by two gamblers, as it is and as that difference; the second one waits until the fault-free
    accuracy of all images is known, which is worth its price after as many draws as there are batches. A draw without
    a flip loses nothing and does no harm, which need not be run to be known.
    """

    def __init__(self, goal: Goal, task: Task, confidence: float, *, batches: int) -> None:
        """Know nothing yet.

        Args:
            goal: it.
            task: whose fractions are shares of images.
            confidence: of the verdict.
            batches: in the data set.
        """
        super().__init__(goal, task, confidence)
        self._all_batches = batches
        self._values = np.zeros(0)
        self._fault_free = np.zeros(0)

    @property
    def patterns(self) -> int:
        """See ``Evidence``."""
        return len(self._values)

    @property
    def needs_every_golden(self) -> bool:
        """See ``Evidence``."""
        waits = self._goal.kind == "min_accuracy" and self._golden is None
        return waits and self.patterns >= self._all_batches

    @property
    def needs_quiet(self) -> bool:
        """See ``Evidence``; without a flip nothing is lost, and nothing done unnoticed, whatever the batch."""
        return self._goal.kind == "min_accuracy"

    def add(self, found: Sequence[Counts], golden: Sequence[Counts], quiet: NDArray[np.bool_] | None = None) -> None:
        """See ``Evidence``."""
        self._looks += 1
        sizes = Counts.column(golden, self._fraction.whole)
        values = Counts.column(found, self._fraction.count) / sizes
        fault_free = Counts.column(golden, self._fraction.count) / sizes
        self._values = np.concatenate((self._values, _placed(values, quiet)))
        self._fault_free = np.concatenate((self._fault_free, _placed(fault_free, quiet)))
        self._look()

    def know(self, golden: Sequence[Counts]) -> None:
        """See ``Evidence``."""
        super().know(golden)
        self._look()

    def _look(self) -> None:
        bets = self._bets()
        self.p_pass = min(self.p_pass, self._p_value(bets, self._side))
        self.p_fail = min(self.p_fail, self._p_value(bets, self._other_side))

    def _p_value(self, bets: Sequence[DrawnValues], side: Side) -> float:
        return drawn_p_value(bets, self._sign * self._goal.bound, side, gamblers=self._gamblers)

    @property
    def _sign(self) -> float:
        """Of the quantity that is bet on: of a drop, what is gained."""
        return -1.0 if self._goal.kind == "max_drop" else 1.0

    @property
    def _gamblers(self) -> int:
        return 2 if self._goal.kind == "min_accuracy" else 1

    def _bets(self) -> list[DrawnValues]:
        gained = DrawnValues(self._values - self._fault_free, -1.0, 1.0)
        if self._goal.kind == "max_drop":
            return [gained]
        bets = [DrawnValues(self._values, 0.0, 1.0)]
        if self._goal.kind == "min_accuracy" and self._golden is not None:
            bets.append(gained._replace(offset=self._golden))
        return bets

    def _estimate(self) -> Estimate | None:
        if not self.patterns:
            return None
        bets = self._bets()
        # what is known of all images leaves the least to chance
        mean = float(bets[-1].values.mean()) + bets[-1].offset
        low, high = drawn_limits(bets, 1 - self._confidence, gamblers=self._gamblers)
        ends = [self._sign * end for end in (min(mean, low), max(mean, high))]
        return Estimate(self._sign * mean, min(ends), max(ends), self._confidence)


def _placed(values: NDArray[np.float64], quiet: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return the values of all places of a portion: 0, a difference or harm, where nothing was run.

    >>> _placed(np.array([0.5, 1.0]), np.array([False, True, False]))
    array([0.5, 0. , 1. ])
    """
    if quiet is None:
        return values
    placed = np.zeros(len(quiet))
    placed[~quiet] = values
    return placed
