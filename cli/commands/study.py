"""``ftonnx study``: many campaigns from one file."""

import json as json_text
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import typer

from ftonnx.campaign.plan.settings import LOCAL, Jobs
from ftonnx.cli.options import ENGINE, JOBS, OUTPUT, SCHEDULER, Json
from ftonnx.cli.output import console, duration, note, number, print_json, table, warn
from ftonnx.cli.preset_options import PresetOptions
from ftonnx.cli.sample_options import SHARDS, asked_shard
from ftonnx.cli.study_bar import study_bar
from ftonnx.errors import UsageError
from ftonnx.inject import format_note
from ftonnx.studies import Mark, PlannedStep, Preset, StudyPlan, StudyResult, json_schema, plan, presets, run
from ftonnx.studies.lock import is_read_only
from ftonnx.studies.pace import work_of
from ftonnx.studies.sheets import Sheet, sheet_of, sheets_of_published
from ftonnx.words import printable

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["study"]

_MEASURING: Final = 10.0
"""Seconds of --dry-run after which no further campaign is timed."""

_SIGNS: Final = {Mark.BEST: "*", Mark.SECOND: "+", Mark.OVERLAPS: "~", Mark.WITHIN: "=", Mark.APART: "!"}
"""Which terminals without bold letters show, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """The study, and where it is kept."""

    PANEL: ClassVar[str] = "Study"

    file: Annotated[
        str | None,
        typer.Argument(metavar="STUDY", help="A file, FILE.toml, or a study that is shipped, such as paper/table3."),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            file_okay=False,
            help="The study's folder: models, campaigns, tables, charts, reports. An interrupted study in it goes on.",
        ),
    ] = None
    only: Annotated[
        tuple[str, ...],
        typer.Option(
            "--only",
            metavar="PATTERN",
            help="Only the cells with matching names, MODEL/PROTECT/QUANTIZE/DATA/FAULTS (shell style; repeatable).",
        ),
    ] = ()

    def folder(self) -> Path:
        """Return the study's folder.

        Raises:
            UsageError: it is not named.
        """
        if self.output is None:
            raise UsageError("-o DIR is missing, the folder in which the study is kept")
        return self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunOptions:
    """Where units run."""

    PANEL: ClassVar[str] = "Running"

    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="K/N",
            help="Do part K of N about equal parts, one per machine; auto reads K from a job array of Slurm, "
            "Kubernetes or PBS. Copy the parts' folders over each other, and run the study once more without it.",
        ),
    ] = None
    shards: Annotated[int | None, SHARDS] = None
    jobs: Annotated[Jobs, JOBS] = 1
    engine: Annotated[str, ENGINE] = LOCAL
    scheduler: Annotated[str | None, SCHEDULER] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputOptions:
    """What is printed in place of running."""

    PANEL: ClassVar[str] = OUTPUT

    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the plan as a tree, with what is done and units per campaign; run nothing."
        ),
    ] = False
    example: Annotated[
        bool,
        typer.Option("--example", help="Print a study to begin with, on the embedded model and data, or the preset's."),
    ] = False
    presets: Annotated[
        bool, typer.Option("--presets", help="Print what presets there are, or what the one that is named needs.")
    ] = False
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of such files, for editors.")] = False
    json: Json = False


def study(files: _FileOptions, parts: PresetOptions, running: _RunOptions, printed: _OutputOptions) -> None:
    """Run many campaigns from a file or preset: models, variants, data and faults, with tables of the results.

    Every step is kept in the folder; the same command goes on where it was, and a changed line repeats what depends on
    it. A cell that fails is reported, and the others are done.
    """
    if printed.example:
        typer.echo(parts.text_of(files.file), nl=False)
        return
    if printed.presets:
        _print_presets(files.file, as_json=printed.json)
        return
    if printed.schema:
        typer.echo(json_text.dumps(json_schema(), indent=2))
        return
    read = parts.opened(files.file)
    folder = files.folder()
    shard = asked_shard(running.shard, running.shards)
    if printed.dry_run:
        planned = plan(read, folder, only=files.only, shard=shard, jobs=running.jobs, measure=_MEASURING)
        _print_plan(planned, as_json=printed.json)
        return
    with study_bar() as progress:
        result = run(
            read,
            folder,
            only=files.only,
            shard=shard,
            jobs=running.jobs,
            engine=running.engine,
            scheduler=running.scheduler,
            progress=progress,
        )
    # before anything that can fail too, as on a full disk
    warn(f"{each.cell.name}: {_plain(each.reason)}" for each in result.failures)
    saved = _saved(result, folder)
    _print(result, as_json=printed.json)
    note(saved)
    if shard is not None:
        note(f"shard {shard} is done; copy the shards' folders over each other, and run the study without --shard")
    result.require_whole()


def _saved(result: StudyResult, folder: Path) -> str:
    """Write the tables where they can be written; say where they are."""
    if is_read_only(folder):
        return f"{folder} cannot be written to, and was only read"
    result.save(folder)
    return f"tables, charts and reports: {folder}"


def _print(result: StudyResult, *, as_json: bool) -> None:
    warn(result.warnings)
    if as_json:
        print_json(result.to_dict())
        return
    sheets = [*map(sheet_of, result.tables), *sheets_of_published(result.beside)]
    for sheet in sheets:
        _print_sheet(sheet)
    legends = dict.fromkeys(sheet.legend(_SIGNS) for sheet in sheets)
    for legend in legends:
        console().print(legend, soft_wrap=True)
    _print_fault_models(result)


def _print_fault_models(result: StudyResult) -> None:
    """Print how floats are flipped, in each way that some campaign has."""
    notes = dict.fromkeys(format_note(each.fault_space.formats) for each in result.results.values())
    for each in notes:
        if each is not None:
            console().print(_plain(each), soft_wrap=True)


def _print_sheet(sheet: Sheet) -> None:
    out = console()
    out.print(printable(sheet.title), soft_wrap=True)
    rows = table(*sheet.names, *sheet.columns, left=len(sheet.names))
    for row in sheet.rows:
        cells = []
        for cell in row.cells:
            signs = "".join(_SIGNS[mark] for mark in cell.mark)
            cells.append(f"{cell.text} {signs:<2}")
        rows.add_row(*row.names, *cells)
    out.print(rows)
    out.print()


def _print_presets(name: str | None, *, as_json: bool) -> None:
    """Print all presets, or what one of them needs."""
    found = [Preset.named(each) for each in (presets() if name is None else [name])]
    if as_json:
        print_json({"presets": [each.to_dict() for each in found]})
        return
    out = console()
    for each in found:
        out.print(f"{each.name}: {each.title}", soft_wrap=True)
    if name is None:
        out.print("What each needs is told by ftonnx study PRESET --presets; --scale small tries it without anything.")
        return
    for part in found[0].parts:
        out.print(f"{part.option}\n    {part.what}\n    {part.form}\n    {part.source}; {part.licence}", soft_wrap=True)


def _print_plan(found: StudyPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
        return
    from rich.tree import Tree

    tree = Tree(printable(found.study))
    _grow(tree, found, None)
    out = console()
    out.print(tree, soft_wrap=True)
    campaigns = [step for step in found.steps if step.kind == "campaign"]
    known = [step.units - step.recorded for step in campaigns if step.units is not None]
    unknown = len(campaigns) - len(known)
    more = f", and those of {unknown} campaigns that are not known yet" if unknown else ""
    parts = [f"{len(campaigns)} campaigns, {number(sum(known))} units to run{more}"]
    if found.seconds:
        parts.append(f"about {duration(found.seconds)} here")
    if found.left_out:
        works = Counter("campaigns" if step.kind == "campaign" else work_of(step.name) for step in found.left_out)
        parts.append("not counting " + ", ".join(f"{work} ({times})" for work, times in works.items()))
    out.print(printable(f"{', '.join(parts)}; nothing was run or written"), soft_wrap=True)


def _grow(tree: "Tree", found: StudyPlan, name: str | None) -> None:
    for step in found.after(name):
        branch = tree.add(printable(_line(step)))
        if step.kind == "model":
            _grow(branch, found, step.name)


def _line(step: PlannedStep) -> str:
    """Return a step on a line: its name, its state, and how much it is."""
    parts = [step.state]
    if step.bytes is not None:
        parts.append(f"{number(step.bytes)} bytes")
    if step.units is not None:
        parts.append(f"{number(step.recorded)} of {number(step.units)} units")
    if step.bits is not None:
        parts.append(f"N = {number(step.bits)} bits")
    if step.seconds is not None:
        as_on = "" if step.measured_on == step.source else f", as with {step.measured_on}"
        parts.append(f"about {duration(step.seconds)}{as_on}")
    if step.reason is not None:
        parts.append(_plain(step.reason))
    return f"{step.name}: {', '.join(parts)}"


def _plain(reason: str) -> str:
    """Return a message about a parameter, which is a key of the file here and no flag."""
    return reason.replace("`", "")
