"""A gate: may a model ship? As many fault patterns are run as the verdict needs.

Not aware of JUnit, Markdown, or exit codes.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.arguments import check_arguments
from ftonnx.campaign.campaign import Campaign, Progress
from ftonnx.campaign.inputs import DataLike, ModelLike, open_data, open_model
from ftonnx.campaign.notebook_progress import shown_progress
from ftonnx.campaign.plan.order import Draws
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import MOST_ROUNDS, Budget, Stopping
from ftonnx.campaign.run.rounds import Rule
from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError
from ftonnx.gates.evidence import DrawnEvidence, Evidence, RoundEvidence
from ftonnx.gates.goals import Goal, resolve_goals
from ftonnx.gates.verdict import GateVerdict, GoalVerdict, Verdict
from ftonnx.inject import BitFlipRates, flips_in
from ftonnx.inject.fault_models.of_environment import require_stored
from ftonnx.stats.betting import Question, parse_question
from ftonnx.stats.differences import holm
from ftonnx.stats.estimate import check_confidence
from ftonnx.tasks import SIZE, Counts, Task, default_task
from ftonnx.words import interval, some_of

__all__ = ["DEFAULT_BUDGET", "GateRule", "gate"]

DEFAULT_BUDGET: Final = Budget(seconds=600)
_NO_BETTER: Final = "because the fault-free accuracy is near chance"
_FEW_IMAGES: Final = 2  # that share a pattern where batches are drawn: a verdict needs many patterns, of any images
_LEAST_BATCHES: Final = 16  # of fewer, whole rounds are as quick
_TELLING: Final = 100  # images tell whether an accuracy is near chance
_LIKELY: Final = 0.5  # from such a p-value on, a goal may pass soon


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
            ``budget``: ten minutes by default. ``question``: what images the verdict is for. ``format``: ``auto`` as in
            ``evaluate``, with which the command line asks a model that stores floats.
        environment: a TOML file or an ``Environment``, whose rate goals with ``env`` in place of a rate get. Where
            its upsets flip several bits, they do so at all rates. Not with activations, which no memory holds between
            runs.
        results: results folder; an earlier run's units in it count.
        progress: called after every unit with (recorded, most); a bar by default where a notebook runs this.
        **options: fields of ``Settings``, in place of those in ``settings``.

    Raises:
        FtonnxError: one of its children, as ``evaluate``.

    >>> verdict = gate("digits", "digits", ["min-accuracy 1e-4:0.90"], threads=1, strategy="live")
    >>> verdict.verdict, verdict.units
    ('FAIL', 8)
    """
    used = _settings(settings, options)
    place = Environment.from_toml(environment) if isinstance(environment, str | Path) else environment
    wanted = resolve_goals(goals, place)
    check_arguments(task=task, results=results, progress=progress)
    if place is not None:
        require_stored(used.roles)
    rates = [goal.rate for goal in wanted if goal.rate is not None]
    faults = BitFlipRates(rates) if place is None else flips_in(place, rates)
    loaded = open_model(model)
    campaign = Campaign(
        loaded,
        open_data(data, loaded),
        faults,
        task=task,
        settings=used,
        results=results,
        usual_images=_FEW_IMAGES if _can_draw(wanted, used, task) else None,
    )
    return _decided(campaign, wanted, progress or shown_progress(f"{loaded.name}, a gate"))


def _settings(settings: Settings | None, options: dict[str, Any]) -> Settings:
    """Return the settings of a gate, which decides by itself how many patterns are run.

    Raises:
        UsageError: a number of repeats or a precision is asked for.
    """
    used = Settings.of(settings, options).begun()
    for name in ("repeats", "precision"):
        if getattr(used, name) is not None:
            raise UsageError(f"a gate runs as many patterns as its verdict needs: no {name} was expected")
    return replace(used, budget=used.budget or DEFAULT_BUDGET)


def _can_draw(goals: Sequence[Goal], settings: Settings, task: Task | None) -> bool:
    """Say whether the mean over all images is that over batches drawn by their images; of no known task, it is."""
    if settings.question != "these-images":
        return False
    if task is None:
        return True
    if task.compares_images or not task.judges_images:
        return False
    return all(goal.fraction(task).whole == SIZE for goal in goals)


