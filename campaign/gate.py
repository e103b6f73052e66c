"""A gate: may a model ship? As many fault patterns are run as the verdict needs.

Not aware of JUnit, Markdown, or exit codes.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.comparison import holm
from ftonnx.campaign.environment import Environment
from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.campaign.evaluate import Campaign, Progress, choose_batch_size, open_data, open_model
from ftonnx.campaign.evidence import RoundTest, Side, Target, anytime_limits, parse_target
from ftonnx.campaign.goals import Goal, resolve_goals
from ftonnx.campaign.plan import CampaignSettings
from ftonnx.campaign.rounds import MOST_ROUNDS, Budget, Rule, Stopping
from ftonnx.campaign.task import Outcomes
from ftonnx.campaign.verdict import GateVerdict, GoalVerdict, Verdict, percent
from ftonnx.datasets import Dataset
from ftonnx.inject import OnnxModel

__all__ = ["DEFAULT_BUDGET", "GateRule", "gate"]

DEFAULT_BUDGET: Final = Budget(seconds=600)
_NO_BETTER: Final = "because the fault-free accuracy is near chance"
_logger: Final = logging.getLogger(__name__)


def gate(
    model: "str | Path | onnx.ModelProto | OnnxModel",
    data: "str | Dataset | Iterable[tuple[NDArray[Any], NDArray[Any]]]",
    *,
    goals: Sequence[Goal | str],
    confidence: float = CONFIDENCE,
    budget: str | Budget = DEFAULT_BUDGET,
    target: Target = "test-set",
    environment: str | Path | Environment | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    format: str = "auto",
    targets: Sequence[str] = ("weight", "bias"),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    bits: Sequence[int] = (),
    strategy: str = "auto",
    providers: Sequence[str] = ("cpu",),
    threads: int | None = None,
    cache_memory: int | None = None,
    results: str | Path | None = None,
    progress: Progress | None = None,
) -> GateVerdict:
    """Decide whether a model reaches its goals under bit flips.

    Where the fault-free accuracy is near chance, something else is wrong, and no goal passes.

    Args:
        model: as in ``evaluate``.
        data: as in ``evaluate``.
        goals: ``Goal`` objects, or texts such as ``min-accuracy 1e-6:0.90``, ``max-drop 1e-6:0.02``,
            ``max-sdc 1e-7:0.01``; all must be reached.
        confidence: a goal that is missed passes with probability 1 - confidence at most; a model that reaches all
            of them fails with no larger one.
        budget: what may be spent, such as ``10min`` of running, ``500units`` in all, or both.
        target: ``test-set``, the verdict is for these images, or ``population``, for new ones too.
        environment: a TOML file or an ``Environment``, whose rate goals with ``env`` in place of a rate get.
        batch_size: images that share a fault pattern, as in ``evaluate``, as are the arguments from here on.
        seed: of the fault patterns.
        format: how float tensors are seen as bits.
        targets: roles that can flip.
        include: patterns of tensor names.
        exclude: patterns of tensor names.
        bits: bits of an element that can flip.
        strategy: ``auto``, ``live`` or ``rebuild``.
        providers: execution providers.
        threads: intra-op threads.
        cache_memory: bytes that golden runs may take from one round to the next.
        results: results folder; an earlier run's units in it count.
        progress: called after every unit with (recorded, most).

    Raises:
        FtonnxError: one of its children, as ``evaluate``.

    >>> verdict = gate("digits", "digits", goals=["min-accuracy 1e-4:0.90"], threads=1, strategy="live")
    >>> verdict.verdict, verdict.units
    ('FAIL', 3)
    """
    place = Environment.from_toml(environment) if isinstance(environment, str | Path) else environment
    wanted = resolve_goals(goals, place)
    stopping = Stopping(
        budget=Budget.parse(budget) if isinstance(budget, str) else budget, target=target, confidence=confidence
    )
    loaded = open_model(model)
    settings = CampaignSettings(
        rates=tuple(goal.rate for goal in wanted if goal.rate is not None),
        repeats=MOST_ROUNDS,
        batch_size=choose_batch_size(loaded, batch_size),
        seed=seed,
        format=format,
        targets=tuple(targets),
        include=tuple(include),
        exclude=tuple(exclude),
        bits=tuple(bits),
        strategy=strategy,
        providers=tuple(providers),
        threads=threads,
    )
    campaign = Campaign(loaded, open_data(data, loaded), settings, results=results, cache_memory=cache_memory)
    return _decided(campaign, wanted, stopping, progress)


def _decided(campaign: Campaign, goals: Sequence[Goal], stopping: Stopping, progress: Progress | None) -> GateVerdict:
    """Run a campaign at the goals' rates until every goal, or one failure, is decided."""
    rule = GateRule(goals, target=stopping.target, confidence=stopping.confidence, classes=campaign.data.classes)
    budget = stopping.budget or Budget()
    with campaign.by_rounds(rule, stopping, progress=progress) as (store, enough):
        golden, units = store.golden(), len(store.units())
        seen = len(golden) == campaign.settings.batches(len(campaign.data))
        why = f"after {MOST_ROUNDS:,} rounds" if enough else f"within the budget of {budget}"
        return GateVerdict(
            verdict=rule.verdict,
            goals=rule.verdicts(why),
            golden=sum(each.correct1 for each in golden.values()) / len(campaign.data) if seen else None,
            model=campaign.model.name,
            data=campaign.data.name,
            target=stopping.target,
            confidence=stopping.confidence,
            budget=budget,
            units=units,
            seconds=rule.seconds,
            results=store.path,
            warnings=rule.warnings,
        )


