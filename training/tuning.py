"""``finetune``: a pre-trained network, trained on a data set's classes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.files import check_target, write_file
from ftonnx.models import build
from ftonnx.training.images import TrainingImages
from ftonnx.training.records import LOG_ENDING, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import StateFile
from ftonnx.training.supervised import SupervisedTraining
from ftonnx.training.training import Progress, TrainingFiles, digest_of, run

__all__ = ["TrainedNetwork", "finetune"]


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
    classes = classes or data.classes or 0
    files = [weights] if isinstance(weights, str | Path) else list(weights or ())
    identity = {
        "architecture": arch,
        "classes": classes,
        "weights": [digest_of(Path(file)) for file in files],
        "data": data.fingerprint,
        "validation": validation.fingerprint,
        "settings": settings.identity(),
    }
    net = build(arch, classes=classes, weights=files or None, fresh_head=bool(files), seed=settings.seed)
    head = _last_layer(net)

    def begin(epoch: int) -> None:
        net.train(not settings.linear_probe)
        head.train()

    learnt = head.parameters() if settings.linear_probe else net.parameters()
    training = SupervisedTraining(net, settings, images, validation, begin, learnt)
    about = _about(arch, data, classes, settings)
    log_path = output.with_suffix(LOG_ENDING)
    written = TrainingFiles(
        output=output,
        log=log_path,
        state=StateFile(output, identity, TrainingLog),
        write_result=lambda: _write(output, training.result, about, training.log),
    )
    run(training, written, progress)
    return TrainedNetwork(path=output, log_path=log_path, log=training.log, classes=classes)


def _check_classes(data: Dataset, validation: Dataset, classes: int | None) -> None:
    if np.count_nonzero(data.counts()) < 2:
        raise DataError(f"{data.name}: images of two classes or more were expected, got one")
    if validation.classes != data.classes:
        expected = f"{data.classes} classes, as the training images have"
        raise DataError(f"{validation.name}: expected {expected}, got {validation.classes}")
    if classes is not None and classes < (data.classes or 0):
        raise UsageError(f"classes: {data.classes} or more were expected, as {data.name} has, got {classes}")


def _last_layer(net: nn.Module) -> nn.Module:
    """The last layer that has weights: the classifier."""
    owners = [module for module in net.modules() if any(True for _ in module.parameters(recurse=False))]
    if not owners:
        raise ModelError(f"{type(net).__name__}: a network with weights was expected, got none to train")
    return owners[-1]


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
