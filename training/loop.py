"""One pass over images: with steps of the optimizer, or without."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError, describe
from ftonnx.training.images import ImageBatch

__all__ = ["Passed", "Seen", "evaluated", "trained"]

Seen = Callable[[int], None]
"""Called with the number of images of every batch that is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass came to.

    Attributes:
        loss: Mean cross entropy per image.
        accuracy: Share of images that were right.
    """

    loss: float
    accuracy: float


class _Sums:
    """Adds up what batches come to."""

    def __init__(self) -> None:
        self._images = 0
        self._loss = 0.0
        self._right = 0

    def add(self, loss: float, logits: Tensor, labels: Tensor) -> None:
        """Count one batch by its mean loss and its outputs."""
        self._images += len(labels)
        self._loss += loss * len(labels)
        self._right += int((logits.argmax(1) == labels).sum())

    @property
    def passed(self) -> Passed:
        return Passed(loss=self._loss / self._images, accuracy=self._right / self._images)


def trained(
    net: nn.Module,
    batches: Iterable[ImageBatch],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    device: torch.device,
    seen: Seen,
) -> Passed:
    """Take a step per batch; on CUDA in mixed precision.

    Raises:
        ModelError: The loss is not finite any more.
    """
    sums = _Sums()
    for batch in batches:
        images, labels = _on(batch, device)
        with torch.autocast(device.type, enabled=scaler.is_enabled()):
            logits = _outputs(net, images)
            loss = functional.cross_entropy(logits, labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"a finite loss was expected, got {value}; lower `learning_rate`")
        optimizer.zero_grad()
        torch.autograd.backward(scaler.scale(loss))
        scaler.step(optimizer)
        scaler.update()
        sums.add(value, logits.detach(), labels)
        seen(len(labels))
    return sums.passed


def evaluated(net: nn.Module, data: Dataset, batch_size: int, device: torch.device, seen: Seen) -> Passed:
    """Go through a data set in full precision, without a step."""
    sums = _Sums()
    was_training = net.training
    net.eval()
    with torch.no_grad():
        for batch in data.batches(batch_size):
            images, labels = _on(ImageBatch(*batch), device)  # type: ignore[arg-type]  # checked when training began
            logits = _outputs(net, images)
            sums.add(float(functional.cross_entropy(logits, labels)), logits, labels)
            seen(len(labels))
    net.train(was_training)
    return sums.passed


def _outputs(net: nn.Module, images: Tensor) -> Tensor:
    """The logits ``(batch, classes)`` of a network, which may be anybody's.

    Raises:
        ModelError: It fails on these images, or its output is something else.
    """
    try:
        logits = net(images)
    except Exception as error:
        # somebody's network fails in many ways
        shape = tuple(images.shape)
        raise ModelError(f"a network for images {shape} was expected, but this one fails: {describe(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"logits (batch, classes) were expected from the network, got {got}")
    return logits


def _on(batch: ImageBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(batch.images).to(device, memory_format=torch.channels_last)
    labels = torch.from_numpy(batch.labels).to(device)
    return images, labels
