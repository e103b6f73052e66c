"""``ftonnx pretrain``: a torch network, trained on images without their labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final

import typer

from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import OUTPUT, Json
from ftonnx.cli.output import console, note, number, print_json, progress_bar, table
from ftonnx.cli.training_options import ChartOptions, EpochOptions, NetworkOptions, SizeOptions
from ftonnx.training import PretrainingLog, PretrainingSettings
from ftonnx.training.settings import METHODS
from ftonnx.words import printable

__all__ = ["pretrain"]

_MOST_ROWS: Final = 12
_COLLAPSED: Final = 0.05
"""Spread of features below which those of different images are as good as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PretrainingOptions(EpochOptions):
    """How it is trained."""

    method: Annotated[str, typer.Option("--method", metavar="NAME", help=f"One of {', '.join(METHODS)}.")]
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="X",
            help="Learning rate at its highest. Default: the method's for 256 images, scaled to --batch-size.",
        ),
    ] = None
    prototypes: Annotated[
        int | None,
        typer.Option(
            "--prototypes",
            metavar="N",
            help="Outputs of the last layer of swav and dino. Default: 3000 and 65536, for a million images.",
        ),
    ] = None
    local_views: Annotated[
        int | None,
        typer.Option("--local-views", metavar="N", help="Small views per image of swav and dino. Default: 6."),
    ] = None

    def settings(self) -> PretrainingSettings:
        """Return the library's settings.

        Raises:
            UsageError: a value is out of range, or means nothing to the method.
        """
        return PretrainingSettings(
            method=self.method,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            prototypes=self.prototypes,
            local_views=self.local_views,
            flips=not self.no_flips,
            seed=self.seed,
            device=self.device,
            autocast=self.autocast,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    PANEL: ClassVar[str] = OUTPUT

    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.pth", help="The backbone; its log lies beside it.")
    ]
    json: Json = False


def pretrain(
    network: NetworkOptions,
    images: TrainingDataOptions,
    size: SizeOptions,
    training: _PretrainingOptions,
    files: _FileOptions,
    picture: ChartOptions,
) -> None:
    """Train a torch network on images without their labels; finetune takes the result.

    Killed at any moment, the same command goes on after the last finished epoch, to the same result.
    """
    settings = training.settings()
    picture.check()
    from ftonnx.training import pretrain as train  # needs torch and lightly

    data = size.of(images).open(None)
    with progress_bar(printable(f"training {network.arch}")) as progress:
        found = train(network.arch, data, files.output, weights=network.weights, settings=settings, progress=progress)
    picture.save(found.log)
    if files.json:
        print_json(
            {
                "output": str(found.path),
                "log": str(found.log_path),
                "architecture": network.arch,
                "method": settings.method,
                "data": {"name": data.name, "split": data.split, "samples": len(data)},
                "epochs": found.log.to_dicts(),
            }
        )
    else:
        _print_epochs(found.log)
    if found.log.epochs[-1].spread < _COLLAPSED:
        note("features of different images are all but equal: training has collapsed; try a lower --learning-rate")
    note(f"backbone: {found.path}; log: {found.log_path}")


def _print_epochs(log: PretrainingLog) -> None:
    rows = table("epoch", "loss", "spread", "rate", "s")
    for each in log.epochs[-_MOST_ROWS:]:
        cells = (number(each.loss), number(each.spread), f"{each.learning_rate:.3g}", f"{each.seconds:.1f}")
        rows.add_row(str(each.epoch), *cells)
    console().print(rows)
