"""Training by labels, of any kind, with validation images that say which epoch is best."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from ftonnx.datasets import Dataset
from ftonnx.training.images import ImageBatch, TrainingImages, in_order
from ftonnx.training.labels.base import Labels
from ftonnx.training.loop import Goal, Seen, Step, evaluated, outputs_of, trained
from ftonnx.training.making import processes_beside
from ftonnx.training.records import Epoch, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.training import Training, copied, on_device

__all__ = ["Begin", "Lesson", "Passed", "SupervisedTraining"]

Begin = Callable[[int], None]
"""Brings a network into the mode of the epoch with that number, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one pass came to.

    Attributes:
        loss: Mean cross entropy per image, or per pixel with a label.
        accuracy: Share of images that were right, or the class-mean accuracy of pixels.
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a network is to learn.

    Attributes:
        labels: The kind of labels, and how many classes there are.
        images: To train on.
        validation: Images that say which epoch is best.
    """

    labels: Labels
    images: TrainingImages
    validation: Dataset


class SupervisedTraining(Training[TrainingLog]):
    """A network that learns labels; the result is its best epoch, and before the first the network as it was."""

    settings: TrainingSettings

    def __init__(
        self,
        net: nn.Module,
        settings: TrainingSettings,
        lesson: Lesson,
        begin: Begin,
        learnt: Iterable[nn.Parameter],
    ) -> None:
        """Begin with a network.

        Args:
            net: it; it is trained in place.
            settings: how.
            lesson: what it learns.
            begin: brings it into the mode of the epoch with a number.
            learnt: the parameters that change.

        Raises:
            ModelError: there is no CUDA device where one is wanted.
        """
        net = on_device(net, settings.device)
        parameters = [parameter.requires_grad_(True) for parameter in learnt]
        labels = lesson.labels
        super().__init__(net, settings, labels.optimizer(parameters, labels.rate_of(settings)))
        self.log = TrainingLog()
        self._images = lesson.images
        self._validation = lesson.validation
        self._labels = labels
        self._begin = begin
        self._device = next(net.parameters()).device
        self._processes = processes_beside(self._device)
        self._goal = _Scores(net, labels, self._device)
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer,
            factor=settings.factor,
            patience=settings.patience,
        )

    @property
    def images_per_epoch(self) -> int:
        """See ``Training.images_per_epoch``: those for validation count too."""
        return len(self._images) + len(self._validation)

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left, or none has been better for long."""
        return super().is_over or self.log.since_best >= self.settings.stop_after

    def try_out(self) -> None:
        """Find out with one validation image whether the network takes such images and gives scores for such labels.

        Raises:
            ModelError: It does not.
        """
        self._evaluated(islice(in_order(self._validation, 1, processes=0), 1), _unseen)

    def tested(self) -> Passed:
        """Return what the network as it is now comes to on the validation images."""
        return self._evaluated(self._read(), _unseen)

    def others(self) -> dict[str, Any]:
        """See ``Training.others``."""
        return {**super().others(), "schedule": self._schedule}

    def epoch(self, seen: Seen) -> None:
        """See ``Training.epoch``."""
        number = len(self.log.epochs) + 1
        start = time.perf_counter()
        rate = float(self.optimizer.param_groups[0]["lr"])
        rng = np.random.default_rng(self.seeded())
        size = self.settings.batch_size
        batches = self._images.shuffled(size, rng, flips=self.settings.flips, processes=self._processes)
        self._begin(number)
        totals = trained(self._goal, batches, self.optimizer, self.autocast, seen)
        tested = self._evaluated(self._read(), seen)
        self._schedule.step(tested.loss)
        epoch = Epoch(
            epoch=number,
            loss=totals.loss,
            accuracy=self._labels.accuracy(totals),
            val_loss=tested.loss,
            val_accuracy=tested.accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - start,
        )
        self.log = self.log.with_epoch(epoch)
        if self.log.best is epoch:
            self.result = copied(self.net)

    def said_of_result(self) -> str:
        """See ``Training.said_of_result``."""
        best = self.log.best
        return "the network as it was before the first" if best is None else f"the best before, {best.epoch},"

    def _read(self) -> Iterator[ImageBatch]:
        return in_order(self._validation, self.settings.batch_size, self._processes)

    def _evaluated(self, batches: Iterable[ImageBatch], seen: Seen) -> Passed:
        """Go through validation images."""
        totals = evaluated(self._goal, self.net, batches, seen)
        return Passed(loss=totals.loss, accuracy=self._labels.accuracy(totals))


class _Scores(Goal[ImageBatch]):
    """The loss of what a network makes of images, given their labels."""

    def __init__(self, net: nn.Module, labels: Labels, device: torch.device) -> None:
        self._net = net
        self._labels = labels
        self._device = device

    def step(self, batch: ImageBatch) -> Step:
        """See ``Goal.step``."""
        images = torch.from_numpy(batch.images).to(self._device, memory_format=torch.channels_last)
        # maps are stored in the smallest type that holds them
        labels = torch.from_numpy(batch.labels.astype(np.int64, copy=False)).to(self._device)
        return self._labels.step(outputs_of(self._net, images), labels)


def _unseen(images: int) -> None:
    """Tell nobody."""