def _draws(campaign: Campaign, goals: Sequence[Goal]) -> Draws | None:
    """Return the order in which batches are drawn; None where they are met round by round."""
    images = len(campaign.data)
    if campaign.schedule.batches(images) < _LEAST_BATCHES or not _can_draw(goals, campaign.settings, campaign.task):
        return None
    return Draws(
        images,
        campaign.schedule.images_per_unit,
        campaign.schedule.repeats,
        seed=campaign.settings.seed,
        by_passes=not campaign.data.any_order,
    )


def _decided(campaign: Campaign, goals: Sequence[Goal], progress: Progress | None) -> GateVerdict:
    """Run a campaign at the goals' rates until every goal, or one failure, is decided."""
    stopping = campaign.settings.stopping or Stopping(budget=DEFAULT_BUDGET)
    batches = campaign.schedule.batches(len(campaign.data))
    draws = _draws(campaign, goals)
    rule = GateRule(
        goals,
        task=campaign.task,
        question=stopping.question,
        confidence=stopping.confidence,
        classes=campaign.data.classes,
        drawn_of=None if draws is None else batches,
        may_skip=not campaign.keeps_results,
    )
    budget = stopping.budget or Budget()
    with campaign.by_rounds(rule, stopping, order=draws, progress=progress) as (store, enough):
        golden = store.golden()
        seen = Counts.total(golden.values()) if golden else None
        why = f"after {MOST_ROUNDS:,} rounds" if enough else f"within the budget of {budget}"
        return GateVerdict(
            verdict=rule.verdict,
            goals=rule.verdicts(why),
            golden=None if seen is None else campaign.task.main.of(seen),
            golden_images=None if seen is None or len(golden) == batches else seen.n,
            model=campaign.model.name,
            data=campaign.data.name,
            question=stopping.question,
            confidence=stopping.confidence,
            budget=budget,
            units=len(store.recorded()) + store.quiet(),
            seconds=rule.seconds,
            results=store.path,
            warnings=(*rule.warnings, *campaign.cautions),
            machine_warnings=campaign.machine_cautions,
            headline_label=campaign.task.main.label,
            faults_note=campaign.schedule.faults.note,
        )


