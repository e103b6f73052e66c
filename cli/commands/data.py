"""``ftonnx data``: what a data set's spec resolves to."""

from typing import Annotated, Any

import typer

from ftonnx.campaign.inputs import open_model
from ftonnx.cli.options import Json, SpecOptions
from ftonnx.cli.output import console, number, print_json, shown, table
from ftonnx.datasets import Dataset

__all__ = ["data"]


def data(
    images: SpecOptions,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            rich_help_panel=SpecOptions.PANEL,
            help="Take preprocessing from this model's metadata too.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a spec resolves to: images per class, shapes, preprocessing and fingerprint."""
    loaded = open_model(model) if model else None
    dataset = images.open(loaded)
    if json:
        print_json(_facts(dataset))
    else:
        _print(dataset)


def _facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "split": dataset.split,
        "samples": len(dataset),
        "classes": dataset.classes,
        "shape": list(dataset.sample_shape),
        "preprocess": dataset.preprocess.as_dict(),
        "sha256": dataset.fingerprint,
        "counts": dataset.counts().tolist(),
    }


def _print(dataset: Dataset) -> None:
    # counting reads the labels, which may fail: nothing is printed then
    counts = dataset.counts().tolist()
    out = console()
    split_name = f", split {dataset.split}" if dataset.split else ""
    out.print(f"{shown(dataset.name)}{split_name}: {number(len(dataset))} images of shape {dataset.sample_shape}")
    steps = [f"{key} {value}" for key, value in dataset.preprocess.as_dict().items()]
    out.print(f"preprocessing: {', '.join(steps) or 'none'}")
    out.print(f"fingerprint: {dataset.fingerprint}\n")
    rows = table("class", "images", left=0)
    for label, count in enumerate(counts):
        rows.add_row(str(label), number(count))
    out.print(rows)
