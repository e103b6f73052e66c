"""``ftonnx activations``: how a model's activations are distributed, with and without faults."""

import csv
import io
import logging
from typing import Annotated, Final

import typer

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.evaluate import choose_batch_size, open_model
from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.cli.options import (
    Channels,
    Crop,
    Json,
    Limit,
    Mean,
    Model,
    Resize,
    Scale,
    Split,
    Std,
    parse_preprocess,
)
from ftonnx.cli.output import console, percent, print_json, table, warn
from ftonnx.datasets import Dataset, load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.export import find_activations, read_thresholds
from ftonnx.inject import OnnxModel
from ftonnx.mitigate import Distribution, Thresholds, activation_distributions

__all__ = ["activations"]

_logger: Final = logging.getLogger(__name__)


def activations(
    model: Model,
    data: Annotated[
        str, typer.Option("--data", metavar="SPEC", help="digits, npz:PATH, folder:PATH, or PATH/file.py:function.")
    ],
    faults: Annotated[
        list[float] | None,
        typer.Option("--faults", metavar="RATE", help="Also with faults at this rate, flips per bit (repeatable)."),
    ] = None,
    thresholds: Annotated[
        str | None,
        typer.Option("--thresholds", metavar="FILE.json", help="For the share above them.  [default: the model's own]"),
    ] = None,
    split: Split = None,
    limit: Limit = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    channels: Channels = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", metavar="N", help="Images per run, and per fault pattern.  [default: 128]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the fault patterns.")] = 0,
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV in place of a table.")] = False,
) -> None:
    """Show, per activation and fault rate, range, quartiles, mean, share of zeros, and share above the threshold."""
    if json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    loaded = open_model(model)
    found = find_activations(loaded.proto)
    if not found:
        raise ModelError(f"{loaded.name} has no activation that ftonnx knows")
    dataset = load_dataset(
        data,
        split=split,
        limit=limit,
        preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
        model_metadata=loaded.metadata,
    )
    limits = read_thresholds(loaded.proto)
    if thresholds is not None:
        earlier = Thresholds.load(thresholds)
        earlier.require_for(loaded)
        limits = dict(earlier.values)
    size = choose_batch_size(loaded, batch_size)
    rows = list(
        activation_distributions(
            loaded,
            dataset,
            found,
            rates=tuple(dict.fromkeys([0.0, *(faults or [])])),
            thresholds=limits,
            batch_size=size,
            seed=seed,
        )
    )
    warnings = _warnings(loaded, dataset, size)
    warn(warnings)
    if json:
        head = {"model": loaded.name, "data": dataset.fingerprint, "warnings": warnings}
        print_json(head | {"activations": [row.to_dict() for row in rows]})
    elif as_csv:
        typer.echo(_csv(rows), nl=False)
    else:
        _print(rows)


def _warnings(model: OnnxModel, data: Dataset, batch_size: int) -> list[str]:
    """Say whether the model guesses on these images; distributions need no labels, so ones that do not fit are fine."""
    try:
        (accuracy,) = fault_free_accuracies([model.proto], data, batch_size)
    except (ModelError, DataError) as error:
        _logger.info("%s: the fault-free accuracy is not known: %s", model.name, error)
        return []
    found = near_chance(accuracy["top1"], data.classes)
    return [] if found is None else [found]


def _csv(rows: list[Distribution]) -> str:
    """Return one line per activation and rate; the histogram's counts are joined by spaces."""
    text = io.StringIO()
    fields = [{**row.to_dict(), "edges": _joined(row.edges), "histogram": _joined(row.histogram)} for row in rows]
    writer = csv.DictWriter(text, fieldnames=list(fields[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(fields)
    return text.getvalue()


def _joined(values: tuple[float, ...]) -> str:
    return " ".join(map(repr, values))


def _print(rows: list[Distribution]) -> None:
    shown = table("activation", "rate", "min", "quartile 1", "median", "quartile 3", "max", "mean", "zeros", "above T")
    for row in rows:
        numbers = (row.minimum, row.quartile1, row.median, row.quartile3, row.maximum, row.mean)
        above = "-" if row.above is None else percent(row.above)
        shown.add_row(row.activation, f"{row.rate:g}", *(f"{x:.4g}" for x in numbers), percent(row.sparsity), above)
    console().print(shown)
