"""``finetune``: a pre-trained network, trained on a data set's classes."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.files import check_target, write_file
from ftonnx.models import build
from ftonnx.training.images import TrainingImages
from ftonnx.training.loop import evaluated, trained
from ftonnx.training.records import Epoch, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import State, StateFile

__all__ = ["TrainedNetwork", "finetune"]

Progress = Callable[[int, int], None]
"""Called with (images done, images at most) after every batch."""

_LOG_ENDING: Final = ".jsonl"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """What a training came to.

    Attributes:
        path: The checkpoint, which ``export`` takes.
        log_path: Its log, one JSON object per epoch.
        log: The epochs.
        classes: Of the classifier.
    """

    path: Path
    log_path: Path
    log: TrainingLog
    classes: int


def finetune(
    arch: str,
    data: Dataset,
    validation: Dataset,
    output: str | Path,
    *,
    weights: str | Path | Sequence[str | Path] | None = None,
    classes: int | None = None,
    settings: TrainingSettings | None = None,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train a network with a fresh classifier, from a checkpoint or from scratch.

    After every epoch all that the next one needs is in a file beside the output: the same call goes on from there, to
    the same result on the same machine. The file is removed at the end.

    Args:
        arch: As in ``models.build``.
        data: Training images. What their preprocessing cuts from the centre is cut at random here.
        validation: Images that say which epoch is best; of the same classes.
        output: The checkpoint to write; the log has its name with ``.jsonl`` for the suffix.
        weights: As in ``models.build``; what they say of the classifier does not count.
        classes: Size of the classifier; that of the data by default.
        settings: How it is trained.
        progress: Called after every batch.

    Raises:
        UsageError: A setting makes no sense, or the output cannot be written.
        ModelError: The checkpoint does not fit, or the loss is not finite any more: the best epoch is written then.
        DataError: The images have one class only, or cannot be read.
    """
    settings = settings or TrainingSettings()
    output = Path(output)
    check_target(output)
    images = TrainingImages(data)
    _check_classes(data, validation, classes)
    classes = classes or data.classes
    device = _device(settings.device)
    files = [weights] if isinstance(weights, str | Path) else list(weights or ())
    identity = {
        "architecture": arch,
        "classes": classes,
        "weights": [_digest(Path(file)) for file in files],
        "data": data.fingerprint,
        "validation": validation.fingerprint,
        # more epochs than before go on from where it ended
        "settings": {name: value for name, value in asdict(settings).items() if name not in ("epochs", "stop_after")},
    }
    net = build(arch, classes=classes, weights=files or None, fresh_head=bool(files), seed=settings.seed)
    training = _Training(net, settings, device)
    log_path = output.with_suffix(_LOG_ENDING)
    state_file = StateFile(output, identity)
    about = _about(arch, data, classes or 0, settings)
    training.take_over(state_file.read())
    seen = _Counter(progress, settings.epochs * (len(images) + len(validation)))
    seen.skip(len(training.log.epochs) * (len(images) + len(validation)))
    with _threads(settings.threads):
        while not training.is_over:
            try:
                training.epoch(images, validation, seen)
            except ModelError as error:
                _write(output, training.best, about, training.log)
                raise ModelError(f"epoch {len(training.log.epochs) + 1}: {error}; {_kept(training, output)}") from error
            state_file.write(training.state)
            training.log.write(log_path)
    _write(output, training.best, about, training.log)
    training.log.write(log_path)
    state_file.remove()
    return TrainedNetwork(path=output, log_path=log_path, log=training.log, classes=classes or 0)


class _Training:
    """A network on its way."""

    def __init__(self, net: nn.Module, settings: TrainingSettings, device: torch.device) -> None:
        self.log = TrainingLog()
        self._settings = settings
        self._device = device
        self._net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not declared
        head = _last_layer(net)
        learnt = head.parameters() if settings.linear_probe else net.parameters()
        self._learnt = [parameter.requires_grad_(True) for parameter in learnt]
        self._head = head
        self._optimizer = torch.optim.RAdam(self._learnt, lr=settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer,
            factor=settings.factor,
            patience=settings.patience,
        )
        self._scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.best = _copied(net)

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

    def epoch(self, images: TrainingImages, validation: Dataset, seen: "_Counter") -> None:
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
        self._net.train(not settings.linear_probe)
        self._head.train()
        learnt = trained(self._net, batches, self._optimizer, self._scaler, self._device, seen.add)
        tested = evaluated(self._net, validation, settings.batch_size, self._device, seen.add)
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


class _Counter:
    """Adds up images for whoever watches."""

    def __init__(self, progress: Progress | None, most: int) -> None:
        self._progress = progress
        self._done = 0
        self._most = most

    def skip(self, images: int) -> None:
        """Count what was done before."""
        self._done += images

    def add(self, images: int) -> None:
        """Count a batch."""
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


def _check_classes(data: Dataset, validation: Dataset, classes: int | None) -> None:
    if np.count_nonzero(data.counts()) < 2:
        raise DataError(f"{data.name}: images of two classes or more were expected, got one")
    if validation.classes != data.classes:
        expected = f"{data.classes} classes, as the training images have"
        raise DataError(f"{validation.name}: expected {expected}, got {validation.classes}")
    if classes is not None and classes < (data.classes or 0):
        raise UsageError(f"classes: {data.classes} or more were expected, as {data.name} has, got {classes}")


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ModelError("device: a CUDA device was expected, got none; use `device=cpu`, or leave it out")
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    return torch.device(name)


def _last_layer(net: nn.Module) -> nn.Module:
    """The last layer that has weights: the classifier."""
    owners = [module for module in net.modules() if any(True for _ in module.parameters(recurse=False))]
    if not owners:
        raise ModelError(f"{type(net).__name__}: a network with weights was expected, got none to train")
    return owners[-1]


def _copied(net: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}


def _about(arch: str, data: Dataset, classes: int, settings: TrainingSettings) -> dict[str, str]:
    """What the checkpoint says of itself; ``export`` goes by it, and writes it into the model."""
    about = {
        "ftonnx.architecture": Path(arch).name,
        "ftonnx.classes": str(classes),
        "ftonnx.input_shape": json.dumps(data.sample_shape),
        "ftonnx.preprocess": json.dumps(data.preprocess.as_dict()),
        "ftonnx.training": json.dumps({"data": data.name, "split": data.split, **asdict(settings)}),
    }
    names = data.class_names
    if names is not None and len(names) == classes and all(names):
        about["class_names"] = json.dumps(names)
    return about


def _write(output: Path, network: dict[str, Any], about: dict[str, str], log: TrainingLog) -> None:
    best = log.best
    content = {"state_dict": network, "metadata": about, "epoch": 0 if best is None else best.epoch}
    buffer = BytesIO()
    torch.save(content, buffer)
    write_file(buffer.getvalue(), output)


def _kept(training: _Training, output: Path) -> str:
    best = training.log.best
    which = "the network as it was before the first" if best is None else f"the best before, {best.epoch},"
    return f"{which} is in {output}"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ModelError(f"{path}: expected a checkpoint, but it cannot be read: {error.strerror}") from error
    return digest.hexdigest()
