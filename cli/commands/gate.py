"""``ftonnx gate``: may a model ship?"""

from pathlib import Path
from typing import Annotated, Final

import typer

from ftonnx.campaign import GateVerdict, Goal
from ftonnx.campaign import gate as decide
from ftonnx.campaign.environment import Environment
from ftonnx.campaign.estimate import CONFIDENCE
from ftonnx.campaign.evaluate import open_model
from ftonnx.campaign.evidence import parse_target
from ftonnx.campaign.gate import DEFAULT_BUDGET
from ftonnx.campaign.goals import GateFile, resolve_goals
from ftonnx.campaign.rounds import Budget, Stopping
from ftonnx.cli.options import (
    Bits,
    CacheMemory,
    Channels,
    Crop,
    Exclude,
    FormatName,
    Include,
    Json,
    Limit,
    Mean,
    Model,
    Resize,
    Scale,
    Split,
    Std,
    Targets,
    parse_bits,
    parse_bytes,
    parse_preprocess,
    split_names,
)
from ftonnx.cli.output import console, note, percent, print_json, progress_bar, shown, table
from ftonnx.datasets import load_dataset
from ftonnx.export import check_target, write_file

__all__ = ["gate"]

_EXIT_CODES: Final = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}


def gate(
    model: Model,
    data: Annotated[
        str,
        typer.Option("--data", metavar="SPEC", help="digits, npz:PATH, folder:PATH, or PATH/file.py:function."),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="GATE.toml",
            help="Goals, confidence, budget, target, environment; options come before it.",
        ),
    ] = None,
    min_accuracy: Annotated[
        list[str] | None,
        typer.Option("--min-accuracy", metavar="R:X", help="Top-1 at fault rate R at least X: 1e-6:0.90 (repeatable)."),
    ] = None,
    max_drop: Annotated[
        list[str] | None,
        typer.Option(
            "--max-drop", metavar="R:X", help="Fault-free top-1 minus that at R at most X: 1e-6:0.02 (repeatable)."
        ),
    ] = None,
    max_sdc: Annotated[
        list[str] | None,
        typer.Option("--max-sdc", metavar="R:X", help="SDC-1 at fault rate R at most X: 1e-7:0.01 (repeatable)."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option("--confidence", metavar="C", help="Of every goal's verdict.  [default: 0.95]")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="TIME|UNITS",
            help="Inconclusive after 10min, 500units, or 10min,500units.  [default: 10min]",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="The verdict is for these images (test-set) or new ones too (population).  [default: test-set]",
        ),
    ] = None,
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment", metavar="FILE.toml", help="Gives the rate of goals with env in place of R, as env:0.90."
        ),
    ] = None,
    split: Split = None,
    limit: Limit = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    channels: Channels = None,
    format: FormatName = "auto",
    targets: Targets = "weight,bias",
    include: Include = None,
    exclude: Exclude = None,
    bits: Bits = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Images that share one fault pattern.  [default: 128]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the fault patterns, 0 to 2^64 - 1.")] = 0,
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="NAME", help="auto (measures), live, or rebuild.")
    ] = "auto",
    providers: Annotated[
        str,
        typer.Option("--providers", metavar="NAMES", help="Execution providers by priority: cpu, or cuda,cpu."),
    ] = "cpu",
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="Threads per session.  [default: ONNX Runtime's choice]"),
    ] = None,
    cache_memory: CacheMemory = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            file_okay=False,
            help="Results folder; its units count, so that a larger budget continues.  [default: a temporary one]",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE.xml", help="Also write one JUnit test case per goal.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE.md", help="Also write a summary for a pull request's comment."),
    ] = None,
    json: Json = False,
) -> None:
    """Decide whether a model reaches its goals under bit flips, with as few fault patterns as that takes.

    Exits with 0 (PASS: every goal is reached), 1 (FAIL: one is not) or 3 (INCONCLUSIVE: the budget was spent before).
    """
    for file in (junit, markdown):
        if file is not None:
            check_target(file)
    said = GateFile() if config is None else GateFile.read(config)
    asked = [("min-accuracy", min_accuracy), ("max-drop", max_drop), ("max-sdc", max_sdc)]
    goals = [*said.goals, *(Goal.parse(kind, text) for kind, texts in asked for text in texts or ())]
    place = environment or said.environment
    wanted = resolve_goals(goals, None if place is None else Environment.from_toml(place))
    stopping = Stopping(
        budget=said.budget or DEFAULT_BUDGET if budget is None else Budget.parse(budget),
        target=said.target or "test-set" if target is None else parse_target(target),
        confidence=said.confidence or CONFIDENCE if confidence is None else confidence,
    )
    loaded = open_model(model)
    dataset = load_dataset(
        data,
        split=split,
        limit=limit,
        preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
        model_metadata=loaded.metadata,
    )
    with progress_bar(shown(f"{loaded.name} on {dataset.name}")) as progress:
        verdict = decide(
            loaded,
            dataset,
            goals=wanted,
            confidence=stopping.confidence,
            budget=stopping.budget or DEFAULT_BUDGET,
            target=stopping.target,
            batch_size=batch_size,
            seed=seed,
            format=format,
            targets=split_names(targets),
            include=include or (),
            exclude=exclude or (),
            bits=() if bits is None else parse_bits(bits),
            strategy=strategy,
            providers=split_names(providers),
            threads=threads,
            cache_memory=None if cache_memory is None else parse_bytes("--cache-memory", cache_memory),
            results=results,
            progress=progress,
        )
    if json:
        print_json(verdict.to_dict())
    else:
        _print_verdict(verdict)
    if junit is not None:
        write_file(_junit(verdict, seed).encode(), junit)
    if markdown is not None:
        write_file(_markdown(verdict).encode(), markdown)
    note(f"results: {verdict.results}")
    raise typer.Exit(_EXIT_CODES[verdict.verdict])


