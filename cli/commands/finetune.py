"""``ftonnx finetune``: a torch network, trained on a data set's classes."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import typer

from ftonnx.cli.data_options import TrainingDataOptions
from ftonnx.cli.options import OUTPUT, Json
from ftonnx.cli.output import console, note, print_json, progress_bar
from ftonnx.cli.qat_options import Accuracies, Int8Options, note_int8_file
from ftonnx.cli.training_options import (
    ChartOptions,
    NetworkOptions,
    SizeOptions,
    TrainingOptions,
    ValidationOptions,
    print_epochs,
)
from ftonnx.errors import UsageError
from ftonnx.models.extras import require
from ftonnx.training import Int8TuningSettings, QatSettings, TrainingSettings
from ftonnx.training.qat_settings import QAT_DEFAULTS
from ftonnx.words import printable

if TYPE_CHECKING:
    from ftonnx.campaign.campaign import Progress
    from ftonnx.training import TrainedNetwork

__all__ = ["finetune"]

_MODEL: Final = ".onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class _NetworkOptions(NetworkOptions):
    """The network, what it starts from, and what it is to tell apart."""

    classes: Annotated[
        int | None,
        typer.Option("--classes", metavar="K", help="Size of the classifier. Default: the classes of the data."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _QatOptions:
    """Whether the network is then trained as its int8 file computes, and how long."""

    PANEL: ClassVar[str] = "Quantization"

    qat: Annotated[
        bool,
        typer.Option("--qat", help="Then train it as its int8 file computes, as ftonnx qat does, and write that file."),
    ] = False
    qat_epochs: Annotated[
        int, typer.Option("--qat-epochs", metavar="N", help="Most passes over the images in that training.")
    ] = QAT_DEFAULTS.epochs
    qat_learning_rate: Annotated[
        float | None, typer.Option("--qat-learning-rate", metavar="X", help="Learning rate at its beginning.")
    ] = QAT_DEFAULTS.learning_rate

    def settings(self, training: TrainingSettings, int8: Int8Options) -> QatSettings:
        """Return the library's settings; all weights are trained, whatever was fine-tuned.

        Raises:
            UsageError: a value is out of range.
        """
        try:
            as_int8 = replace(
                training, epochs=self.qat_epochs, learning_rate=self.qat_learning_rate, linear_probe=False
            )
            return int8.settings(as_int8)
        except UsageError as error:
            # epochs and rate are also those of fine-tuning
            raise UsageError(f"--qat: {error}") from error

    def check_unused(self, int8: Int8Options) -> None:
        """Refuse options of a training that was not asked for.

        Raises:
            UsageError: there is one.
        """
        for group in (self, int8):
            for field in fields(group):
                if getattr(group, field.name) != field.default:
                    flag = f"--{field.name.replace('_', '-')}"
                    raise UsageError(f"{flag} is about the training of the int8 file: add --qat, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileOptions:
    """What is written."""

    PANEL: ClassVar[str] = OUTPUT

    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT.pth",
            help="The checkpoint; its log lies beside it. With --qat OUT.onnx, the int8 model, and the checkpoint lies "
            "beside it too.",
        ),
    ]
    json: Json = False

    def check(self, *, is_int8: bool) -> None:
        """Refuse the name of a model for a checkpoint, and the other way round.

        Raises:
            UsageError: it is one.
        """
        is_model = self.output.suffix.lower() == _MODEL
        if is_model and not is_int8:
            raise UsageError(f"-o: a checkpoint such as OUT.pth was expected, got {self.output}; --qat writes a model")
        if is_int8 and not is_model:
            raise UsageError(f"-o: an int8 model, OUT.onnx, was expected with --qat, got {self.output}")


def finetune(
    network: _NetworkOptions,
    images: TrainingDataOptions,
    validated: ValidationOptions,
    size: SizeOptions,
    training: TrainingOptions,
    step: _QatOptions,
    int8: Int8Options,
    files: _FileOptions,
    picture: ChartOptions,
) -> None:
    """Train a torch network on a data set's classes, from a checkpoint or from scratch; export takes the result.

    Labels are class numbers, or maps of them (segmentation).

    With --qat it is then trained as its int8 file computes. Killed at any moment, the same command goes on after the
    last finished epoch, to the same result.
    """
    settings = training.settings()
    qat_settings = step.settings(settings, int8)
    files.check(is_int8=step.qat)
    if not step.qat:
        step.check_unused(int8)
    picture.check()
    require("torch")
    data, validation = validated.opened(size.of(images), None)
    call = {
        "arch": network.arch,
        "data": data,
        "validation": validation,
        "output": files.output,
        "weights": network.weights,
        "classes": network.classes,
    }
    if step.qat:
        _tuned_as_int8(call, Int8TuningSettings(tuning=settings, qat=qat_settings), files, picture)
    else:
        _tuned(call, settings, files, picture)


def _tuned(call: Mapping[str, Any], settings: TrainingSettings, files: _FileOptions, picture: ChartOptions) -> None:
    """Fine-tune, and say what that came to."""
    from ftonnx.training import finetune as train  # needs torch

    with _at_work(call["arch"]) as progress:
        found = train(**call, settings=settings, progress=progress)
    picture.save(found.log)
    if files.json:
        print_json({"output": str(found.path), "log": str(found.log_path), **_facts(call, found)})
    else:
        print_epochs(found.log)
    note(f"checkpoint: {found.path}; log: {found.log_path}")


def _tuned_as_int8(
    call: Mapping[str, Any], settings: Int8TuningSettings, files: _FileOptions, picture: ChartOptions
) -> None:
    """Fine-tune and train the int8 file, and say what both came to."""
    from ftonnx.training import finetune_int8  # needs torch

    with _at_work(call["arch"]) as progress:
        found = finetune_int8(**call, settings=settings, progress=progress)
    tuned = found.tuned
    quantized = found.quantized
    picture.save(tuned.log, quantized.log)
    accuracies = Accuracies.of(found.model, quantized, call["validation"])
    best = quantized.log.best
    if files.json:
        as_int8 = {
            "is_trained": quantized.is_trained,
            "accuracy": accuracies.to_dict(),
            "best_epoch": None if best is None else best.epoch,
            "epochs": quantized.log.to_dicts(),
        }
        print_json(
            {
                "output": str(quantized.path),
                "log": str(quantized.log_path),
                "checkpoint": {"output": str(tuned.path), "log": str(tuned.log_path), "was_there": found.was_tuned},
                **_facts(call, tuned),
                "qat": as_int8,
            }
        )
    else:
        out = console()
        out.print("fine-tuning")
        print_epochs(tuned.log)
        out.print("\nquantization-aware training")
        print_epochs(quantized.log)
        accuracies.print(call["validation"])
    there = ", which was there" if found.was_tuned else ""
    note(f"checkpoint: {tuned.path}{there}; log: {tuned.log_path}")
    note_int8_file(quantized)


@contextmanager
def _at_work(arch: str) -> Iterator["Progress"]:
    """Show a bar; what a user's own code prints goes to stderr."""
    with redirect_stdout(sys.stderr), progress_bar(printable(f"training {arch}")) as progress:
        yield progress


def _facts(call: Mapping[str, Any], found: "TrainedNetwork") -> dict[str, Any]:
    """What there is to say about a fine-tuned network."""
    best = found.log.best
    facts: dict[str, Any] = {"architecture": call["arch"], "classes": found.classes}
    for name in ("data", "validation"):
        images = call[name]
        facts[name] = {"name": images.name, "split": images.split, "samples": len(images)}
    facts["best_epoch"] = None if best is None else best.epoch
    facts["epochs"] = found.log.to_dicts()
    return facts
