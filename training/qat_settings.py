"""How a network is trained as its int8 file computes, in one value; importing this needs no torch."""

from dataclasses import dataclass, field
from typing import Final

from ftonnx.errors import UsageError
from ftonnx.quant import QuantSettings
from ftonnx.training.settings import TrainingSettings

__all__ = ["QAT_DEFAULTS", "Int8TuningSettings", "QatSettings"]

QAT_DEFAULTS: Final = TrainingSettings(epochs=10, learning_rate=1e-4)
"""A network that is trained already needs few epochs, at a low rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QatSettings:
    """How a network is trained as its int8 file computes.

    Attributes:
        training: epochs, rate, device and so on.
        quant: formats of the file, and how ranges are found before training.
        calibration_images: first training images that ranges are found on.
        frozen_epochs: last epochs in which ranges and scales stay as they are.

    Raises:
        UsageError: a value is out of range, or the file's format is not one that can be trained.
    """

    training: TrainingSettings = QAT_DEFAULTS
    quant: QuantSettings = field(default_factory=QuantSettings)
    calibration_images: int = 512
    frozen_epochs: int = 2

    def __post_init__(self) -> None:
        if self.calibration_images < 1:
            raise UsageError(f"calibration_images must be 1 or more, got {self.calibration_images}")
        if self.frozen_epochs < 0:
            raise UsageError(f"frozen_epochs must be 0 or more, got {self.frozen_epochs}")
        if self.training.linear_probe:
            raise UsageError("linear_probe: all weights are trained here; leave it out")
        if self.quant.quant_format != "qdq":
            raise UsageError(f"quant_format: qdq was expected, got {self.quant.quant_format!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8TuningSettings:
    """How a network is fine-tuned, and then trained as its int8 file computes.

    Attributes:
        tuning: of the floating-point network.
        qat: of the int8 file.
    """

    tuning: TrainingSettings = field(default_factory=TrainingSettings)
    qat: QatSettings = field(default_factory=QatSettings)
