"""``ftonnx qat``: an int8 model by quantization-aware training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import OUTPUT, Json, ModelOptions
from ftonnx.cli.output import print_json, progress_bar
from ftonnx.cli.qat_options import Accuracies, Int8Options, note_int8_file
from ftonnx.cli.training_options import ChartOptions, TrainingOptions, ValidationOptions, print_epochs
from ftonnx.models.extras import require
from ftonnx.training.qat_settings import QAT_DEFAULTS
from ftonnx.words import printable

__all__ = ["qat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _QatOptions(TrainingOptions):
    """How the network is trained as its int8 file computes."""

    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Most passes over the images.")] = (
        QAT_DEFAULTS.epochs
    )
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", metavar="X", help="Learning rate at the beginning.")
    ] = QAT_DEFAULTS.learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    PANEL: ClassVar[str] = OUTPUT

    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="The int8 model; its log lies beside it.")
    ]
    json: Json = False


def qat(
    network: ModelOptions,
    images: TrainingDataOptions,
    validated: ValidationOptions,
    training: _QatOptions,
    int8: Int8Options,
    files: _FileOptions,
    picture: ChartOptions,
) -> None:
    """Quantize a model, and train its weights and ranges as the int8 file computes; CReLUs stay, in integers.

    Killed at any moment, the same command goes on after the last finished epoch, to the same result.
    """
    require("torch")
    from ftonnx.training import train_quantized

    settings = int8.settings(training.settings())
    model = network.open()
    model.check_not_overwritten(files.output)
    picture.check()
    data, validation = validated.opened(images, model)
    with progress_bar(printable(f"training {model.name}")) as progress:
        found = train_quantized(model.proto, data, validation, files.output, settings=settings, progress=progress)
    picture.save(found.log)
    accuracies = Accuracies.of(model.proto, found, validation)
    facts = {
        "model": model.name,
        "output": str(found.path),
        "log": str(found.log_path),
        "data": {"name": data.name, "split": data.split, "samples": len(data)},
        "validation": {"name": validation.name, "split": validation.split, "samples": len(validation)},
        "is_trained": found.is_trained,
        "accuracy": accuracies.to_dict(),
        "epochs": found.log.to_dicts(),
    }
    if files.json:
        print_json(facts)
    else:
        print_epochs(found.log)
        accuracies.print(validation)
    note_int8_file(found)
