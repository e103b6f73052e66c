"""``ftonnx advise``: what to harden, and what it buys."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.advice import GUARDS, Advice, Candidates
from ftonnx.advice import advise as find
from ftonnx.campaign import Settings
from ftonnx.campaign.plan.settings import Jobs
from ftonnx.campaign.plan.stopping import Budget
from ftonnx.cli.data_options import DataOptions
from ftonnx.cli.options import (
    CACHE_MEMORY,
    FEED,
    JOBS,
    OUTPUT,
    PROVIDERS,
    FaultOptions,
    Json,
    JudgingOptions,
    ModelOptions,
)
from ftonnx.cli.output import Bar, console, note, percent, print_fault_model, print_json, progress_bar, table
from ftonnx.cli.verdicts import VERDICT_CODES, VERDICT_STYLES
from ftonnx.errors import UsageError
from ftonnx.files import check_target, write_file
from ftonnx.gates import Goal
from ftonnx.inject.guards import ProtectionPlan
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.words import printable, split_names

__all__ = ["advise"]

_NEEDED: Final = {
    "FAIL": "without its last guard the plan misses the goal: a campaign shows that",
    "INCONCLUSIVE": "whether the last guard is needed was not decided within the budget",
}


def _goal(text: str) -> Goal:
    """Read ``RATE:ACCURACY``, or a goal as a gate's text.

    Raises:
        UsageError: it is neither.
    """
    if text[:1].isdecimal():
        if ":" not in text:
            raise UsageError(f"RATE:ACCURACY such as 1e-6:0.90 was expected, got {text!r}")
        return Goal.parse("min-accuracy", text)
    return Goal.of(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _GoalOptions:
    """What the model must reach, and by what."""

    PANEL: ClassVar[str] = "Goal and guards"

    goal: Annotated[
        Goal,
        typer.Option(
            "--goal",
            metavar="R:X",
            parser=_goal,
            help="Top-1 at fault rate R at least X: 1e-6:0.90; or 'max-drop R:X'.",
        ),
    ]
    guards: Annotated[
        tuple[str, ...],
        typer.Option("--guards", metavar="NAMES", parser=split_names, help="Which guards may be used."),
    ] = GUARDS
    word_bits: Annotated[int, typer.Option("--word-bits", metavar="N", help="Data bits of a code word, 32 or 64.")] = 64
    reload: Annotated[
        bool,
        typer.Option("--reload", help="What a guard detects is read again from storage; else it is set to zero."),
    ] = False
    also: Annotated[
        tuple[str, ...],
        typer.Option("--also", metavar="MODEL", help="Try this model too, such as a clipped one (repeatable)."),
    ] = ()
    confidence: Annotated[
        float, typer.Option("--confidence", metavar="C", help="Of the ranking, and of each campaign's verdict.")
    ] = CONFIDENCE
    budget: Annotated[
        Budget | None,
        typer.Option(
            "--budget",
            metavar="TIME|UNITS",
            parser=Budget.parse,
            help="Of each measurement of single faults, and of each campaign that tries a plan.  "
            "[default: 5min, and 10min]",
        ),
    ] = None

    @property
    def candidates(self) -> Candidates:
        """What may be used, and what is compared.

        Raises:
            UsageError: a value makes no sense.
        """
        return Candidates(guards=self.guards, word_bits=self.word_bits, reloads=self.reload, models=self.also)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunningOptions(JudgingOptions):
    """How campaigns run."""

    seed: Annotated[int, typer.Option("--seed", help="Of all that is drawn, 0 to 2^64 - 1.")] = 0
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="Threads per session.  [default: ONNX Runtime's choice]"),
    ] = None
    jobs: Annotated[Jobs, JOBS] = 1
    providers: Annotated[tuple[str, ...], PROVIDERS] = ("cpu",)
    feed: Annotated[tuple[str, ...], FEED] = ()
    cache_memory: Annotated[int | None, CACHE_MEMORY] = None

    def settings(self, faults: FaultOptions, asked: _GoalOptions) -> Settings:
        """Return the library's settings.

        Raises:
            UsageError: a value makes no sense.
        """
        return Settings(
            seed=self.seed,
            output=self.model_output,
            feeds=self.feed,
            format=faults.format,
            roles=faults.roles,
            include=faults.include,
            exclude=faults.exclude,
            bits=faults.bits,
            providers=self.providers,
            threads=self.threads,
            jobs=self.jobs,
            cache_memory=self.cache_memory,
            confidence=asked.confidence,
            budget=asked.budget,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputOptions:
    """What is printed and written."""

    PANEL: ClassVar[str] = OUTPUT

    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PLAN.toml", help="The plan, for --protection of inject and gate."),
    ] = None
    chart: Annotated[
        Path | None,
        typer.Option("--chart", metavar="FILE", help="Draw cost against accuracy: a PNG, SVG or PDF file."),
    ] = None
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            file_okay=False,
            help="Folder for the results folders of all campaigns, which go on in it.  [default: a temporary one]",
        ),
    ] = None
    json: Json = False

    def check(self) -> None:
        """Find out before the work whether the files can be written.

        Raises:
            UsageError: one cannot.
        """
        if self.chart is not None:
            from ftonnx.report.drawing import check_chart_name  # loads the chart libraries

            check_chart_name(self.chart)
        for file in (self.output, self.chart):
            if file is not None:
                check_target(file)

    def finish(self, advice: Advice, formats: Collection[str]) -> None:
        """Write and print what was found.

        Args:
            advice: it.
            formats: of the tensors that can flip.
        """
        if self.output is not None and advice.plan is not None:
            self._save(advice, advice.plan, self.output)
        elif self.output is not None and self.output.is_file():
            # it would pass for what is advised here
            self.output.unlink()
            note(f"no plan is advised; {self.output}, which was written before, is removed")
        if self.chart is not None:
            from ftonnx.report.pareto_chart import save_pareto_chart  # loads the chart libraries

            save_pareto_chart(advice, self.chart)
            note(f"chart: {self.chart}")
        if self.results is not None:
            note(f"results: {advice.results}")
        # last, as a reader such as head may close the pipe, which ends the command
        if self.json:
            print_json(advice.to_dict())
        else:
            _print(advice, formats)

    def _save(self, advice: Advice, plan: ProtectionPlan, path: Path) -> None:
        """Write the plan; one that is not shown to be enough says so itself, as files are found without the line."""
        if advice.verdict == "PASS":
            plan.save(path)
            note(f"plan: {path}")
            return
        write_file(f"# This plan {advice.outcome}.\n{plan.to_toml()}".encode(), path)
        note(f"plan, which {advice.outcome}: {path}")


def advise(
    network: ModelOptions,
    asked: _GoalOptions,
    images: DataOptions,
    faults: FaultOptions,
    running: _RunningOptions,
    written: _OutputOptions,
) -> None:
    """Say what to harden so that a model reaches an accuracy under bit flips, and what that costs.

    Single faults tell what flips cost; the cheapest guards are searched by that, and tried by campaigns of their own.
    Exits with 0 (PASS: the plan, or the model as it is, meets the goal), 1 (FAIL: no plan does) or 3 (INCONCLUSIVE:
    the budget was spent before).
    """
    written.check()
    candidates = asked.candidates
    settings = running.settings(faults, asked)
    model = network.open()
    space = faults.space(model)
    space.require_stored("guards")
    dataset = images.open(model)
    with progress_bar(printable(f"{model.name} on {dataset.name}")) as bar:
        advice = find(
            model,
            dataset,
            asked.goal,
            candidates=candidates,
            task=running.task,
            settings=settings,
            results=written.results,
            progress=_Told(bar),
        )
    written.finish(advice, space.formats)
    raise typer.Exit(VERDICT_CODES[advice.verdict])


class _Told:
    """Moves a bar, and says beside it what is done."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def __call__(self, what: str, done: int, total: int) -> None:
        """So many units are done."""
        self._bar.say(what)
        self._bar(done, total)


