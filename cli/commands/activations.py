"""``ftonnx activations``: how a model's activations are distributed, with and without faults."""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.campaign.inputs import choose_batch_size
from ftonnx.cli.data_options import DataOptions
from ftonnx.cli.options import OUTPUT, DrawOptions, Json, ModelOptions
from ftonnx.cli.output import console, percent, print_json, table, warn
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import find_activations, read_thresholds
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import Distribution, Thresholds, activation_distributions

__all__ = ["activations"]

_logger: Final = logging.getLogger(__name__)


def activations(
    network: ModelOptions,
    images: DataOptions,
    drawing: DrawOptions,
    faults: Annotated[
        tuple[float, ...],
        typer.Option("--faults", metavar="RATE", help="Also with faults at this rate, flips per bit (repeatable)."),
    ] = (),
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", metavar="FILE.json", help="For the share above them.  [default: the model's own]"),
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
    found = find_activations(model.proto)
    if not found:
        raise ModelError(f"{model.name} has no activation that ftonnx knows")
    dataset = images.open(model)
    limits = _limits(model, thresholds)
    batch_size = choose_batch_size(model, drawing.batch_size)
    distributions = activation_distributions(
        model,
        dataset,
        found,
        rates=tuple(dict.fromkeys((0.0, *faults))),
        thresholds=limits,
        batch_size=batch_size,
        seed=drawing.seed,
    )
    rows = list(distributions)
    warnings = _warnings(model, dataset, batch_size)
    warn(warnings)
    if json:
        head = {"model": model.name, "data": dataset.fingerprint, "warnings": warnings}
        print_json(head | {"activations": [row.to_dict() for row in rows]})
    elif as_csv:
        typer.echo(_csv(rows), nl=False)
    else:
        _print(rows)


def _limits(model: OnnxModel, thresholds: Path | None) -> Mapping[str, Any]:
    """Return the thresholds of a file, else those in the model."""
    if thresholds is None:
        return read_thresholds(model.proto)
    earlier = Thresholds.load(thresholds)
    earlier.require_for(model)
    return dict(earlier.values)


def _warnings(model: OnnxModel, data: Dataset, batch_size: int) -> list[str]:
    """Say whether the model guesses on these images; distributions need no labels, so ones that do not fit are fine."""
    try:
        (accuracy,) = fault_free_accuracies([model.proto], data, batch_size)
    except (ModelError, DataError) as error:
        _logger.info("%s: the fault-free accuracy is not known: %s", model.name, error)
        return []
    found = accuracy.caution()
    return [] if found is None else [found]


def _csv(rows: list[Distribution]) -> str:
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


def _print(rows: list[Distribution]) -> None:
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
