"""One pass over images: with steps of an optimizer towards some goal, or without."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError, describe
from ftonnx.training.images import ImageBatch

__all__ = ["Classification", "Goal", "Passed", "Seen", "Step", "evaluated", "outputs_of", "trained"]

Seen = Callable[[int], None]
"""Called with the number of images of every batch that is done."""

_B = TypeVar("_B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass came to.

    Attributes:
        loss: Mean cross entropy per image.
        accuracy: Share of images that were right.
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one batch came to.

    Attributes:
        loss: Mean per image, with its graph.
        watched: Sum over the images of what is watched besides it: how many are right, say.
        images: In the batch.
    """

    loss: Tensor
    watched: float
    images: int


class Goal(ABC, Generic[_B]):
    """What a network is trained towards; a leaf says what a batch comes to."""

    @abstractmethod
    def step(self, batch: _B) -> Step:
        """Compute the loss of a batch."""

    def before_update(self) -> None:
        """Called when gradients are there, before the optimizer uses them."""

    def after_update(self) -> None:
        """Called when the optimizer has changed the weights."""


class Classification(Goal[ImageBatch]):
    """Cross entropy of a network's logits."""

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self._net = net
        self._device = device

    def step(self, batch: ImageBatch) -> Step:
        """See ``Goal.step``; what is watched is how many are right."""
        images, labels = _on(batch, self._device)
        logits = _logits(self._net, images)
        loss = functional.cross_entropy(logits, labels)
        return Step(loss=loss, watched=_right(logits, labels), images=len(labels))


class _Means:
    """Adds up what batches come to."""

    def __init__(self) -> None:
        self._images = 0
        self._loss = 0.0
        self._watched = 0.0

    def add(self, loss: float, watched: float, images: int) -> None:
        """Count one batch by its mean loss, and what is watched of its images together."""
        self._images += images
        self._loss += loss * images
        self._watched += watched

    @property
    def both(self) -> tuple[float, float]:
        """Mean loss per image, and the mean of what is watched."""
        return self._loss / self._images, self._watched / self._images


def trained(
    goal: Goal[_B],
    batches: Iterable[_B],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
    seen: Seen,
) -> tuple[float, float]:
    """Take a step per batch, on CUDA in mixed precision; return the means of the loss and of what is watched.

    Raises:
        ModelError: The loss is not finite any more.
    """
    means = _Means()
    for batch in batches:
        with torch.autocast(device.type, enabled=scaler.is_enabled()):
            step = goal.step(batch)
        value = float(step.loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"a finite loss was expected, got {value}; lower `learning_rate`")
        optimizer.zero_grad()
        torch.autograd.backward(scaler.scale(step.loss))
        goal.before_update()
        scaler.step(optimizer)
        scaler.update()
        goal.after_update()
        means.add(value, step.watched, step.images)
        seen(step.images)
    return means.both


def evaluated(net: nn.Module, data: Dataset, batch_size: int, device: torch.device, seen: Seen) -> Passed:
    """Go through a data set in full precision, without a step."""
    means = _Means()
    was_training = net.training
    net.eval()
    with torch.no_grad():
        for batch in data.batches(batch_size):
            images, labels = _on(ImageBatch(*batch), device)  # type: ignore[arg-type]  # checked when training began
            logits = _logits(net, images)
            loss = float(functional.cross_entropy(logits, labels))
            means.add(loss, _right(logits, labels), len(labels))
            seen(len(labels))
    net.train(was_training)
    loss, accuracy = means.both
    return Passed(loss=loss, accuracy=accuracy)


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


def _logits(net: nn.Module, images: Tensor) -> Tensor:
    """The logits ``(batch, classes)`` of a network.

    Raises:
        ModelError: It fails on these images, or its output is something else.
    """
    logits = outputs_of(net, images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"logits (batch, classes) were expected from the network, got {got}")
    return logits


def _right(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(1) == labels).sum())


def _on(batch: ImageBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(batch.images).to(device, memory_format=torch.channels_last)
    labels = torch.from_numpy(batch.labels).to(device)
    return images, labels
