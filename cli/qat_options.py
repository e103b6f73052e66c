"""What ``qat`` and ``finetune --qat`` have in common: the options of the int8 file, and what is said of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

import typer
from onnx import ModelProto

from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.cli.output import console, note, percent, warn
from ftonnx.datasets import Dataset
from ftonnx.quant import QuantSettings
from ftonnx.quant.images import calibration_batch
from ftonnx.sessions import saturating_operators, saturation_caution
from ftonnx.training import QatSettings, TrainingSettings
from ftonnx.words import printable

if TYPE_CHECKING:
    from ftonnx.training import QuantizedNetwork

__all__ = ["Accuracies", "Int8Options", "note_int8_file"]

_DEFAULTS: Final = QatSettings()
_PER_TENSOR: Final = not _DEFAULTS.quant.per_channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Options:
    """The form of the int8 file, and how its ranges are found."""

    PANEL: ClassVar[str] = "Quantization"

    frozen_epochs: Annotated[
        int,
        typer.Option("--frozen-epochs", metavar="N", help="Last epochs in which ranges and scales stay."),
    ] = _DEFAULTS.frozen_epochs
    per_tensor: Annotated[
        bool, typer.Option("--per-tensor", help="One scale per weight tensor, not one per output channel.")
    ] = _PER_TENSOR
    activation_type: Annotated[str, typer.Option("--activation-type", metavar="TYPE", help="uint8 or int8.")] = (
        _DEFAULTS.quant.activation_type
    )
    calibration_images: Annotated[
        int,
        typer.Option("--calibration-images", metavar="N", help="First training images that ranges are found on."),
    ] = _DEFAULTS.calibration_images

    def settings(self, training: TrainingSettings) -> QatSettings:
        """Return the library's settings.

        Raises:
            UsageError: a value is out of range.
        """
        return QatSettings(
            training=training,
            quant=QuantSettings(per_channel=not self.per_tensor, activation_type=self.activation_type),
            calibration_images=self.calibration_images,
            frozen_epochs=self.frozen_epochs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracies:
    """Accuracies on the validation images: top-1, or of label maps the class mean.

    Attributes:
        label: which accuracy.
        in_float: of the model before, by ONNX Runtime.
        static: quantized without training.
        int8: of the file, by ONNX Runtime.
    """

    label: str
    in_float: float
    static: float
    int8: float

    @classmethod
    def of(cls, model: ModelProto, found: "QuantizedNetwork", validation: Dataset) -> Self:
        """Measure them.

        Args:
            model: as it was before quantization.
            found: what training it came to.
            validation: the images.
        """
        size = calibration_batch(model, validation.sample_shape)
        before, after = fault_free_accuracies((model, found.proto), validation, size)
        task = before.task
        return cls(
            label=task.main.label,
            in_float=before.fractions[task.headline],
            static=found.start.accuracy,
            int8=after.fractions[task.headline],
        )

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"float": self.in_float, "static": self.static, "int8": self.int8}

    def print(self, validation: Dataset) -> None:
        """Print them on a line."""
        console().print(
            f"{self.label} on {printable(validation.name)}: {percent(self.in_float)} in floating point, "
            f"{percent(self.static)} quantized without training, {percent(self.int8)} in the file"
        )


def note_int8_file(found: "QuantizedNetwork") -> None:
    """Say on stderr what was written, whether training made it, and whether this processor computes it exactly."""
    if not found.is_trained:
        note("no epoch was better than quantizing without training, so that is what was written")
    caution = saturation_caution(saturating_operators(found.proto))
    if caution is not None:
        warn([caution])
    note(f"int8 model: {found.path}; log: {found.log_path}")