def _print(advice: Advice, formats: Collection[str]) -> None:
    from rich.text import Text  # the console's own library, which takes a moment

    out = console()
    out.print(Text(printable(advice.headline), style=VERDICT_STYLES[advice.verdict]), soft_wrap=True)
    out.print(
        f"fault-free {advice.headline_label} {percent(advice.golden)} on {printable(advice.data)}", soft_wrap=True
    )
    print_fault_model(formats)
    if advice.guards:
        rows = table("guard", "of each element", "tensors", "check bits", "share", "without it", left=3)
        for guard in advice.guards:
            number = len(guard.tensors)
            names = printable(guard.tensors[0]) if number == 1 else f"{number} tensors"
            cells = (f"{guard.check_bits:,}", percent(guard.share), percent(guard.without))
            rows.add_row(guard.by, guard.bits_text, names, *cells)
        out.print(rows)
    if advice.needed in _NEEDED:
        out.print(_NEEDED[advice.needed], soft_wrap=True)
    tried = table("tried by a campaign", "check bits", "share", "predicted", "found", "at least", "at most", "verdict")
    for each in advice.tried:
        found = each.accuracy
        limits = ["-"] * 3 if found is None else [percent(x) for x in (found.mean, found.low, found.high)]
        cost = (f"{each.check_bits:,}", percent(each.share))
        predicted = "-" if each.predicted is None else percent(each.predicted)
        tried.add_row(printable(each.name), *cost, predicted, *limits, each.verdict)
    out.print(tried)
    if advice.ranking is not None:
        ranking = advice.ranking
        certain = "certain" if ranking.is_certain else "not certain"
        out.print(
            f"{ranking.injections:,} single faults: {ranking.guarded:,} of {ranking.strata:,} groups of bits need a "
            f"guard, which is {certain} at {100 * advice.confidence:g} %",
            soft_wrap=True,
        )
