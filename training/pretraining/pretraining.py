"""``pretrain``: a network that learns from images without labels."""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from ftonnx.datasets import Dataset
from ftonnx.files import check_target, write_file
from ftonnx.models import build
from ftonnx.training.ended import digests_of, files_of
from ftonnx.training.loop import Goal, Seen, Step, trained
from ftonnx.training.making import processes_beside
from ftonnx.training.pretraining.encoder import Encoder
from ftonnx.training.pretraining.method import Geometry, Method, Moment
from ftonnx.training.pretraining.registry import CLASSES
from ftonnx.training.pretraining.views import Views, side_of
from ftonnx.training.records import LOG_ENDING, PretrainingEpoch, PretrainingLog
from ftonnx.training.settings import PretrainingSettings
from ftonnx.training.state import StateFile
from ftonnx.training.training import Progress, Training, TrainingFiles, copied, on_device, run

__all__ = ["PretrainedNetwork", "pretrain"]

_PREFIX: Final = "encoder."
_SPREAD: Final = "spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedNetwork:
    """What a pretraining came to.

    Attributes:
        path: The checkpoint, a backbone that ``finetune`` takes.
        log_path: Its log, one JSON object per epoch.
        log: The epochs.
    """

    path: Path
    log_path: Path
    log: PretrainingLog


def pretrain(
    arch: str,
    data: Dataset,
    output: str | Path,
    *,
    weights: str | Path | Sequence[str | Path] | None = None,
    settings: PretrainingSettings | None = None,
    progress: Progress | None = None,
) -> PretrainedNetwork:
    """Train a network without its classifier on images without their labels.

    After every epoch all that the next one needs is in a file beside the output: the same call goes on from there, to
    the same result on the same machine. The file is removed at the end. The result is the network after the last
    epoch: no figure of a pretraining says which one is best.

    Args:
        arch: As in ``models.build``.
        data: Images of three colours; their large views have the size that the preprocessing gives, and its mean and
            std.
        output: The checkpoint to write; the log has its name with ``.jsonl`` for the suffix.
        weights: As in ``models.build``, to start from; a classifier among them does not count.
        settings: How it is trained.
        progress: Called after every batch.

    Raises:
        UsageError: A setting makes no sense, or the output cannot be written.
        ModelError: The checkpoint or the network does not fit, or the loss is not finite any more: what the epochs
            before came to is written then.
        DataError: The images cannot be read, or have no views.
    """
    settings = settings or PretrainingSettings()
    output = Path(output)
    check_target(output)
    kind = CLASSES[settings.method]
    views = Views(data, kind.transform(Geometry.of(side_of(data), flips=settings.flips), settings))
    files = files_of(weights)
    net = build(arch, weights=files or None, fresh_head=bool(files), seed=settings.seed)
    torch.manual_seed(settings.seed)
    training = Pretraining(kind(Encoder(net), settings), settings, views)
    identity = {
        "architecture": arch,
        "weights": digests_of(files),
        "data": data.fingerprint,
        "settings": settings.identity(),
    }
    log_path = output.with_suffix(LOG_ENDING)
    about = _about(arch, data, settings)
    written = TrainingFiles(
        output=output,
        log=log_path,
        state=StateFile(output, identity, PretrainingLog),
        write_result=lambda: _write(output, training, about),
    )
    run(training, written, progress)
    return PretrainedNetwork(path=output, log_path=log_path, log=training.log)


