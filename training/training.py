"""A training: epochs with a log and a result, that goes on where a process ended."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils import deterministic

from ftonnx.errors import ModelError
from ftonnx.training.autocast import Autocast
from ftonnx.training.loop import Seen
from ftonnx.training.records import EpochLog
from ftonnx.training.settings import EpochSettings
from ftonnx.training.state import State, StateFile

__all__ = ["Progress", "Training", "TrainingFiles", "copied", "on_device", "run"]

Progress = Callable[[int, int], None]
"""Called with (images done, images at most) after every batch."""

_Log = TypeVar("_Log", bound=EpochLog[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFiles(Generic[_Log]):
    """Where a training writes.

    Attributes:
        output: what it is for.
        log: its epochs.
        state: what an interrupted one goes on from.
        write_result: writes the output from the result so far.
    """

    output: Path
    log: Path
    state: StateFile[_Log]
    write_result: Callable[[], None]


class Training(ABC, Generic[_Log]):
    """A network on its way; a leaf says what an epoch is.

    Attributes:
        net: the network.
        log: the epochs so far.
        result: the state dict that the training gives if it ends here.
    """

    log: _Log

    def __init__(self, net: nn.Module, settings: EpochSettings, optimizer: torch.optim.Optimizer) -> None:
        """Begin with a network on the device of the settings.

        Args:
            net: it; it is trained in place.
            settings: how.
            optimizer: of its weights.
        """
        self.net = net
        self.settings = settings
        self.optimizer = optimizer
        kind = next(net.parameters()).device.type
        self.autocast = Autocast(settings.autocast, kind)
        self.result = copied(net)

    @property
    @abstractmethod
    def images_per_epoch(self) -> int:
        """How many images are seen in one epoch, for whoever watches."""

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left."""
        return len(self.log.epochs) >= self.settings.epochs

    @abstractmethod
    def epoch(self, seen: Seen) -> None:
        """Do one pass, and add it to the log.

        Raises:
            ModelError: The loss is not finite any more.
        """

    @abstractmethod
    def said_of_result(self) -> str:
        """Name the result where training cannot go on, such as ``the best before, 3,``."""

    def others(self) -> dict[str, Any]:
        """Return what else changes in training, by name, each with ``state_dict`` and ``load_state_dict``."""
        return {"optimizer": self.optimizer, "scaler": self.autocast.scaler}

    @property
    def state(self) -> State[_Log]:
        """All that the next epoch needs."""
        rest = {name: each.state_dict() for name, each in self.others().items()}
        return State(log=self.log, network=copied(self.net), result=self.result, rest=rest)

    def take_over(self, state: State[_Log] | None) -> None:
        """Go on from where another process ended."""
        if state is None:
            return
        self.log = state.log
        self.result = state.result
        self.net.load_state_dict(state.network)
        for name, each in self.others().items():
            each.load_state_dict(state.rest[name])

    def seeded(self) -> np.random.SeedSequence:
        """Seed torch for the next epoch, for dropout and whatever else is random in a network; return the seeds."""
        seeds = np.random.SeedSequence((self.settings.seed, len(self.log.epochs) + 1))
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        return seeds


def run(training: Training[_Log], files: TrainingFiles[_Log], progress: Progress | None) -> None:
    """Train to the end, from where an earlier process ended; after every epoch, all that is needed is on disk.

    Args:
        training: the network.
        files: where things are written.
        progress: called after every batch with (images done, images at most).

    Raises:
        ModelError: the loss is not finite any more; the result of the epochs before is written.
        UsageError: a file cannot be written.
    """
    training.take_over(files.state.read())
    seen = _Counter(progress, training.settings.epochs * training.images_per_epoch)
    seen.add(len(training.log.epochs) * training.images_per_epoch)
    device = next(training.net.parameters()).device
    with _threads(training.settings.threads), _repeatable(device):
        while not training.is_over:
            try:
                training.epoch(seen.add)
            except ModelError as error:
                files.write_result()
                number = len(training.log.epochs) + 1
                which = training.said_of_result()
                raise ModelError(f"epoch {number}: {error}; {which} is in {files.output}") from error
            files.state.write(training.state)
            training.log.write(files.log)
    files.write_result()
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


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Let CUDA compute the same numbers in every run inside the block, where its kernels can; the CPU does anyway.

    Of the operators of networks for images, those without such a kernel are a backward pass of interpolation and of
    adaptive pooling to other sizes than 1; torch warns of them.
    """
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it when its first product is computed
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # not declared
    torch.use_deterministic_algorithms(True, warn_only=True)
    # nothing here reads memory that nothing wrote
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # not declared
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]  # not declared


def on_device(net: nn.Module, name: str) -> nn.Module:
    """Bring a network to a device, in the layout of memory that convolutions are fastest in.

    Raises:
        ModelError: there is no CUDA device where one is wanted.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ModelError("device: a CUDA device was expected, got none; use `device=cpu`, or leave it out")
    if name == "auto":
        name = "cuda" if has_cuda else "cpu"
    moved: nn.Module = net.to(torch.device(name), memory_format=torch.channels_last)  # type: ignore[call-overload]  # not declared
    return moved


def copied(net: nn.Module) -> dict[str, Any]:
    """Return a copy of a network's state dict on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}
