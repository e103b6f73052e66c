"""``ftonnx data``: what a data set's spec resolves to."""

from typing import Annotated

import typer

from ftonnx.campaign.evaluate import open_model
from ftonnx.cli.options import Channels, Crop, Json, Limit, Mean, Resize, Scale, Split, Std, parse_preprocess
from ftonnx.cli.output import console, number, print_json, shown, table
from ftonnx.datasets import load_dataset

__all__ = ["data"]


def data(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC", help="digits, npz:PATH, folder:PATH, or PATH/file.py:function, which runs that file."
        ),
    ],
    split: Split = None,
    limit: Limit = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    resize: Resize = None,
    crop: Crop = None,
    channels: Channels = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Take preprocessing from this model's metadata too.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a spec resolves to: images per class, shapes, preprocessing and fingerprint."""
    dataset = load_dataset(
        spec,
        split=split,
        limit=limit,
        preprocess=parse_preprocess(scale, mean, std, resize, crop, channels),
        model_metadata=open_model(model).metadata if model else None,
    )
    counts = dataset.counts().tolist()
    facts = {
        "name": dataset.name,
        "split": dataset.split,
        "samples": len(dataset),
        "classes": dataset.classes,
        "shape": list(dataset.sample_shape),
        "preprocess": dataset.preprocess.as_dict(),
        "sha256": dataset.fingerprint,
        "counts": counts,
    }
    if json:
        print_json(facts)
        return
    out = console()
    split_name = f", split {dataset.split}" if dataset.split else ""
    out.print(f"{shown(dataset.name)}{split_name}: {number(len(dataset))} images of shape {dataset.sample_shape}")
    described = ", ".join(f"{key} {value}" for key, value in dataset.preprocess.as_dict().items()) or "none"
    out.print(f"preprocessing: {described}")
    out.print(f"fingerprint: {dataset.fingerprint}\n")
    rows = table("class", "images", left=0)
    for label, count in enumerate(counts):
        rows.add_row(str(label), number(count))
    out.print(rows)