class Pretraining(Training[PretrainingLog]):
    """A method on its way; the result is its last epoch."""

    settings: PretrainingSettings
    net: Method

    def __init__(self, method: Method, settings: PretrainingSettings, views: Views) -> None:
        """Begin with a method.

        Raises:
            ModelError: there is no CUDA device where one is wanted.
        """
        on_device(method, settings.device)
        super().__init__(method, settings, method.optimizer(method.best_rate()))
        self.log = PretrainingLog()
        self._views = views
        self._device = next(method.parameters()).device
        self._processes = processes_beside(self._device)

    @property
    def images_per_epoch(self) -> int:
        """See ``Training.images_per_epoch``."""
        return len(self._views)

    def epoch(self, seen: Seen) -> None:
        """See ``Training.epoch``."""
        number = len(self.log.epochs)
        start = time.perf_counter()
        size = min(self.settings.batch_size, len(self._views))
        batches = self._views.shuffled(size, self.seeded(), self._processes)
        goal = _Agreement(self.net, self.optimizer, self._device, number, len(self._views) // size)
        self.net.train()
        passed = trained(goal, batches, self.optimizer, self.autocast, seen)
        epoch = PretrainingEpoch(
            epoch=number + 1,
            loss=passed.loss,
            spread=passed.watched[_SPREAD] / passed.images,
            learning_rate=goal.rate,
            seconds=time.perf_counter() - start,
        )
        self.log = self.log.with_epoch(epoch)
        self.result = copied(self.net)

    def said_of_result(self) -> str:
        """See ``Training.said_of_result``."""
        done = len(self.log.epochs)
        return f"what epoch {done} came to" if done else "the network as it was before the first"

    def kept(self) -> dict[str, Tensor]:
        """Return the weights that are kept, by the network's own names."""
        start = f"{self.net.kept}.net."
        return {key.removeprefix(start): value for key, value in self.result.items() if key.startswith(start)}


class _Agreement(Goal[list[Tensor]]):
    """A method's loss on views, with a learning rate that rises to its highest and falls along a cosine."""

    def __init__(
        self, method: Method, optimizer: torch.optim.Optimizer, device: torch.device, epoch: int, steps: int
    ) -> None:
        self._method = method
        self._optimizer = optimizer
        self._device = device
        self._epoch = epoch
        self._steps = steps
        self._step = 0
        self.rate = 0.0

    def step(self, batch: list[Tensor]) -> Step:
        """See ``Goal.step``; what is watched is the spread of features."""
        self.rate = self._method.best_rate() * _height(self._moment.done, self._method.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = self._method.best_rate() if group.get("fixed_rate") else self.rate
        views = [view.to(self._device, memory_format=torch.channels_last) for view in batch]
        learnt = self._method.learn(views)
        images = len(batch[0])
        spread = _spread(learnt.features) * images
        return Step(loss=learnt.loss, weight=images, images=images, watched={_SPREAD: spread})

    def before_update(self) -> None:
        """See ``Goal.before_update``."""
        self._method.before_update(self._moment)

    def after_update(self) -> None:
        """See ``Goal.after_update``."""
        self._method.after_update(self._moment)
        self._step += 1

    @property
    def _moment(self) -> Moment:
        epochs = self._epoch + self._step / self._steps
        return Moment(done=epochs / self._method.settings.epochs, epoch=self._epoch)


def _height(done: float, warmup: float) -> float:
    """Share of the highest rate: a straight line up to it, then a cosine down to 0.

    >>> [round(_height(done, 0.2), 3) for done in (0, 0.1, 0.2, 0.6, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if done < warmup:
        return done / warmup
    return (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


def _spread(features: Tensor) -> float:
    """How far features of unit length lie apart: their standard deviation over images, 1 where they fill all room.

    Collapsed ones, equal for all images, have 0 (Chen and He 2021, section 4.1).
    """
    unit = functional.normalize(features.detach().float(), dim=1)
    return float(unit.std(0, correction=0).mean()) * math.sqrt(features.shape[1])


def _about(arch: str, data: Dataset, settings: PretrainingSettings) -> dict[str, str]:
    return {
        "ftonnx.architecture": Path(arch).name,
        "ftonnx.pretraining": json.dumps({"data": data.name, "split": data.split, **asdict(settings)}),
    }


def _write(output: Path, training: Pretraining, about: dict[str, str]) -> None:
    state: dict[str, Any] = {_PREFIX + name: tensor for name, tensor in training.kept().items()}
    content = {"state_dict": state, "metadata": about, "epoch": len(training.log.epochs)}
    buffer = BytesIO()
    torch.save(content, buffer)
    write_file(buffer.getvalue(), output)
