"""What to harden, and what it buys: measured by single faults, predicted, searched, and verified by campaigns."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ftonnx.advice.candidates import Candidates
from ftonnx.advice.findings import find
from ftonnx.advice.hardening import Hardening
from ftonnx.advice.prediction import loss_allowed
from ftonnx.advice.result import Advice, FrontierPoint
from ftonnx.advice.subject import Progress, Subject
from ftonnx.advice.trials import Trials
from ftonnx.campaign.arguments import check_arguments
from ftonnx.campaign.inputs import DataLike, ModelLike, open_data, open_model
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import Budget
from ftonnx.campaign.store.temporary import keep_results, temporary_results
from ftonnx.errors import Interrupted, UsageError
from ftonnx.gates import Goal
from ftonnx.inject import BitFlipRates, OnnxModel
from ftonnx.tasks import Task
from ftonnx.words import percent

__all__ = ["advise"]

_LEFT_OUT: Final = ("repeats", "precision", "shard", "images", "protection")


def advise(
    model: ModelLike,
    data: DataLike,
    goal: Goal | str,
    *,
    candidates: Candidates | None = None,
    task: Task | None = None,
    settings: Settings | None = None,
    results: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Advice:
    """Say what to harden in a model so that it reaches an accuracy under bit flips, and what that costs.

    Single faults tell what flips of each bit of each tensor cost; the cheapest guards are searched by what they leave
    over of that, and tried by campaigns with seeds of their own, until one shows that the goal is met.

    Args:
        model: as in ``evaluate``.
        data: as in ``evaluate``.
        goal: ``min-accuracy 1e-6:0.90`` or ``max-drop 1e-6:0.02``, as a gate takes them.
        candidates: what may be used, and what else is compared; all guards by default.
        task: as in ``evaluate``.
        settings: how campaigns are run, see ``Settings``. Of these, ``confidence``: of the ranking and of each verdict.
            ``budget``: of the measurement (5 minutes by default), and of each trial (10 minutes).
        results: folder for the results folders of all campaigns, which go on in it; a temporary one by default.
        progress: called after every unit with (what is done, done, most).
        **options: fields of ``Settings``, in place of those in ``settings``.

    Raises:
        UsageError: the goal is none of these, or out of reach of any protection.
        FtonnxError: one of its children, as ``evaluate``.
    """
    began = time.monotonic()
    used = _settings(settings, options)
    asked = Goal.of(goal)
    if asked.kind == "max_sdc" or asked.rate is None:
        got = "a goal without a rate" if asked.rate is None else asked.name
        raise UsageError(
            "advice is about an accuracy at a rate: min-accuracy 1e-6:0.90 or max-drop 1e-6:0.02 was expected, "
            f"got {got}"
        )
    check_arguments(task=task, results=results, progress=progress)
    loaded = open_model(model)
    chosen = candidates or Candidates()
    others = [open_model(other) for other in chosen.models]
    subject = Subject(
        model=loaded,
        data=open_data(data, loaded),
        task=task,
        settings=replace(used, budget=None),
        budget=Budget.parse(used.budget) if isinstance(used.budget, str) else used.budget,
        folder=temporary_results() if results is None else Path(results).absolute(),
        progress=progress or _ignore,
    )
    try:
        found = _advice(subject, asked, chosen, others)
    except Interrupted as error:
        # not the folder of one campaign: the advice goes on
        error.results = subject.folder
        error.is_temporary = results is None
        if results is None:
            keep_results(subject.folder)
        raise
    return replace(found, seconds=time.monotonic() - began)


def _advice(subject: Subject, asked: Goal, candidates: Candidates, others: Sequence[OnnxModel]) -> Advice:
    """Measure, search and try."""
    clean = subject.run("golden", "fault-free runs", BitFlipRates(0.0), repeats=1)
    golden = clean.clean
    goal = _accuracy_goal(asked, golden)
    trials = Trials(subject=subject, goal=goal)
    unhardened = trials.add("as it is", None)
    for other in others:
        trials.add(other.name, None, model=other)
    ranking = None
    hardened = None
    frontier: tuple[FrontierPoint, ...] = ()
    if unhardened.verdict != "PASS":
        allowed = loss_allowed(goal.bound, golden)
        assert goal.rate is not None  # it was checked
        findings = find(subject, candidates, goal.rate, allowed)
        ranking = findings.ranking
        hardening = Hardening(trials, candidates, findings, golden=golden, allowed=allowed)
        hardened = hardening.run()
        hardening.compare(hardened)
        frontier = hardening.frontier()
    return Advice(
        goal=goal,
        golden=golden,
        model=subject.model.name,
        data=subject.data.name,
        confidence=subject.settings.confidence,
        verdict=unhardened.verdict if hardened is None else hardened.verdict,
        plan=None if hardened is None else hardened.plan,
        guards=() if hardened is None else hardened.guards,
        tried=tuple(trials.tried),
        needed=None if hardened is None else hardened.needed,
        frontier=frontier,
        ranking=ranking,
        bits=subject.space.bits,
        stored_bits=subject.stored_bits,
        results=subject.folder,
        seconds=0.0,
        headline_label=clean.task.main.label,
    )


def _settings(settings: Settings | None, options: dict[str, Any]) -> Settings:
    """Return the settings of an advisor, which decides by itself what is run and protected.

    Raises:
        UsageError: one of these is asked for.
    """
    used = Settings.of(settings, options)
    for name in _LEFT_OUT:
        if getattr(used, name) is not None:
            raise UsageError(f"the advisor decides itself what its campaigns run: no `{name}` was expected")
    return used


def _accuracy_goal(asked: Goal, golden: float) -> Goal:
    """Return a goal as an accuracy that is to be reached.

    Raises:
        UsageError: no protection reaches it.
    """
    bound = asked.bound if asked.kind == "min_accuracy" else golden - asked.bound
    if not 0 < bound < golden:
        raise UsageError(
            f"goal: an accuracy above 0 and below the fault-free {percent(golden)} was expected, got {percent(bound)}"
        )
    return Goal("min_accuracy", bound, asked.rate)


def _ignore(what: str, done: int, total: int) -> None:
    """Show no progress."""
