"""``ftonnx qat``: an int8 model by quantization-aware training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from onnx import ModelProto

from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import Json, ModelOptions
from ftonnx.cli.output import console, note, percent, print_json, progress_bar, shown
from ftonnx.cli.training_options import ChartOptions, TrainingOptions, ValidationOptions, print_epochs
from ftonnx.datasets import Dataset
from ftonnx.inject import OnnxModel
from ftonnx.models.extras import require
from ftonnx.quant import QuantSettings
from ftonnx.quant.images import calibration_batch

__all__ = ["qat"]

_EPOCHS: Final = 10
_RATE: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class _QatOptions(TrainingOptions):
    """How the network is trained as its int8 file computes."""

    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Most passes over the images.")] = _EPOCHS
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="X", help="Learning rate of RAdam at the beginning.")
    ] = _RATE
    frozen_epochs: Annotated[
        int,
        typer.Option("--frozen-epochs", metavar="N", help="Last epochs in which ranges and scales stay."),
    ] = 2
    per_tensor: Annotated[
        bool, typer.Option("--per-tensor", help="One scale per weight tensor, not one per output channel.")
    ] = False
    activation_type: Annotated[str, typer.Option("--activation-type", metavar="TYPE", help="uint8 or int8.")] = "uint8"
    calibration_images: Annotated[
        int,
        typer.Option("--calibration-images", metavar="N", help="First training images that ranges are found on."),
    ] = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.onnx", help="The int8 model; its log lies beside it.")
    ]
    json: Json = False


def qat(
    network: ModelOptions,
    images: TrainingDataOptions,
    validated: ValidationOptions,
    training: _QatOptions,
    files: _FileOptions,
    picture: ChartOptions,
) -> None:
    """Quantize a model, and train its weights and ranges as the int8 file computes; CReLUs stay, in integers.

    Killed at any moment, the same command goes on after the last finished epoch, to the same result.
    """
    require("torch")
    from ftonnx.training.qat import QatSettings, train_quantized

    settings = QatSettings(
        training=training.settings(),
        quant=QuantSettings(per_channel=not training.per_tensor, activation_type=training.activation_type),
        calibration_images=training.calibration_images,
        frozen_epochs=training.frozen_epochs,
    )
    model = network.open()
    model.check_not_overwritten(files.output)
    picture.check()
    data, validation = validated.opened(images, model)
    with progress_bar(shown(f"training {model.name}")) as progress:
        found = train_quantized(model.proto, data, validation, files.output, settings=settings, progress=progress)
    picture.save(found.log)
    before, after = _accuracies(model, found.proto, validation)
    facts = {
        "model": model.name,
        "output": str(found.path),
        "log": str(found.log_path),
        "data": {"name": data.name, "split": data.split, "samples": len(data)},
        "validation": {"name": validation.name, "split": validation.split, "samples": len(validation)},
        "is_trained": found.is_trained,
        "accuracy": {"float": before, "static": found.start.accuracy, "int8": after},
        "epochs": found.log.to_dicts(),
    }
    if files.json:
        print_json(facts)
    else:
        print_epochs(found.log)
        out = console()
        out.print(
            f"top-1 on {shown(validation.name)}: {percent(before)} in floating point, {percent(found.start.accuracy)} "
            f"quantized without training, {percent(after)} in the file"
        )
    if not found.is_trained:
        note("no epoch was better than quantizing without training, so that is what was written")
    note(f"int8 model: {found.path}; log: {found.log_path}")


def _accuracies(model: OnnxModel, int8: ModelProto, data: Dataset) -> tuple[float, float]:
    """Return the top-1 accuracy of the model and of its int8 file, by ONNX Runtime."""
    size = calibration_batch(model.proto, data.sample_shape)
    before, after = fault_free_accuracies((model.proto, int8), data, size)
    return before.fractions["top1"], after.fractions["top1"]
