"""What commands that train have in common: their options, and the table of epochs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import OUTPUT
from ftonnx.cli.output import console, note, number, percent, table
from ftonnx.datasets import Dataset
from ftonnx.datasets.subset import held_out
from ftonnx.errors import UsageError
from ftonnx.files import check_target
from ftonnx.inject import OnnxModel
from ftonnx.training import PretrainingLog, TrainingLog, TrainingSettings
from ftonnx.training.settings import AUTOCASTS, DEVICES
from ftonnx.words import printable

__all__ = [
    "ChartOptions",
    "EpochOptions",
    "NetworkOptions",
    "SizeOptions",
    "TrainingOptions",
    "ValidationOptions",
    "print_epochs",
]

_DEFAULTS: Final = TrainingSettings()
_MOST_ROWS: Final = 12
_HELD_OUT: Final = 0.1
"""Share of the images that are kept where no split says which epoch is best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """The network, and what it starts from."""

    PANEL: ClassVar[str] = "Network"

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
            help="Checkpoint to start from, such as a self-supervised backbone, or one for ImageNet; its classifier is "
            "not taken. Default: from scratch.",
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationOptions:
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
            help="Keep this share of the training images, of every class, for that instead, such as 0.1.  "
            "[default: 0.1 where the data has no splits]",
        ),
    ] = None

    def opened(self, images: TrainingDataOptions, model: OnnxModel | None) -> tuple[Dataset, Dataset]:
        """Return training and validation images.

        Raises:
            UsageError: there is no such split.
            DataError: they cannot be read.
        """
        data = images.open(model)
        share = self.hold_out
        if share is None and data.split is None:
            share = _HELD_OUT
            note(
                f"{printable(data.name)} has no splits: {percent(share, 0)} of its images, of every class, are kept to "
                "say which epoch is best (--hold-out)"
            )
        if share is not None:
            return held_out(data, share, seed=0)
        return data, replace(images, split=self.val_split).open(model)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeOptions:
    """The size of all images."""

    PANEL: ClassVar[str] = "Data"

    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size",
            metavar="PIXELS",
            help="Train on squares of this side: resize to it, and cut nothing. Default: what the data set says.",
        ),
    ] = None

    def of(self, images: TrainingDataOptions) -> TrainingDataOptions:
        """Return the options of the data with resize and crop of an input size.

        Raises:
            UsageError: they say another one.
        """
        if self.input_size is None:
            return images
        if images.resize is not None or images.crop is not None:
            raise UsageError("--input-size says both --resize and --crop; give it, or these")
        return replace(images, resize=self.input_size, crop=self.input_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOptions:
    """What every training has, whatever it learns from."""

    PANEL: ClassVar[str] = "Training"

    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Most passes over the images.")] = (
        _DEFAULTS.epochs
    )
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Images per step.")] = (
        _DEFAULTS.batch_size
    )
    no_flips: Annotated[bool, typer.Option("--no-flips", help="Do not mirror images at random.")] = False
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of everything that is random.")] = _DEFAULTS.seed
    device: Annotated[str, typer.Option("--device", metavar="NAME", help=f"One of {', '.join(DEVICES)}.")] = (
        _DEFAULTS.device
    )
    autocast: Annotated[
        str,
        typer.Option(
            "--autocast",
            metavar="TYPE",
            help=f"Float type of the steps, one of {', '.join(AUTOCASTS)}: float16 on CUDA by default, none on a "
            "processor, where bfloat16 is faster if it has AVX512-BF16 or AMX, and none for int8.",
        ),
    ] = _DEFAULTS.autocast
    threads: Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads of torch.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions(EpochOptions):
    """How it is trained."""

    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", help="Most passes over the images; 0 for the fresh classifier only.")
    ] = _DEFAULTS.epochs
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="X",
            help="Learning rate at the beginning.  [default: 0.001, for label maps 0.00001]",
        ),
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
            autocast=self.autocast,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartOptions:
    """How the training went, as a picture."""

    PANEL: ClassVar[str] = OUTPUT

    chart: Annotated[
        Path | None,
        typer.Option("--chart", metavar="FILE", help="Draw loss and accuracy by epoch: a PNG, SVG or PDF file."),
    ] = None

    def check(self) -> None:
        """Find out before the work whether the chart can be written.

        Raises:
            UsageError: it cannot.
        """
        if self.chart is not None:
            from ftonnx.report.drawing import check_chart_name  # loads the chart libraries

            check_chart_name(self.chart)
            check_target(self.chart)

    def save(self, log: TrainingLog | PretrainingLog, as_int8: TrainingLog | None = None) -> None:
        """Draw it, if that was asked for.

        Args:
            log: of the training.
            as_int8: of a training as an int8 file that followed.

        Raises:
            UsageError: it cannot be written.
        """
        if self.chart is not None:
            from ftonnx.report.training import save_training_chart  # loads the chart libraries

            save_training_chart(log, self.chart, as_int8=as_int8)


def print_epochs(log: TrainingLog) -> None:
    """Print the last epochs as a table, the best one marked."""
    best = log.best
    out = console()
    if best is None:
        out.print("no epoch was trained")
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
