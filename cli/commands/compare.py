"""``ftonnx compare``: campaigns of several models against the first."""

from pathlib import Path
from typing import Annotated

import typer

from ftonnx.campaign import Comparison
from ftonnx.campaign import compare as compare_results
from ftonnx.campaign.results.comparison import PAIRINGS, ModelComparison
from ftonnx.cli.options import OUTPUT, READING, Json, OwnTask, QuestionName
from ftonnx.cli.output import console, note, percent, print_json, table, warn
from ftonnx.files import check_target, write_file
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.words import printable, time_text

__all__ = ["compare"]


def compare(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS", help="Results folders of ftonnx inject; the first is the baseline."),
    ],
    question: QuestionName = "these-images",
    confidence: Annotated[
        float,
        typer.Option(
            "--confidence", metavar="C", rich_help_panel=READING, help="Of intervals, and of all verdicts together."
        ),
    ] = CONFIDENCE,
    task: OwnTask = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE.md", rich_help_panel=OUTPUT, help="Also write tables in Markdown."),
    ] = None,
    latex: Annotated[
        Path | None,
        typer.Option("--latex", metavar="FILE.tex", rich_help_panel=OUTPUT, help="Also write tables in LaTeX."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare campaigns of several models: accuracy lost or won per fault rate, and over all of them.

    Models with the same fault space met the same flips and are compared pattern by pattern; for others, it says what is
    shared. Campaigns of injections are compared with each other.
    """
    for file in (markdown, latex):
        if file is not None:
            check_target(file)
    found = compare_results(results, question=question, confidence=confidence)
    warn(found.warnings)
    _write(found, markdown, latex)
    if json:
        print_json(found.to_dict())
        return
    out = console()
    fault_free = f"fault-free {found.headline} {percent(found.golden)}"
    baseline, *others = found.labels
    out.print(f"baseline {printable(baseline)} on {printable(found.data)}: {fault_free}", soft_wrap=True)
    if len(found.models) > 1:
        _print_all(found)
    for label, model in zip(others, found.models, strict=True):
        _print_model(label, model, found)


def _write(found: Comparison, markdown: Path | None, latex: Path | None) -> None:
    """Write the tables to the files that are asked for."""
    if markdown is None and latex is None:
        return
    # what studies draw with comes with it, which only these options pay for
    from ftonnx.studies.compared import sheets_of_comparison
    from ftonnx.studies.markup import latex_of, markdown_of

    sheets = sheets_of_comparison(found)
    if markdown is not None:
        title = f"Compared with {found.labels[0]} on {found.data}"
        write_file(markdown_of(title, sheets).encode(), markdown)
        note(f"tables: {markdown}")
    if latex is not None:
        write_file(latex_of(sheets).encode(), latex)
        note(f"tables: {latex}")


def _print_all(found: Comparison) -> None:
    """Print one table of all models."""
    # likewise
    from ftonnx.cli.sheets import print_sheets
    from ftonnx.studies.compared import sheets_of_comparison

    console().print()
    accuracies, _ = sheets_of_comparison(found)
    print_sheets([accuracies])


def _print_model(label: str, model: ModelComparison, found: Comparison) -> None:
    out = console()
    why = "" if model.why is None else f" ({model.why})"
    fault_free = f"fault-free {found.headline} {percent(model.golden)}"
    out.print(f"\n{printable(label)}: {fault_free}; {PAIRINGS[model.pairing]}{why}", soft_wrap=True)
    interval = f"{100 * found.confidence:g} % interval"
    level = "faults" if found.faults else "time" if found.has_other_rates else "rate"
    rows = table(level, "baseline", found.headline, "difference", interval, "p (Holm)", "verdict", left=0)
    for rate in model.rates:
        difference = rate.difference
        rows.add_row(
            found.level(rate),
            percent(rate.baseline),
            percent(rate.accuracy),
            _points(difference.mean),
            _interval(difference.low, difference.high),
            "-" if rate.p_holm is None else f"{rate.p_holm:.2g}",
            rate.outcome,
        )
    name = "area"
    area = model.auc
    last = model.rates[-1].hours
    if model.over_time is not None and last is not None:
        # it is what a mission has, where an area over the rate says nothing that is asked of histories
        name = f"mean to {time_text(last)}"
        area = model.over_time
    if area is not None:
        gain = area.difference
        limits = _interval(gain.low, gain.high)
        rows.add_row(name, percent(area.baseline), percent(area.area), _points(gain.mean), limits, "-", area.outcome)
    out.print(rows)


def _points(difference: float) -> str:
    """Return a difference in percentage points.

    >>> _points(0.0123), _points(-0.5)
    ('+1.23', '-50.00')
    """
    return f"{100 * difference:+.2f}"


def _interval(low: float | None, high: float | None) -> str:
    return "none" if low is None or high is None else f"{_points(low)} to {_points(high)}"
