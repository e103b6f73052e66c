"""``ftonnx finetune``: a torch network, trained on a data set's classes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import Json
from ftonnx.cli.output import console, note, number, percent, print_json, progress_bar, shown, table
from ftonnx.datasets import Dataset
from ftonnx.datasets.subset import held_out
from ftonnx.errors import UsageError
from ftonnx.files import check_target
from ftonnx.report.training import check_chart_name, save_training_chart
from ftonnx.training import TrainingLog, TrainingSettings
from ftonnx.training.settings import DEVICES

__all__ = ["finetune"]

_DEFAULTS: Final = TrainingSettings()
_MOST_ROWS: Final = 12


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
class _ValidationOptions:
    """The images that say which epoch is best."""

    PANEL: ClassVar[str] = "Data"

    val_split: Annotated[
        str, typer.Option("--val-split", metavar="NAME", help="Split that says which epoch is best.")
    ] = "val"
    hold_out: Annotated[
        float | None,
        typer.Option(
            "--hold-out",
            metavar="SHARE",
            help="Keep this share of the training images, of every class, for that instead, such as 0.1.",
        ),
    ] = None
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size",
            metavar="PIXELS",
            help="Train on squares of this side: resize to it, and cut nothing. Default: what the data set says.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainingOptions:
    """How it is trained."""

    PANEL: ClassVar[str] = "Training"

    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", help="Most passes over the images; 0 for the fresh classifier only.")
    ] = _DEFAULTS.epochs
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Images per step.")] = (
        _DEFAULTS.batch_size
    )
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="X", help="Learning rate of RAdam at the beginning.")
    ] = _DEFAULTS.learning_rate
    patience: Annotated[
        int,
        typer.Option("--patience", metavar="N", help="Epochs without a lower validation loss before the rate falls."),
    ] = _DEFAULTS.patience
    factor: Annotated[float, typer.Option("--factor", metavar="X", help="What it falls by.")] = _DEFAULTS.factor
    stop_after: Annotated[
        int,
        typer.Option("--stop-after", metavar="N", help="Epochs without a better validation accuracy before it ends."),
    ] = _DEFAULTS.stop_after
    linear_probe: Annotated[
        bool, typer.Option("--linear-probe", help="Train the classifier alone; the backbone stays as it is.")
    ] = False
    no_flips: Annotated[bool, typer.Option("--no-flips", help="Do not mirror images at random.")] = False
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of everything that is random.")] = _DEFAULTS.seed
    device: Annotated[str, typer.Option("--device", metavar="NAME", help=f"One of {', '.join(DEVICES)}.")] = (
        _DEFAULTS.device
    )
    threads: Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads of torch.")] = None

    def settings(self) -> TrainingSettings:
        """Return the library's settings.

        Raises:
            UsageError: a value is out of range.
        """
        return TrainingSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            factor=self.factor,
            stop_after=self.stop_after,
            linear_probe=self.linear_probe,
            flips=not self.no_flips,
            seed=self.seed,
            device=self.device,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.pth", help="The checkpoint; its log lies beside it.")
    ]
    chart: Annotated[
        Path | None,
        typer.Option("--chart", metavar="FILE", help="Draw loss and accuracy by epoch: a PNG, SVG or PDF file."),
    ] = None
    json: Json = False

    def check(self) -> None:
        """Find out before the work whether the chart can be written.

        Raises:
            UsageError: it cannot.
        """
        if self.chart is not None:
            check_chart_name(self.chart)
            check_target(self.chart)


def finetune(
    network: _NetworkOptions,
    images: TrainingDataOptions,
    validated: _ValidationOptions,
    training: _TrainingOptions,
    files: _FileOptions,
) -> None:
    """Train a torch network on a data set's classes, from a checkpoint or from scratch; export takes the result.

    Killed at any moment, the same command goes on after the last finished epoch, to the same result.
    """
    settings = training.settings()
    files.check()
    from ftonnx.training import finetune as train  # needs torch

    data, validation = _opened(images, validated)
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
    if files.chart is not None:
        save_training_chart(found.log, files.chart)
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
        _print(found.log)
    note(f"checkpoint: {found.path}; log: {found.log_path}")


def _opened(images: TrainingDataOptions, validated: _ValidationOptions) -> tuple[Dataset, Dataset]:
    """Return training and validation images."""
    if validated.input_size is not None:
        if images.resize is not None or images.crop is not None:
            raise UsageError("--input-size says both --resize and --crop; give it, or these")
        images = replace(images, resize=validated.input_size, crop=validated.input_size)
    data = images.open(None)
    if validated.hold_out is not None:
        return held_out(data, validated.hold_out, seed=0)
    if data.split is None:
        expected = "images that say which epoch is best"
        raise UsageError(f"{data.name}: {expected} were expected, got no splits; --hold-out 0.1 keeps some for that")
    return data, replace(images, split=validated.val_split).open(None)


def _print(log: TrainingLog) -> None:
    best = log.best
    out = console()
    if best is None:
        out.print("no epoch was trained: the classifier is fresh")
        return
    rows = table("epoch", "loss", "accuracy", "val loss", "val accuracy", "rate", "s")
    for each in log.epochs[-_MOST_ROWS:]:
        mark = " *" if each is best else ""
        rows.add_row(
            f"{each.epoch}{mark}",
            number(each.loss),
            percent(each.accuracy),
            number(each.val_loss),
            percent(each.val_accuracy),
            f"{each.learning_rate:g}",
            f"{each.seconds:.1f}",
        )
    out.print(rows)
    out.print(f"best on the validation images: epoch {best.epoch}, {percent(best.val_accuracy)}")
