"""A gate: may a model ship? As many fault patterns are run as the verdict needs.

Not aware of JUnit, Markdown, or exit codes.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.campaign import Campaign, Progress
from ftonnx.campaign.inputs import DataLike, ModelLike, open_data, open_model
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import MOST_ROUNDS, Budget, Stopping
from ftonnx.campaign.run.rounds import Rule
from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError
from ftonnx.gates.goals import Goal, resolve_goals
from ftonnx.gates.verdict import GateVerdict, GoalVerdict, Verdict
from ftonnx.inject import BitFlipRates
from ftonnx.stats.betting import Question, RoundTest, Side, anytime_limits, parse_question
from ftonnx.stats.differences import holm
from ftonnx.stats.estimate import Estimate, check_confidence
from ftonnx.tasks import Columns, Counts, Task, default_task
from ftonnx.words import percent

__all__ = ["DEFAULT_BUDGET", "GateRule", "gate"]

DEFAULT_BUDGET: Final = Budget(seconds=600)
_NO_BETTER: Final = "because the fault-free accuracy is near chance"
_logger: Final = logging.getLogger(__name__)


def gate(
    model: ModelLike,
    data: DataLike,
    goals: Sequence[Goal | str],
    *,
    task: Task | None = None,
    settings: Settings | None = None,
    environment: str | Path | Environment | None = None,
    results: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> GateVerdict:
    """Decide whether a model reaches its goals under bit flips.

    Where the fault-free accuracy is near chance, something else is wrong, and no goal passes.

    Args:
        model: as in ``evaluate``.
        data: as in ``evaluate``.
        goals: ``Goal`` objects, or texts such as ``min-accuracy 1e-6:0.90``, ``max-drop 1e-6:0.02``,
            ``max-sdc 1e-7:0.01``; all must be reached.
        task: as in ``evaluate``.
        settings: how the campaign is run, see ``Settings``. Of these, ``confidence``: a goal that is missed passes
            with probability 1 - confidence at most; a model that reaches all of them fails with no larger one.
            ``budget``: ten minutes by default. ``question``: what images the verdict is for.
        environment: a TOML file or an ``Environment``, whose rate goals with ``env`` in place of a rate get.
        results: results folder; an earlier run's units in it count.
        progress: called after every unit with (recorded, most).
        **options: fields of ``Settings``, in place of those in ``settings``.

    Raises:
        FtonnxError: one of its children, as ``evaluate``.

    >>> verdict = gate("digits", "digits", ["min-accuracy 1e-4:0.90"], threads=1, strategy="live")
    >>> verdict.verdict, verdict.units
    ('FAIL', 45)
    """
    used = _settings(settings, options)
    place = Environment.from_toml(environment) if isinstance(environment, str | Path) else environment
    wanted = resolve_goals(goals, place)
    rates = BitFlipRates(goal.rate for goal in wanted if goal.rate is not None)
    loaded = open_model(model)
    campaign = Campaign(
        loaded,
        open_data(data, loaded),
        rates,
        task=task,
        settings=used,
        results=results,
    )
    return _decided(campaign, wanted, progress)


def _settings(settings: Settings | None, options: dict[str, Any]) -> Settings:
    """Return the settings of a gate, which decides by itself how many patterns are run.

    Raises:
        UsageError: a number of repeats or a precision is asked for.
    """
    used = Settings.of(settings, options)
    for name in ("repeats", "precision"):
        if getattr(used, name) is not None:
            raise UsageError(f"a gate runs as many patterns as its verdict needs: no {name} was expected")
    return replace(used, budget=used.budget or DEFAULT_BUDGET)


def _decided(campaign: Campaign, goals: Sequence[Goal], progress: Progress | None) -> GateVerdict:
    """Run a campaign at the goals' rates until every goal, or one failure, is decided."""
    stopping = campaign.settings.stopping or Stopping(budget=DEFAULT_BUDGET)
    rule = GateRule(
        goals,
        task=campaign.task,
        question=stopping.question,
        confidence=stopping.confidence,
        classes=campaign.data.classes,
    )
    budget = stopping.budget or Budget()
    left_out = campaign.space.coverage.caution
    with campaign.by_rounds(rule, stopping, progress=progress) as (store, enough):
        golden = store.golden()
        seen = len(golden) == campaign.schedule.batches(len(campaign.data))
        why = f"after {MOST_ROUNDS:,} rounds" if enough else f"within the budget of {budget}"
        return GateVerdict(
            verdict=rule.verdict,
            goals=rule.verdicts(why),
            golden=campaign.task.main.of(Counts.total(golden.values())) if seen else None,
            model=campaign.model.name,
            data=campaign.data.name,
            question=stopping.question,
            confidence=stopping.confidence,
            budget=budget,
            units=len(store.recorded()),
            seconds=rule.seconds,
            results=store.path,
            warnings=rule.warnings if left_out is None else (*rule.warnings, left_out),
            headline_label=campaign.task.main.label,
        )


