"""A training: epochs with a log and a best one, that goes on where a process ended."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError
from ftonnx.training.images import TrainingImages
from ftonnx.training.loop import Passed, Seen, evaluated, trained
from ftonnx.training.records import Epoch, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import State, StateFile

__all__ = ["Progress", "Training", "TrainingFiles", "digest_of", "run"]

Progress = Callable[[int, int], None]
"""Called with (images done, images at most) after every batch."""

Begin = Callable[[int], None]
"""Brings a network into the mode of the epoch with that number, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFiles:
    """Where a training writes.

    Attributes:
        output: what it is for.
        log: its epochs.
        state: what an interrupted one goes on from.
        write_best: writes the output from the best epoch.
    """

    output: Path
    log: Path
    state: StateFile
    write_best: Callable[["Training"], None]


class Training:
    """A network on its way.

    Attributes:
        log: the epochs so far.
        best: the state dict of the best one; before the first, that of the network as it was.
    """

    def __init__(
        self, net: nn.Module, settings: TrainingSettings, begin: Begin, learnt: Iterable[nn.Parameter]
    ) -> None:
        """Begin with a network.

        Args:
            net: it; it is trained in place.
            settings: how.
            begin: brings it into the mode of the epoch with a number.
            learnt: the parameters that change.

        Raises:
            ModelError: there is no CUDA device where one is wanted.
        """
        self.log = TrainingLog()
        self._settings = settings
        self._begin = begin
        self._device = _device(settings.device)
        self._net = net.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not declared
        parameters = [parameter.requires_grad_(True) for parameter in learnt]
        self._optimizer = torch.optim.RAdam(parameters, lr=settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer,
            factor=settings.factor,
            patience=settings.patience,
        )
        kind = self._device.type
        self._scaler = torch.amp.GradScaler(kind, enabled=kind == "cuda")
        self.best = _copied(net)

    def tested(self, validation: Dataset) -> Passed:
        """Return what the network as it is now comes to on the validation images."""
        return evaluated(self._net, validation, self._settings.batch_size, self._device, _unseen)

    @property
    def most_epochs(self) -> int:
        """How many there can be."""
        return self._settings.epochs

    @property
    def threads(self) -> int | None:
        """Torch's threads; None leaves them."""
        return self._settings.threads

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left, or none has been better for long."""
        return len(self.log.epochs) >= self._settings.epochs or self.log.since_best >= self._settings.stop_after

    @property
    def state(self) -> State:
        """All that the next epoch needs."""
        rest = {
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        return State(log=self.log, network=_copied(self._net), best=self.best, rest=rest)

    def take_over(self, state: State | None) -> None:
        """Go on from where another process ended."""
        if state is None:
            return
        self.log = state.log
        self.best = state.best
        self._net.load_state_dict(state.network)
        self._optimizer.load_state_dict(state.rest["optimizer"])
        self._schedule.load_state_dict(state.rest["schedule"])
        self._scaler.load_state_dict(state.rest["scaler"])

    def epoch(self, images: TrainingImages, validation: Dataset, seen: Seen) -> None:
        """Do one pass.

        Raises:
            ModelError: The loss is not finite any more.
        """
        number = len(self.log.epochs) + 1
        start = time.perf_counter()
        rate = float(self._optimizer.param_groups[0]["lr"])
        settings = self._settings
        # dropout, and whatever else is random in a network
        seeds = np.random.SeedSequence((settings.seed, number))
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        rng = np.random.default_rng(seeds)
        batches = images.shuffled(settings.batch_size, rng, flips=settings.flips)
        self._begin(number)
        learnt = trained(self._net, batches, self._optimizer, self._scaler, self._device, seen)
        tested = evaluated(self._net, validation, settings.batch_size, self._device, seen)
        self._schedule.step(tested.loss)
        epoch = Epoch(
            epoch=number,
            loss=learnt.loss,
            accuracy=learnt.accuracy,
            val_loss=tested.loss,
            val_accuracy=tested.accuracy,
            learning_rate=rate,
            seconds=time.perf_counter() - start,
        )
        self.log = self.log.with_epoch(epoch)
        if self.log.best is epoch:
            self.best = _copied(self._net)


def run(
    training: Training,
    images: TrainingImages,
    validation: Dataset,
    files: TrainingFiles,
    progress: Progress | None,
) -> None:
    """Train to the end, from where an earlier process ended; after every epoch, all that is needed is on disk.

    Args:
        training: the network.
        images: to train on.
        validation: that say which epoch is best.
        files: where things are written.
        progress: called after every batch with (images done, images at most).

    Raises:
        ModelError: the loss is not finite any more; the best epoch is written.
        UsageError: a file cannot be written.
    """
    training.take_over(files.state.read())
    seen = _Counter(progress, training.most_epochs * (len(images) + len(validation)))
    seen.add(len(training.log.epochs) * (len(images) + len(validation)))
    with _threads(training.threads):
        while not training.is_over:
            try:
                training.epoch(images, validation, seen.add)
            except ModelError as error:
                files.write_best(training)
                best = training.log.best
                which = "the network as it was before the first" if best is None else f"the best before, {best.epoch},"
                number = len(training.log.epochs) + 1
                raise ModelError(f"epoch {number}: {error}; {which} is in {files.output}") from error
            files.state.write(training.state)
            training.log.write(files.log)
    files.write_best(training)
    training.log.write(files.log)
    files.state.remove()


class _Counter:
    """Adds up images for whoever watches."""

    def __init__(self, progress: Progress | None, most: int) -> None:
        self._progress = progress
        self._done = 0
        self._most = most

    def add(self, images: int) -> None:
        """Count images that are done."""
        self._done += images
        if self._progress is not None:
            self._progress(min(self._done, self._most), self._most)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads inside the block; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ModelError("device: a CUDA device was expected, got none; use `device=cpu`, or leave it out")
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    return torch.device(name)


def _copied(net: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}


def _unseen(images: int) -> None:
    """Tell nobody."""


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: expected a checkpoint, but it cannot be read: {error.strerror}") from error
