"""One pass over images: with steps of an optimizer towards some goal, or without."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ftonnx.errors import ModelError, describe
from ftonnx.training.autocast import Autocast

__all__ = ["Goal", "Seen", "Step", "Totals", "evaluated", "outputs_of", "trained"]

Seen = Callable[[int], None]
"""Called with the number of images of every batch that is done."""

_B = TypeVar("_B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one batch came to.

    Attributes:
        loss: Mean, with its graph.
        weight: How many things it is the mean of: images, or pixels with a label.
        images: In the batch.
        watched: What is watched besides, by name: sums over the images.
    """

    loss: Tensor
    weight: int
    images: int
    watched: Mapping[str, float]


class Totals:
    """What the batches of a pass come to together.

    Attributes:
        images: How many.
        watched: What is watched besides the loss, by name: sums over the images.
    """

    def __init__(self) -> None:
        self.images = 0
        self.watched: dict[str, float] = {}
        self._weight = 0
        self._loss = 0.0

    def add(self, step: Step) -> None:
        """Count one batch."""
        self.images += step.images
        self._weight += step.weight
        self._loss += float(step.loss.detach()) * step.weight
        for name, value in step.watched.items():
            self.watched[name] = self.watched.get(name, 0) + value

    @property
    def loss(self) -> float:
        """The mean; 0 where there is nothing that it could be the mean of."""
        return self._loss / self._weight if self._weight else 0.0


class Goal(ABC, Generic[_B]):
    """What a network is trained towards; a leaf says what a batch comes to."""

    @abstractmethod
    def step(self, batch: _B) -> Step:
        """Compute the loss of a batch."""

    def before_update(self) -> None:
        """Called when gradients are there, before the optimizer uses them."""

    def after_update(self) -> None:
        """Called when the optimizer has changed the weights."""


def trained(
    goal: Goal[_B],
    batches: Iterable[_B],
    optimizer: torch.optim.Optimizer,
    autocast: Autocast,
    seen: Seen,
) -> Totals:
    """Take a step per batch.

    Raises:
        ModelError: The loss is not finite any more.
    """
    totals = Totals()
    for batch in batches:
        with autocast():
            step = goal.step(batch)
        value = float(step.loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"a finite loss was expected, got {value}; lower `learning_rate`")
        optimizer.zero_grad()
        torch.autograd.backward(autocast.scaler.scale(step.loss))
        goal.before_update()
        autocast.scaler.step(optimizer)
        autocast.scaler.update()
        goal.after_update()
        totals.add(step)
        seen(step.images)
    return totals


def evaluated(goal: Goal[_B], net: nn.Module, batches: Iterable[_B], seen: Seen) -> Totals:
    """Go through batches in full precision, without a step of an optimizer.

    Raises:
        ModelError: The loss is not finite.
    """
    totals = Totals()
    was_training = net.training
    net.eval()
    with torch.no_grad():
        for batch in batches:
            step = goal.step(batch)
            value = float(step.loss)
            if not math.isfinite(value):
                raise ModelError(
                    f"a finite loss on the validation images was expected, got {value}; check these and the "
                    "checkpoint, or lower `learning_rate`"
                )
            totals.add(step)
            seen(step.images)
    net.train(was_training)
    return totals


def outputs_of(net: nn.Module, images: Tensor) -> Any:
    """What a network, which may be anybody's, makes of images.

    Raises:
        ModelError: It fails on them.
    """
    try:
        return net(images)
    except Exception as error:
        # somebody's network fails in many ways
        shape = tuple(images.shape)
        raise ModelError(f"a network for images {shape} was expected, but this one fails: {describe(error)}") from error
