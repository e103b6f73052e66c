"""What every way of self-supervised pretraining is: a base class that does the bookkeeping, and what leaves say."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from ftonnx.training.pretraining.encoder import Encoder
from ftonnx.training.settings import PretrainingSettings

__all__ = ["Geometry", "Learnt", "Method", "Moment", "Transform", "in_float32"]

Transform = Callable[[Image.Image], list[Tensor]]
"""Makes the views of an image, ``(3, side, side)`` float32 from 0 to 1."""

_BATCH = 256
"""Images per step that methods state their learning rates for."""

_BLUR_SIDE = 224
"""Side of the views that the methods state their blur for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What views look like.

    Attributes:
        side: Of large views, in pixels.
        local_side: Of small ones; the methods' 96 pixels to 224, in whole fours.
        mirrored: Probability of a mirror image, in each direction.
        blur: Standard deviations of the blur in pixels, from and to; the methods' 0.1 to 2 are for 224 pixels.
    """

    side: int
    local_side: int
    mirrored: float
    blur: tuple[float, float]

    @classmethod
    def of(cls, side: int, *, flips: bool) -> "Geometry":
        """Scale what the methods say of 224 pixels to a side."""
        scale = side / _BLUR_SIDE
        return cls(
            side=side,
            local_side=max(4, 4 * round(96 * scale / 4)),
            mirrored=0.5 if flips else 0.0,
            blur=(0.1 * scale, 2.0 * scale),
        )


def in_float32(loss: Callable[..., Tensor], *outputs: Sequence[Tensor]) -> Tensor:
    """Compute a loss of a network's outputs in float32, also where the step is in mixed precision.

    Shares of thousands of prototypes are too small for float16.

    Args:
        loss: Takes lists of outputs.
        outputs: These.
    """
    with torch.autocast(outputs[0][0].device.type, enabled=False):
        return loss(*([each.float() for each in group] for group in outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a training is.

    Attributes:
        done: Share of all steps, from 0 to below 1.
        epoch: Counted from 0.
    """

    done: float
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What the views of some images come to.

    Attributes:
        loss: Mean per image, with its graph.
        features: Of one view of each image ``(images, width)``, before the projection.
    """

    loss: Tensor
    features: Tensor


class Method(nn.Module, ABC):
    """A network in pretraining: an encoder, what is put on it, and a loss on views.

    A leaf says its constants, builds what is on the encoder, and computes the loss.

    Attributes:
        rate: Learning rate for 256 images per step.
        weight_decay: Of all weights.
        warmup: Share of the training over which the rate rises to it.
        kept: Name of the encoder that is kept.
    """

    rate: ClassVar[float]
    weight_decay: ClassVar[float]
    warmup: ClassVar[float] = 0.0
    kept: ClassVar[str] = "encoder"

    def __init__(self, encoder: Encoder, settings: PretrainingSettings) -> None:
        """Take an encoder; a leaf adds what is put on it."""
        super().__init__()
        self.encoder = encoder
        self.settings = settings

    @classmethod
    @abstractmethod
    def transform(cls, geometry: Geometry, settings: PretrainingSettings) -> Transform:
        """Return what makes the views of an image; large ones first."""

    @abstractmethod
    def learn(self, views: Sequence[Tensor]) -> Learnt:
        """Compute the loss of views, ``(images, 3, side, side)`` each."""

    def before_update(self, moment: Moment) -> None:
        """Change gradients, if the method does."""

    def after_update(self, moment: Moment) -> None:
        """Change what no gradient does, if the method does."""

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameters by groups of the optimizer; the rate of one with ``fixed_rate`` stays."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Return stochastic gradient descent with momentum."""
        return torch.optim.SGD(self.groups(), lr=rate, momentum=0.9, weight_decay=self.weight_decay)

    def best_rate(self) -> float:
        """Return the learning rate at its highest: as given, or the method's own for as many images per step."""
        given = self.settings.learning_rate
        return self.rate * self.settings.batch_size / _BATCH if given is None else given