class GateRule(Rule):
    """Collects evidence on all goals until each has passed, or one has failed.

    A goal passes at level alpha = 1 - confidence without correction for their number, because all must
    (intersection-union test). Failures are corrected by Holm's method, so that a model which reaches all
    goals fails with probability alpha at most.

    Where the fault-free accuracy, known after the first round, is near chance, no goal passes: a model that guesses
    loses nothing. Then only goals of an accuracy that is not there without faults either are tested on, which fail.
    """

    def __init__(self, goals: Sequence[Goal], *, target: Target, confidence: float, classes: int | None = None) -> None:
        self._classes, self._caution = classes, ""
        self._alpha = 1 - check_confidence(confidence)
        self._evidence = [_Evidence(goal, parse_target(target), confidence) for goal in goals]
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

    def add(self, rate: float, found: Sequence[Outcomes], golden: Sequence[Outcomes]) -> None:
        """Take in a round at one rate."""
        accuracy = sum(outcomes.correct1 for outcomes in golden) / sum(outcomes.n for outcomes in golden)
        self._caution = near_chance(accuracy, self._classes) or ""
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

    def __init__(self, goal: Goal, target: Target, confidence: float) -> None:
        self._goal, self._target, self._confidence = goal, target, confidence
        self.rate = goal.rate or 0.0
        self.verdict: Verdict = "INCONCLUSIVE"
        self.p_pass = self.p_fail = 1.0
        self._rounds: list[NDArray[np.float64]] = []
        self._sizes = np.zeros(0, np.int64)
        self._golden = 0.0
        self._offset, self._factor = 0.0, 1.0
        self._tests: tuple[RoundTest, RoundTest] | None = None
        self._seconds: float | None = None
        self._hopeless = False

    def add(self, found: Sequence[Outcomes], golden: Sequence[Outcomes]) -> None:
        """Take in a round."""
        if not self._rounds:
            self._start(golden)
        values = self._values(found, golden)
        self._rounds.append(values)
        if self._tests is not None:
            passing, failing = self._tests
            passing.add(values)
            failing.add(values)
            self.p_pass, self.p_fail = passing.p_value, failing.p_value

    def decide(self, verdict: Verdict, seconds: float) -> None:
        """Settle the goal."""
        self.verdict, self._seconds = verdict, seconds

    @property
    def out_of_reach(self) -> bool:
        """Whether an accuracy is asked for that is not there without faults either."""
        return self._goal.kind == "min_accuracy" and self._golden < self._goal.bound

    def _start(self, golden: Sequence[Outcomes]) -> None:
        """Choose what to bet on, now that the fault-free accuracy is known."""
        self._sizes = np.array([outcomes.n for outcomes in golden], np.int64)
        self._golden = sum(outcomes.correct1 for outcomes in golden) / int(self._sizes.sum())
        side: Side = "below" if self._goal.kind == "max_sdc" else "above"
        threshold = self._goal.bound
        if self._goal.kind == "max_drop":
            # Of these images the fault-free accuracy is known, so a limit of the drop is one of the accuracy.
            population = self._target == "population"
            self._offset, self._factor = (1.0, -2.0) if population else (self._golden, -1.0)
            threshold = (self._goal.bound - self._offset) / self._factor
        if threshold <= 0:  # less cannot be lost than there is
            self.p_pass = 0.0
            return
        passing, failing = (RoundTest(threshold, each, self._sizes, target=self._target) for each in _both(side))
        self._tests = passing, failing
        self._hopeless = self._target == "population" and not self._can_pass(threshold, side)

    def _can_pass(self, threshold: float, side: Side) -> bool:
        """Say whether one round of perfect values would be enough, as no average of rounds is better."""
        best = RoundTest(threshold, side, self._sizes, target=self._target)
        best.add(np.full(len(self._sizes), 1.0 if side == "above" else 0.0))
        possible = best.p_value <= 1 - self._confidence
        if not possible:
            _logger.warning("%s: %s", self._goal.name, self._too_few)
        return possible

    @property
    def _too_few(self) -> str:
        return f"{len(self._sizes)} batches are too few images to pass for new images: choose a smaller batch size"

    def _values(self, found: Sequence[Outcomes], golden: Sequence[Outcomes]) -> NDArray[np.float64]:
        correct = np.array([outcomes.correct1 for outcomes in found], np.int64)
        if self._goal.kind == "max_sdc":
            return np.array([outcomes.sdc1 for outcomes in found], np.int64) / self._sizes
        if self._goal.kind == "max_drop" and self._target == "population":
            lost = np.array([outcomes.correct1 for outcomes in golden], np.int64) - correct
            return (1 - lost / self._sizes) / 2
        return correct / self._sizes

    def _estimate(self) -> Estimate | None:
        if not self._rounds:
            return None
        values, sizes = np.array(self._rounds), self._sizes
        low, high = anytime_limits(values, sizes, 1 - self._confidence, target=self._target)
        mean = float(np.average(values.mean(axis=0), weights=sizes))
        ends = [self._offset + self._factor * end for end in (min(mean, low), max(mean, high))]
        return Estimate(self._offset + self._factor * mean, min(ends), max(ends), self._confidence)

    def summary(self, seconds: float, why: str) -> GoalVerdict:
        """Return what is known in the end."""
        estimate, patterns = self._estimate(), len(self._rounds) * len(self._sizes)
        return GoalVerdict(
            goal=self._goal,
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


def _both(side: Side) -> tuple[Side, Side]:
    return (side, "below") if side == "above" else (side, "above")