class GateRule(Rule):
    """Collects evidence on all goals until each has passed, or one has failed.

    A goal passes at level alpha = 1 - confidence without correction for their number, because all must
    (intersection-union test). Failures are corrected by Holm's method, so that a model which reaches all
    goals fails with probability alpha at most.

    Where the fault-free accuracy, known after the first round, is near chance, no goal passes: a model that guesses
    loses nothing. Then only goals of an accuracy that is not there without faults either are tested on, which fail.
    """

    def __init__(
        self,
        goals: Sequence[Goal],
        *,
        question: Question,
        confidence: float,
        classes: int | None = None,
        task: Task | None = None,
    ) -> None:
        task = task or default_task()
        self._task = task
        self._classes = classes
        self._caution = ""
        self._alpha = 1 - check_confidence(confidence)
        self._evidence = [_Evidence(goal, task, parse_question(question), confidence) for goal in goals]
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def open_rates(self) -> tuple[float, ...]:
        """The rates of undecided goals; none once a goal has failed."""
        if self.verdict == "FAIL":
            return ()
        undecided = [each for each in self._evidence if each.verdict == "INCONCLUSIVE"]
        return tuple(sorted({each.rate for each in undecided if self._can_be_decided(each)}))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the verdict must know first."""
        return (self._caution,) if self._caution else ()

    def _can_be_decided(self, goal: "_Evidence") -> bool:
        return not self._caution or goal.out_of_reach

    def add(self, rate: float, found: Sequence[Counts], golden: Sequence[Counts]) -> None:
        """Take in a round at one rate."""
        headline = self._task.main.of(Counts.total(golden))
        self._caution = self._task.caution(headline, self._classes) or ""
        for each in self._evidence:
            if each.rate == rate and each.verdict == "INCONCLUSIVE":
                each.add(found, golden)
                if each.p_pass <= self._alpha and not self._caution:
                    each.decide("PASS", self.seconds)
        corrected = holm([each.p_fail for each in self._evidence])
        for each, p_fail in zip(self._evidence, corrected, strict=True):
            if each.verdict == "INCONCLUSIVE" and p_fail <= self._alpha:
                each.decide("FAIL", self.seconds)

    @property
    def verdict(self) -> Verdict:
        """The verdict so far."""
        found = {each.verdict for each in self._evidence}
        if "FAIL" in found:
            return "FAIL"
        return "INCONCLUSIVE" if "INCONCLUSIVE" in found else "PASS"

    def verdicts(self, why: str) -> tuple[GoalVerdict, ...]:
        """Return the goals' verdicts.

        Args:
            why: when undecided goals were given up.
        """
        why = "before another goal failed" if self.verdict == "FAIL" else why
        return tuple(
            each.summary(self.seconds, why if self._can_be_decided(each) else _NO_BETTER) for each in self._evidence
        )


class _Evidence:
    """What is known about one goal.

    The quantity that the goal limits is ``offset + factor * value`` of values in [0, 1] that are bet on.
    """

    def __init__(self, goal: Goal, task: Task, question: Question, confidence: float) -> None:
        self._goal = goal
        self._name = goal.words(task)
        self._fraction = goal.fraction(task)
        self._main = task.main
        self._question = question
        self._confidence = confidence
        self.rate = goal.rate or 0.0
        self.verdict: Verdict = "INCONCLUSIVE"
        self.p_pass = 1.0
        self.p_fail = 1.0
        self._rounds: list[NDArray[np.float64]] = []
        self._fault_free: Columns = {}
        self._weights: NDArray[Any] = np.zeros(0)
        self._golden = 0.0
        self._by_batch: NDArray[np.float64] | None = None
        self._offset = 0.0
        self._factor = 1.0
        self._tests: tuple[RoundTest, RoundTest] | None = None
        self._seconds: float | None = None
        self._hopeless = False

    def add(self, found: Sequence[Counts], golden: Sequence[Counts]) -> None:
        """Take in a round."""
        if not self._rounds:
            self._start(golden)
        values = self._values(found)
        self._rounds.append(values)
        if self._tests is not None:
            passing, failing = self._tests
            passing.add(values)
            failing.add(values)
            self.p_pass = passing.p_value
            self.p_fail = failing.p_value

    def decide(self, verdict: Verdict, seconds: float) -> None:
        """Settle the goal."""
        self.verdict, self._seconds = verdict, seconds

    @property
    def out_of_reach(self) -> bool:
        """Whether an accuracy is asked for that is not there without faults either."""
        return self._goal.kind == "min_accuracy" and self._golden < self._goal.bound

    def _start(self, golden: Sequence[Counts]) -> None:
        """Choose what to bet on, now that the fault-free accuracy is known."""
        self._fault_free = self._fraction.columns(golden)
        self._weights = self._fraction.weights(self._fault_free)
        self._golden = self._main.of(Counts.total(golden))
        side: Side = "below" if self._goal.kind == "max_sdc" else "above"
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
        failing = RoundTest(threshold, _opposite(side), self._weights, question=self._question, golden=self._by_batch)
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

    def summary(self, seconds: float, why: str) -> GoalVerdict:
        """Return what is known in the end."""
        estimate = self._estimate()
        patterns = len(self._rounds) * len(self._weights)
        return GoalVerdict(
            goal=self._goal,
            name=self._name,
            verdict=self.verdict,
            estimate=estimate,
            rounds=len(self._rounds),
            patterns=patterns,
            seconds=seconds if self._seconds is None else self._seconds,
            message="; ".join(self._remarks(estimate, patterns, why)),
        )

    def _remarks(self, estimate: Estimate | None, patterns: int, why: str) -> list[str]:
        if estimate is None or estimate.low is None or estimate.high is None:
            return [f"no round was finished {why}: allow more, or use fewer images"]
        remarks = [
            f"{percent(estimate.mean)}, limits {percent(estimate.low)} and {percent(estimate.high)} "
            f"({100 * self._confidence:g} % each), {patterns} fault patterns"
        ]
        if self.verdict == "INCONCLUSIVE":
            remarks.append(f"not decided {why}")
        if self.out_of_reach:
            remarks.append(f"the fault-free accuracy, {percent(self._golden)}, is below it already")
        if self._hopeless and self.verdict != "FAIL":
            remarks.append(self._too_few)
        return remarks


def _opposite(side: Side) -> Side:
    return "below" if side == "above" else "above"
