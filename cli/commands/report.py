"""``ftonnx report``: results as a page, charts and tables."""

from pathlib import Path
from typing import Annotated

import typer

from ftonnx.campaign import CampaignResult
from ftonnx.cli.options import OUTPUT, READING, Json, OwnTask
from ftonnx.cli.output import console, note, print_json, warn
from ftonnx.environment.radiation import Environment
from ftonnx.report import Activations, build
from ftonnx.report.decision import POINT
from ftonnx.words import printable

__all__ = ["report"]


def report(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS", help="Results folders of ftonnx inject; several are compared.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.html|DIR",
            rich_help_panel=OUTPUT,
            help="The page, or the folder in which to put it as report.html.",
        ),
    ] = Path("report.html"),
    charts: Annotated[
        Path | None,
        typer.Option(
            "--charts",
            metavar="DIR",
            file_okay=False,
            rich_help_panel=OUTPUT,
            help="Also write every chart as PNG, SVG and PDF.",
        ),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            "--tables",
            metavar="DIR",
            file_okay=False,
            rich_help_panel=OUTPUT,
            help="Also write every table as CSV and Parquet.",
        ),
    ] = None,
    activations: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--activations",
            metavar="FILE.json",
            rich_help_panel=READING,
            help="Distributions to show: what ftonnx activations --json has printed (repeatable).",
        ),
    ] = (),
    loss: Annotated[
        float,
        typer.Option(
            "--loss",
            metavar="X",
            rich_help_panel=READING,
            help="Loss that still counts as holding, of 1: 0.01 is one percentage point.",
        ),
    ] = POINT,
    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment",
            metavar="FILE.toml",
            rich_help_panel=READING,
            help="Where the memory is: decide at its rate, tell FIT.",
        ),
    ] = None,
    task: OwnTask = None,
    json: Json = False,
) -> None:
    """Write what campaigns found as one HTML page that works offline: verdict in words, charts, tables."""
    campaigns = [CampaignResult.open(path) for path in results]
    distributions = [Activations.load(path) for path in activations]
    place = None if environment is None else Environment.from_toml(environment)
    made = build(campaigns, activations=distributions, loss=loss, environment=place)
    files = [made.save(output)]
    if charts is not None:
        files += made.save_charts(charts)
    if tables is not None:
        files += made.save_tables(tables)
    warn(made.warnings)
    if json:
        names = [str(path) for path in files]
        print_json({"verdict": made.verdict, "warnings": made.warnings, "files": names})
    else:
        console().print(printable(made.verdict), soft_wrap=True)
    note(f"report: {files[0]}")