class GateRule(Rule):
    """Collects evidence on all goals until each has passed, or one has failed.

    A goal passes at level alpha = 1 - confidence without correction for their number, because all must
    (intersection-union test). Failures are corrected by Holm's method, so that a model which reaches all
    goals fails with probability alpha at most.

    Where the fault-free accuracy is near chance, no goal passes: a model that guesses loses nothing. Then only goals of
    an accuracy that is not there without faults either are tested on, which fail. Whole rounds tell that accuracy.
    Where batches are drawn, no goal passes before a hundred images were met, and if these are near chance, the others
    are looked at too.
    """

    def __init__(
        self,
        goals: Sequence[Goal],
        *,
        question: Question,
        confidence: float,
        classes: int | None = None,
        task: Task | None = None,
        drawn_of: int | None = None,
        may_skip: bool = False,
    ) -> None:
        """Know nothing yet.

        Args:
            goals: at rates.
            question: what images the verdict is for.
            confidence: of every goal's verdict.
            classes: that the data know; None where labels are no class numbers.
            task: what the counts mean.
            drawn_of: how many batches those are drawn from that it is shown; None for whole rounds.
            may_skip: patterns without a flip need not be recorded where no goal depends on them.
        """
        task = task or default_task()
        self._task = task
        self._classes = classes
        self._drawn_of = drawn_of
        self._may_skip = may_skip
        self._met: dict[float, Counts] = {}
        self._is_known = drawn_of is None
        self._may_pass = False
        self._caution = ""
        self._alpha = 1 - check_confidence(confidence)
        asked = parse_question(question)
        self._evidence: list[Evidence] = []
        for goal in goals:
            if drawn_of is None:
                self._evidence.append(RoundEvidence(goal, task, asked, confidence))
            else:
                self._evidence.append(DrawnEvidence(goal, task, confidence, batches=drawn_of))
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def open_rates(self) -> tuple[float, ...]:
        """The rates of undecided goals; none once a goal has failed."""
        return tuple(sorted({each.rate for each in self._open}))

    @property
    def _open(self) -> list[Evidence]:
        if self.verdict == "FAIL":
            return []
        undecided = [each for each in self._evidence if each.verdict == "INCONCLUSIVE"]
        return [each for each in undecided if self._can_be_decided(each)]

    @property
    def needs_every_golden(self) -> bool:
        """See ``Rule``: those met so far are near chance, or a goal is bet on against all of them."""
        if self._is_known or self.verdict == "FAIL":
            return False
        return bool(self._caution) or any(each.needs_every_golden for each in self._open)

    @property
    def needs_quiet(self) -> bool:
        """See ``Rule``: an accuracy does, and who may pass soon, before it is known whether the model guesses."""
        if not self._may_skip:
            return True
        undecided = [each for each in self._evidence if each.verdict == "INCONCLUSIVE"]
        if any(each.needs_quiet for each in undecided):
            return True
        return not self._may_pass and any(each.p_pass < _LIKELY for each in undecided)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the verdict must know first."""
        caution = self._caution or self._early_caution()
        return (caution,) if caution else ()

    def _early_caution(self) -> str | None:
        """Say that the few images met before a failure are near chance, which may be its cause."""
        if self._may_pass or not self._met:
            return None
        met = max(self._met.values(), key=lambda total: total.n)
        return self._task.caution(self._task.main.of(met), self._classes, of=f" of {met.n} images")

    def _can_be_decided(self, goal: Evidence) -> bool:
        return not self._caution or goal.out_of_reach

    def add(
        self,
        rate: float,
        found: Sequence[Counts],
        golden: Sequence[Counts],
        quiet: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take in a portion at one rate."""
        self._meet(rate, golden)
        for each in self._evidence:
            if each.rate == rate and each.verdict == "INCONCLUSIVE":
                each.add(found, golden, quiet)
        self._settle()

    def know(self, golden: Sequence[Counts]) -> None:
        """Take in what all batches give without faults."""
        self._is_known = True
        self._take_in(Counts.total(golden))
        for each in self._evidence:
            if each.verdict == "INCONCLUSIVE":
                each.know(golden)
        self._settle()

    def _meet(self, rate: float, golden: Sequence[Counts]) -> None:
        """Take in the fault-free outcomes of a portion."""
        if not golden:
            return
        total = Counts.total(golden)
        if self._drawn_of is None:
            self._take_in(total)
        elif not self._is_known:
            self._met[rate] = total + self._met[rate] if rate in self._met else total
            # of fewer images nothing can be said
            if self._met[rate].n >= _TELLING:
                self._take_in(self._met[rate])

    def _take_in(self, golden: Counts) -> None:
        """Say whether the fault-free accuracy, of all images or of those met, is near chance."""
        images = "" if self._is_known else f" of {golden.n} images"
        self._caution = self._task.caution(self._task.main.of(golden), self._classes, of=images) or ""
        self._may_pass = not self._caution

    def _settle(self) -> None:
        """Decide what can be decided."""
        for each in self._evidence:
            if each.verdict == "INCONCLUSIVE" and each.p_pass <= self._alpha and self._may_pass:
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

    @property
    def so_far(self) -> str:
        """The verdict or the limits of every goal, in their order."""
        return some_of([_shortly(each) for each in self.verdicts("")])

    def verdicts(self, why: str) -> tuple[GoalVerdict, ...]:
        """Return the goals' verdicts.

        Args:
            why: when undecided goals were given up.
        """
        why = "before another goal failed" if self.verdict == "FAIL" else why
        return tuple(
            each.summary(self.seconds, why if self._can_be_decided(each) else _NO_BETTER) for each in self._evidence
        )


def _shortly(goal: GoalVerdict) -> str:
    """Return what is known of a goal: its verdict, else its limits."""
    if goal.verdict != "INCONCLUSIVE":
        return goal.verdict
    limits = goal.estimate
    return "open" if limits is None else interval(limits.low, limits.high, 1)
