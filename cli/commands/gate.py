"""``ftonnx gate``: may a model ship?"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.campaign.plan.stopping import Budget
from ftonnx.cli.data_options import DataOptions
from ftonnx.cli.github import Level, annotation, on_github
from ftonnx.cli.options import OUTPUT, FaultOptions, Json, ModelOptions, RunOptions
from ftonnx.cli.output import (
    SayingWhatIsThere,
    console,
    note_results,
    percent,
    print_fault_model,
    print_json,
    progress_bar,
    table,
)
from ftonnx.cli.protection import print_protection
from ftonnx.cli.verdicts import VERDICT_CODES, VERDICT_STYLES
from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError
from ftonnx.files import check_target, write_file
from ftonnx.gates import GateVerdict, Goal
from ftonnx.gates import gate as decide
from ftonnx.gates.goals import resolve_goals
from ftonnx.inject import AUTO, FORMAT_KEY, GuardedMemory, OnnxModel, format_note
from ftonnx.inject.guards import PlanCost
from ftonnx.stats.betting import Question, parse_question
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.words import printable

__all__ = ["gate"]

_LEVELS: Final[dict[str, Level]] = {"PASS": "notice", "FAIL": "error", "INCONCLUSIVE": "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _GoalOptions:
    """What the model must reach, and what may be spent to find out."""

    PANEL: ClassVar[str] = "Goals"

    min_accuracy: Annotated[
        list[Goal] | None,
        typer.Option(
            "--min-accuracy",
            metavar="R:X",
            parser=partial(Goal.parse, "min-accuracy"),
            help="Top-1 at fault rate R at least X: 1e-6:0.90 (repeatable).",
        ),
    ] = None
    max_drop: Annotated[
        list[Goal] | None,
        typer.Option(
            "--max-drop",
            metavar="R:X",
            parser=partial(Goal.parse, "max-drop"),
            help="Fault-free top-1 minus that at R at most X: 1e-6:0.02 (repeatable).",
        ),
    ] = None
    max_sdc: Annotated[
        list[Goal] | None,
        typer.Option(
            "--max-sdc",
            metavar="R:X",
            parser=partial(Goal.parse, "max-sdc"),
            help="SDC-1 at fault rate R at most X: 1e-7:0.01 (repeatable).",
        ),
    ] = None
    goals: Annotated[
        list[Goal] | None,
        typer.Option("--goals", hidden=True, parser=Goal.of, help="The tables [[goals]] of a file."),
    ] = None
    confidence: Annotated[float, typer.Option("--confidence", metavar="C", help="Of every goal's verdict.")] = (
        CONFIDENCE
    )
    budget: Annotated[
        Budget | None,
        typer.Option(
            "--budget",
            metavar="TIME|UNITS",
            parser=Budget.parse,
            help="Inconclusive after 10min, 500units, or 10min,500units.  [default: 10min]",
        ),
    ] = None
    question: Annotated[
        Question,
        typer.Option(
            "--question",
            metavar="NAME",
            parser=parse_question,
            help="What the verdict is about: these-images, or new-images too.",
        ),
    ] = "these-images"
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment", metavar="FILE.toml", help="Gives the rate of goals with env in place of R, as env:0.90."
        ),
    ] = None

    def read(self) -> tuple[list[Goal], Environment | None]:
        """Return all goals, and the environment whose rate those get that leave it open.

        Raises:
            UsageError: there is no goal, or the environment is missing or not needed.
        """
        goals: list[Goal] = []
        for given in (self.goals, self.min_accuracy, self.max_drop, self.max_sdc):
            goals += given or ()
        place = None if self.environment is None else Environment.from_toml(self.environment)
        # found out before the work whether they make sense together
        resolve_goals(goals, place)
        return goals, place


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputOptions:
    """What is printed and written."""

    PANEL: ClassVar[str] = OUTPUT

    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            file_okay=False,
            help="Results folder; its units count, so that a larger budget continues.  [default: a temporary one]",
        ),
    ] = None
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE.xml", help="Also write one JUnit test case per goal.")
    ] = None
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE.md", help="Also write a summary for a pull request's comment."),
    ] = None
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github",
            help="Annotate the run of GitHub Actions, on stderr.  [default: where GITHUB_ACTIONS is true]",
            show_default=False,
        ),
    ] = None
    json: Json = False

    def check(self) -> None:
        """Find out before the work whether the files can be written.

        Raises:
            UsageError: one cannot.
        """
        for file in (self.junit, self.markdown):
            if file is not None:
                check_target(file)

    def finish(self, verdict: GateVerdict, formats: Collection[str], memory: GuardedMemory | None, seed: int) -> None:
        """Print and write what was found.

        Args:
            verdict: it.
            formats: of the tensors that can flip.
            memory: what protects their bits; None where nothing does.
            seed: of the fault patterns.
        """
        if self.json:
            protection = {} if memory is None else {"protection": PlanCost.of(memory).to_dict()}
            print_json(verdict.to_dict() | protection)
        else:
            _print_verdict(verdict, formats, memory)
        if self.junit is not None:
            write_file(_junit(verdict, seed).encode(), self.junit)
        if self.markdown is not None:
            write_file(_markdown(verdict).encode(), self.markdown)
        if self.github or (self.github is None and on_github()):
            _annotate(verdict)
        note_results(self.results)


def gate(
    network: ModelOptions,
    asked: _GoalOptions,
    images: DataOptions,
    faults: FaultOptions,
    running: RunOptions,
    written: _OutputOptions,
) -> None:
    """Decide whether a model reaches its goals under bit flips, with as few fault patterns as that takes.

    Exits with 0 (PASS: every goal is reached), 1 (FAIL: one is not) or 3 (INCONCLUSIVE: the budget was spent before).
    """
    written.check()
    goals, place = asked.read()
    settings = running.settings(faults, budget=asked.budget, question=asked.question, confidence=asked.confidence)
    model = network.open()
    space = faults.space(model)
    formats = space.formats
    memory = None if settings.protection is None else GuardedMemory(settings.protection, space)
    _require_format(faults, model, formats)
    dataset = images.open(model)
    with progress_bar(printable(f"{model.name} on {dataset.name}"), settings.deadline) as progress:
        verdict = decide(
            model,
            dataset,
            goals,
            task=running.outcomes(),
            settings=settings,
            environment=place,
            results=written.results,
            progress=SayingWhatIsThere(progress),
        )
    written.finish(verdict, formats, memory, running.seed)
    raise typer.Exit(VERDICT_CODES[verdict.verdict])


def _require_format(faults: FaultOptions, model: OnnxModel, formats: Collection[str]) -> None:
    """Ask how the device holds floats, where the model has some and nobody has said it: the verdict depends on it.

    Raises:
        UsageError: nobody has.
    """
    if faults.format != AUTO or FORMAT_KEY in model.metadata or format_note(formats) is None:
        return
    raise UsageError(
        f"--format is missing: {model.name} stores floats, and the verdict depends on how the device holds them; "
        "ieee, q15.16 (fixed point, as in the paper), or another qM.N was expected"
    )


def _print_verdict(verdict: GateVerdict, formats: Collection[str], memory: GuardedMemory | None) -> None:
    from rich.text import Text  # the console's own library, which takes a moment

    out = console()
    out.print(Text(printable(verdict.headline), style=VERDICT_STYLES[verdict.verdict]), soft_wrap=True)
    for warning in verdict.warnings:
        out.print(f"warning: {warning}", soft_wrap=True)
    print_protection(memory)
    print_fault_model(formats, verdict.faults_note)
    rows = table("goal", "verdict", "found", "at least", "at most", "patterns", left=2)
    for cells in _rows(verdict):
        rows.add_row(*cells)
    out.print(rows)
    for each in verdict.goals:
        if each.verdict != "PASS":
            out.print(f"{each.name}: {each.message}", soft_wrap=True)


def _annotate(verdict: GateVerdict) -> None:
    """Write an annotation for every warning and every goal to stderr, so that JSON on stdout stays alone."""
    title = printable(f"ftonnx gate {verdict.model}")
    lines = [annotation("warning", title, printable(warning)) for warning in verdict.warnings]
    for each in verdict.goals:
        message = f"{each.verdict}: {each.name}: {each.message}"
        lines.append(annotation(_LEVELS[each.verdict], title, printable(message)))
    for line in lines:
        typer.echo(line, err=True)


def _rows(verdict: GateVerdict) -> list[list[str]]:
    """Return a row per goal: name, verdict, estimate, lower and upper limit, fault patterns."""
    rows = []
    for each in verdict.goals:
        estimate = each.estimate
        found = ["-"] * 3 if estimate is None else [percent(x) for x in (estimate.mean, estimate.low, estimate.high)]
        rows.append([each.name, each.verdict, *found, f"{each.patterns:,}"])
    return rows


def _junit(verdict: GateVerdict, seed: int) -> str:
    from ftonnx.report import Case, junit_xml  # charts come with it, which only this option pays for

    cases = [
        Case(name=each.name, verdict=each.verdict, message=each.message, seconds=each.seconds) for each in verdict.goals
    ]
    facts = {
        "data": verdict.data,
        "question": verdict.question,
        "confidence": f"{verdict.confidence:g}",
        "seed": str(seed),
    }
    facts |= {} if verdict.faults_note is None else {"faults": verdict.faults_note}
    facts |= {"warning": "; ".join(verdict.warnings)} if verdict.warnings else {}
    return junit_xml(f"ftonnx gate {verdict.model}", cases, properties=facts)


def _markdown(verdict: GateVerdict) -> str:
    from ftonnx.report import markdown_table, markdown_text

    limits = f"at least and at most hold with {100 * verdict.confidence:g} % confidence each, for " + (
        "these images" if verdict.question == "these-images" else "new images too"
    )
    header = ("goal", "verdict", "found", "at least", "at most", "fault patterns")
    remarks = [f"- {markdown_text(f'{each.name}: {each.message}')}" for each in verdict.goals]
    warnings = [f"**Warning:** {markdown_text(warning)}." for warning in verdict.warnings]
    faults = [] if verdict.faults_note is None else [markdown_text(verdict.faults_note)]
    head = [f"**{markdown_text(verdict.headline)}**", *warnings, *faults]
    parts = [*head, markdown_table(header, _rows(verdict), left=2)]
    return "\n\n".join([*parts, "\n".join(remarks), f"{limits[0].upper()}{limits[1:]}."]) + "\n"
