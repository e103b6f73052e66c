"""Training by labels: RAdam on the cross entropy, with validation images that say which epoch is best."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from ftonnx.datasets import Dataset
from ftonnx.training.images import TrainingImages
from ftonnx.training.loop import Classification, Passed, Seen, evaluated, trained
from ftonnx.training.records import Epoch, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.training import Training, copied, on_device

__all__ = ["Begin", "SupervisedTraining"]

Begin = Callable[[int], None]
"""Brings a network into the mode of the epoch with that number, counted from 1."""


class SupervisedTraining(Training[TrainingLog]):
    """A network that learns labels; the result is its best epoch, and before the first the network as it was."""

    settings: TrainingSettings

    def __init__(
        self,
        net: nn.Module,
        settings: TrainingSettings,
        images: TrainingImages,
        validation: Dataset,
        begin: Begin,
        learnt: Iterable[nn.Parameter],
    ) -> None:
        """Begin with a network.

        Args:
            net: it; it is trained in place.
            settings: how.
            images: to train on.
            validation: that say which epoch is best.
            begin: brings it into the mode of the epoch with a number.
            learnt: the parameters that change.

        Raises:
            ModelError: there is no CUDA device where one is wanted.
        """
        net = on_device(net, settings.device)
        parameters = [parameter.requires_grad_(True) for parameter in learnt]
        super().__init__(net, settings, torch.optim.RAdam(parameters, lr=settings.learning_rate))
        self.log = TrainingLog()
        self._images = images
        self._validation = validation
        self._begin = begin
        self._device = next(net.parameters()).device
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

    def tested(self) -> Passed:
        """Return what the network as it is now comes to on the validation images."""
        return self._evaluated(_unseen)

    def others(self) -> dict[str, Any]:
        """See ``Training.others``."""
        return {**super().others(), "schedule": self._schedule}

    def epoch(self, seen: Seen) -> None:
        """See ``Training.epoch``."""
        number = len(self.log.epochs) + 1
        start = time.perf_counter()
        rate = float(self.optimizer.param_groups[0]["lr"])
        rng = np.random.default_rng(self.seeded())
        batches = self._images.shuffled(self.settings.batch_size, rng, flips=self.settings.flips)
        self._begin(number)
        goal = Classification(self.net, self._device)
        loss, accuracy = trained(goal, batches, self.optimizer, self.scaler, self._device, seen)
        tested = self._evaluated(seen)
        self._schedule.step(tested.loss)
        epoch = Epoch(
            epoch=number,
            loss=loss,
            accuracy=accuracy,
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

    def _evaluated(self, seen: Seen) -> Passed:
        return evaluated(self.net, self._validation, self.settings.batch_size, self._device, seen)


def _unseen(images: int) -> None:
    """Tell nobody."""
