"""``ftonnx data``: what a data set's spec resolves to."""

from typing import Annotated, Any, Final

import typer

from ftonnx.campaign.inputs import open_model
from ftonnx.cli.data_options import SpecOptions
from ftonnx.cli.data_words import preprocessing_words, shape_words
from ftonnx.cli.options import Json
from ftonnx.cli.output import console, number, print_json, table
from ftonnx.datasets import Dataset
from ftonnx.errors import DataError
from ftonnx.words import json_values, printable, some_of

__all__ = ["data"]

_MOST_CLASSES: Final = 50
_MOST_FILES: Final = 5


def data(
    images: SpecOptions,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            rich_help_panel=SpecOptions.PANEL,
            help="Take preprocessing and class names from this model's metadata too.",
        ),
    ] = None,
    read: Annotated[
        bool,
        typer.Option("--read", rich_help_panel=SpecOptions.PANEL, help="Read every image and list those that fail."),
    ] = False,
    json: Json = False,
) -> None:
    """Show what a spec resolves to: which class is which, images per class, preprocessing, files not used."""
    loaded = open_model(model) if model else None
    dataset = images.open(loaded)
    unreadable = dataset.unreadable() if read else None
    if json:
        print_json(_facts(dataset, unreadable))
    else:
        _print(dataset, unreadable)
    if unreadable:
        expected = f"{len(dataset)} images that can be read"
        advice = "repair or remove them"
        raise DataError(f"{dataset.name}: expected {expected}, got {len(unreadable)} that cannot; {advice}")


def _facts(dataset: Dataset, unreadable: list[str] | None) -> dict[str, Any]:
    labelling = dataset.labelling
    facts = {
        "name": dataset.name,
        "split": dataset.split,
        "samples": len(dataset),
        "classes": dataset.classes,
        "shape": json_values(dataset.sample_shape),
        "preprocess": dataset.preprocess.as_dict(),
        "sha256": dataset.fingerprint,
        "counts": dataset.counts().tolist(),
        "class_names": list(labelling.names) or None,
        "class_rule": labelling.rule or None,
        "unused_files": list(labelling.unused),
        "warnings": list(labelling.warnings),
    }
    if unreadable is not None:
        facts["unreadable"] = unreadable
    return facts


def _print(dataset: Dataset, unreadable: list[str] | None) -> None:
    # counting reads the labels, which may fail: nothing is printed then
    counts = dataset.counts().tolist()
    labelling = dataset.labelling
    out = console()
    split_name = f", split {dataset.split}" if dataset.split else ""
    shape = shape_words(dataset.sample_shape)
    out.print(f"{printable(dataset.name)}{split_name}: {number(len(dataset))} images of shape {shape}")
    out.print(preprocessing_words(dataset))
    out.print(f"fingerprint: {dataset.fingerprint}")
    if labelling.rule:
        out.print(printable(f"class numbers: {labelling.rule}"), soft_wrap=True)
    if labelling.unused:
        files = some_of(labelling.unused, _MOST_FILES)
        out.print(printable(f"not used ({number(len(labelling.unused))}): {files}"), soft_wrap=True)
    for line in unreadable or []:
        out.print(printable(f"cannot be read: {line}"), soft_wrap=True)
    if dataset.classes is None:
        labels = dataset.labels
        out.print(f"labels: {labels.dtype} of shape {labels.shape[1:]}, from {labels.min():g} to {labels.max():g}")
        return
    out.print()
    _print_classes(dataset, counts)


def _print_classes(dataset: Dataset, counts: list[int]) -> None:
    """Print the classes with their names, where somebody knows any."""
    out = console()
    names = dataset.class_names
    columns = ("class", "images") if names is None else ("class", "name", "images")
    rows = table(*columns, left=0 if names is None else 2)
    for label, count in enumerate(counts[:_MOST_CLASSES]):
        name = [] if names is None else [printable(names[label] or "-")]
        rows.add_row(str(label), *name, number(count))
    out.print(rows)
    rest = len(counts) - _MOST_CLASSES
    if rest > 0:
        out.print(f"... and {number(rest)} more classes; --json lists all")
