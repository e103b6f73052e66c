"""``ftonnx finetune``: a torch network, trained on a data set's classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import Json
from ftonnx.cli.output import note, print_json, progress_bar, shown
from ftonnx.cli.training_options import ChartOptions, SizeOptions, TrainingOptions, ValidationOptions, print_epochs

__all__ = ["finetune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _NetworkOptions:
    """The network, and what it starts from."""

    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="Architecture, as for export: resnet50, resnet18, vgg13_bn, resnet20-cifar, any classification model "
            "of torchvision, or PATH/file.py:factory, which runs that file.",
        ),
    ]
    weights: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Checkpoint to start from, such as a self-supervised backbone; its classifier is replaced by a fresh "
            "one. Default: from scratch.",
        ),
    ] = ()
    classes: Annotated[
        int | None,
        typer.Option("--classes", metavar="K", help="Size of the classifier. Default: the classes of the data."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.pth", help="The checkpoint; its log lies beside it.")
    ]
    json: Json = False


def finetune(
    network: _NetworkOptions,
    images: TrainingDataOptions,
    validated: ValidationOptions,
    size: SizeOptions,
    training: TrainingOptions,
    files: _FileOptions,
    picture: ChartOptions,
) -> None:
    """Train a torch network on a data set's classes, from a checkpoint or from scratch; export takes the result.

    Killed at any moment, the same command goes on after the last finished epoch, to the same result.
    """
    settings = training.settings()
    picture.check()
    from ftonnx.training import finetune as train  # needs torch

    data, validation = validated.opened(size.of(images), None)
    with progress_bar(shown(f"training {network.arch}")) as progress:
        found = train(
            network.arch,
            data,
            validation,
            files.output,
            weights=network.weights,
            classes=network.classes,
            settings=settings,
            progress=progress,
        )
    picture.save(found.log)
    best = found.log.best
    if files.json:
        print_json(
            {
                "output": str(found.path),
                "log": str(found.log_path),
                "architecture": network.arch,
                "classes": found.classes,
                "data": {"name": data.name, "split": data.split, "samples": len(data)},
                "validation": {"name": validation.name, "split": validation.split, "samples": len(validation)},
                "best_epoch": None if best is None else best.epoch,
                "epochs": found.log.to_dicts(),
            }
        )
    else:
        print_epochs(found.log)
    note(f"checkpoint: {found.path}; log: {found.log_path}")
