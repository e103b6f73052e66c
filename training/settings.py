"""How a network is trained: everything besides network, weights and data, in one value.

Without torch: the command line takes its defaults from here.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ftonnx.errors import UsageError
from ftonnx.words import near

__all__ = [
    "AUTO",
    "AUTOCASTS",
    "DEVICES",
    "METHODS",
    "NONE",
    "EpochSettings",
    "PretrainingSettings",
    "TrainingSettings",
]

AUTO: Final = "auto"
NONE: Final = "none"
DEVICES: Final = (AUTO, "cpu", "cuda")
AUTOCASTS: Final = (AUTO, NONE, "float16", "bfloat16")
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "simsiam": (),
    "ssql": (),
    "swav": ("prototypes", "local_views"),
    "dino": ("prototypes", "local_views"),
}
"""Ways of self-supervised pretraining, each with the settings that only some have."""

_MOST_RATE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSettings:
    """What every training has, whatever it learns from.

    Attributes:
        epochs: Most passes over the training images.
        batch_size: Images per step.
        flips: Mirror images at random, left to right and upside down.
        seed: Of fresh weights, of the order of images, and of what is done to them.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.
        autocast: Narrower float type of the steps, as ``torch.autocast`` takes it; ``auto`` is float16 on CUDA and
            none on a processor, where bfloat16 is faster if its kernels have it (AVX512-BF16, AMX); in
            quantization-aware training it is none everywhere.
        threads: torch's threads; None leaves the choice to it.

    Raises:
        UsageError: A value is out of range.
    """

    epochs: int = 100
    batch_size: int = 128
    flips: bool = True
    seed: int = 0
    device: str = AUTO
    autocast: str = AUTO
    threads: int | None = None

    def __post_init__(self) -> None:
        self._check_least(batch_size=1, seed=0, threads=1)
        self._check_known(device=DEVICES, autocast=AUTOCASTS)

    def _check_least(self, **least: int) -> None:
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UsageError(f"{name} must be {bound} or more, got {value}")

    def _check_known(self, **known: tuple[str, ...]) -> None:
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values:
                raise UsageError(f"{name}: expected one of {', '.join(values)}, got {value!r}{near(value, values)}")

    def _check_rate(self, rate: float) -> None:
        if not 0 < rate < _MOST_RATE:
            raise UsageError(f"learning_rate must be above 0 and below {_MOST_RATE}, got {rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings(EpochSettings):
    """How a network is trained; the defaults are the paper's for earth observation (section IV).

    RAdam on the cross entropy of class numbers, Adam on that of label maps; where the loss on the validation images has
    not fallen for some epochs, the learning rate does. The result is the epoch with the best accuracy on the validation
    images (of maps the class-mean accuracy), of equal ones that with the lower loss.

    Attributes:
        epochs: Most passes over the training images; 0 gives the network as it is before the first.
        learning_rate: At the beginning; by default 0.001 for class numbers, and 0.00001 for label maps, as the paper's
            segmentation network was trained.
        patience: Epochs without a lower loss after which the learning rate falls.
        factor: What it falls by.
        stop_after: Epochs without a better accuracy after which training ends.
        linear_probe: Train the classifier alone; everything before it stays as it is, its batch statistics too.

    The others are those of every training, ``EpochSettings``.

    Raises:
        UsageError: A value is out of range.
    """

    learning_rate: float | None = None
    patience: int = 5
    factor: float = 0.1
    stop_after: int = 15
    linear_probe: bool = False

    def identity(self) -> dict[str, Any]:
        """What must be the same for a training to go on: everything but how long it may take."""
        return {name: value for name, value in asdict(self).items() if name not in ("epochs", "stop_after")}

    def __post_init__(self) -> None:
        # the form without arguments fails in a class with slots
        EpochSettings.__post_init__(self)
        self._check_least(epochs=0, patience=1, stop_after=1)
        if self.learning_rate is not None:
            self._check_rate(self.learning_rate)
        if not 0 < self.factor < 1:
            raise UsageError(f"factor must be above 0 and below 1, got {self.factor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingSettings(EpochSettings):
    """How a network is trained without labels.

    Attributes:
        method: One of ``METHODS``.
        learning_rate: At its highest, for the images of one step; by default the method's for 256 images, scaled to
            ``batch_size``. It falls to 0 along a cosine.
        prototypes: Outputs of SwAV's and DINO's last layer; 3,000 and 65,536 by default.
        local_views: Small views of each image besides the two large ones, of SwAV and DINO.

    The others are those of every training, ``EpochSettings``.

    Raises:
        UsageError: A value is out of range, or means nothing to the method.
    """

    method: str = "simsiam"
    learning_rate: float | None = None
    prototypes: int | None = None
    local_views: int | None = None

    def identity(self) -> dict[str, Any]:
        """What must be the same for a training to go on: the learning rate depends on the number of epochs too."""
        return asdict(self)

    def __post_init__(self) -> None:
        EpochSettings.__post_init__(self)
        self._check_least(epochs=1, batch_size=2, prototypes=2, local_views=0)
        if self.method not in METHODS:
            known = ", ".join(METHODS)
            raise UsageError(f"method: expected one of {known}, got {self.method!r}{near(self.method, METHODS)}")
        if self.learning_rate is not None:
            self._check_rate(self.learning_rate)
        for name in ("prototypes", "local_views"):
            if getattr(self, name) is not None and name not in METHODS[self.method]:
                raise UsageError(f"{name}: {self.method} has none; leave it out")
