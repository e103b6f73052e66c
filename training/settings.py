"""How a network is trained: everything besides network, weights and data, in one value."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.words import near

__all__ = ["DEVICES", "TrainingSettings"]

DEVICES: Final = ("auto", "cpu", "cuda")
_LEAST: Final = {"epochs": 0, "batch_size": 1, "patience": 1, "stop_after": 1, "seed": 0, "threads": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a network is trained; the defaults are the paper's for earth observation (section IV).

    RAdam on the cross entropy; where the loss on the validation images has not fallen for some epochs, the learning
    rate does. The result is the epoch with the best accuracy on the validation images, of equal ones that with the
    lower loss.

    Attributes:
        epochs: Most passes over the training images; 0 gives the network as it is before the first.
        batch_size: Images per step.
        learning_rate: At the beginning.
        patience: Epochs without a lower loss after which the learning rate falls.
        factor: What it falls by.
        stop_after: Epochs without a better accuracy after which training ends.
        linear_probe: Train the classifier alone; everything before it stays as it is, its batch statistics too.
        flips: Mirror images at random, left to right and upside down.
        seed: Of fresh weights, of the order of images, and of what is done to them.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.
        threads: torch's threads; None leaves the choice to it.

    Raises:
        UsageError: A value is out of range.
    """

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 1e-3
    patience: int = 5
    factor: float = 0.1
    stop_after: int = 15
    linear_probe: bool = False
    flips: bool = True
    seed: int = 0
    device: str = "auto"
    threads: int | None = None

    def identity(self) -> dict[str, Any]:
        """What must be the same for a training to go on: everything but how long it may take."""
        return {name: value for name, value in asdict(self).items() if name not in ("epochs", "stop_after")}

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be {least} or more, got {value}")
        if not 0 < self.learning_rate < 10:
            raise UsageError(f"learning_rate must be above 0 and below 10, got {self.learning_rate}")
        if not 0 < self.factor < 1:
            raise UsageError(f"factor must be above 0 and below 1, got {self.factor}")
        if self.device not in DEVICES:
            known = ", ".join(DEVICES)
            raise UsageError(f"device: expected one of {known}, got {self.device!r}{near(self.device, DEVICES)}")
