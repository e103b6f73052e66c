"""``ftonnx activations``: how a model's activations are distributed, with and without faults."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ftonnx.cli.data_options import DataOptions
from ftonnx.cli.options import OUTPUT, DrawOptions, Json, ModelOptions
from ftonnx.cli.output import console, percent, print_json, table, warn
from ftonnx.errors import UsageError
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import Distribution, Thresholds, measure_activations

__all__ = ["activations"]

_PANEL: Final = "Distributions"


def activations(
    network: ModelOptions,
    images: DataOptions,
    drawing: DrawOptions,
    faults: Annotated[
        tuple[float, ...],
        typer.Option(
            "--faults",
            metavar="RATE",
            rich_help_panel=_PANEL,
            help="Also with faults at this rate, flips per bit (repeatable).",
        ),
    ] = (),
    thresholds: Annotated[
        Path | None,
        typer.Option(
            "--thresholds",
            metavar="FILE.json",
            rich_help_panel=_PANEL,
            help="For the share above them.  [default: the model's own]",
        ),
    ] = None,
    json: Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", rich_help_panel=OUTPUT, help="Print CSV in place of a table.")
    ] = False,
) -> None:
    """Show, per activation and fault rate, range, quartiles, mean, share of zeros, and share above the threshold."""
    if json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    model = network.open()
    dataset = images.open(model)
    found = measure_activations(
        model,
        dataset,
        rates=faults,
        thresholds=_limits(model, thresholds),
        batch_size=drawing.batch_size,
        seed=drawing.seed,
    )
    warn(found.warnings)
    if json:
        print_json(found.to_dict())
    elif as_csv:
        typer.echo(_csv(found.distributions), nl=False)
    else:
        _print(found.distributions)


def _limits(model: OnnxModel, thresholds: Path | None) -> Mapping[str, Any] | None:
    """Return the thresholds of a file; None for those in the model."""
    if thresholds is None:
        return None
    earlier = Thresholds.load(thresholds)
    earlier.require_for(model)
    return dict(earlier.values)


def _csv(rows: Sequence[Distribution]) -> str:
    """Return one line per activation and rate; the histogram's counts are joined by spaces."""
    text = io.StringIO()
    fields = [_fields(row) for row in rows]
    writer = csv.DictWriter(text, fieldnames=list(fields[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(fields)
    return text.getvalue()


def _fields(row: Distribution) -> dict[str, Any]:
    edges = " ".join(map(repr, row.edges))
    histogram = " ".join(map(repr, row.histogram))
    return row.to_dict() | {"edges": edges, "histogram": histogram}


def _print(rows: Sequence[Distribution]) -> None:
    shown = table("activation", "rate", "min", "quartile 1", "median", "quartile 3", "max", "mean", "zeros", "above T")
    for row in rows:
        shown.add_row(
            row.activation,
            f"{row.rate:g}",
            f"{row.minimum:.4g}",
            f"{row.quartile1:.4g}",
            f"{row.median:.4g}",
            f"{row.quartile3:.4g}",
            f"{row.maximum:.4g}",
            f"{row.mean:.4g}",
            percent(row.sparsity),
            percent(row.above),
        )
    console().print(shown)