def _print_verdict(verdict: GateVerdict) -> None:
    out = console()
    out.print(shown(verdict.headline), soft_wrap=True)
    for warning in verdict.warnings:
        out.print(f"warning: {warning}", soft_wrap=True)
    rows = table("goal", "verdict", "found", "at least", "at most", "patterns", left=2)
    for cells in _rows(verdict):
        rows.add_row(*cells)
    out.print(rows)
    for each in verdict.goals:
        if each.verdict != "PASS":
            out.print(f"{each.goal.name}: {each.message}", soft_wrap=True)


def _rows(verdict: GateVerdict) -> list[list[str]]:
    """Return a row per goal: name, verdict, estimate, lower and upper limit, fault patterns."""
    rows = []
    for each in verdict.goals:
        estimate = each.estimate
        found = ["-"] * 3 if estimate is None else [_text(x) for x in (estimate.mean, estimate.low, estimate.high)]
        rows.append([each.goal.name, each.verdict, *found, f"{each.patterns:,}"])
    return rows


def _text(fraction: float | None) -> str:
    return "-" if fraction is None else percent(fraction)


def _junit(verdict: GateVerdict, seed: int) -> str:
    from ftonnx.report import Case, junit_xml  # charts come with it, which only this option pays for

    cases = [
        Case(name=each.goal.name, verdict=each.verdict, message=each.message, seconds=each.seconds)
        for each in verdict.goals
    ]
    facts = {"data": verdict.data, "target": verdict.target, "confidence": f"{verdict.confidence:g}", "seed": str(seed)}
    facts |= {"warning": "; ".join(verdict.warnings)} if verdict.warnings else {}
    return junit_xml(f"ftonnx gate {verdict.model}", cases, properties=facts)


def _markdown(verdict: GateVerdict) -> str:
    from ftonnx.report import markdown_table, markdown_text

    limits = f"at least and at most hold with {100 * verdict.confidence:g} % confidence each, for " + (
        "these images" if verdict.target == "test-set" else "new images too"
    )
    header = ("goal", "verdict", "found", "at least", "at most", "fault patterns")
    remarks = [f"- {markdown_text(f'{each.goal.name}: {each.message}')}" for each in verdict.goals]
    warnings = [f"**Warning:** {markdown_text(warning)}." for warning in verdict.warnings]
    parts = [f"**{markdown_text(verdict.headline)}**", *warnings, markdown_table(header, _rows(verdict), left=2)]
    return "\n\n".join([*parts, "\n".join(remarks), f"{limits[0].upper()}{limits[1:]}."]) + "\n"
