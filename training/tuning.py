"""``finetune``: a pre-trained network, trained on a data set's classes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError
from ftonnx.files import write_file
from ftonnx.models import build
from ftonnx.models.checkpoint_about import CLASSES, INPUT_SHAPE
from ftonnx.models.classifier import classifier_names
from ftonnx.training.checks import checked_log_path
from ftonnx.training.ended import ended_mark, files_of, identity_of
from ftonnx.training.images import TrainingImages
from ftonnx.training.labels.registry import labels_of
from ftonnx.training.records import TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import StateFile
from ftonnx.training.supervised import Lesson, SupervisedTraining
from ftonnx.training.training import Progress, TrainingFiles, run

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

    Labels are class numbers, or maps of them, of which the network gives scores ``(batch, classes, height, width)``.

    After every epoch all that the next one needs is in a file beside the output: the same call goes on from there, to
    the same result on the same machine. The file is removed at the end.

    Args:
        arch: As in ``models.build``.
        data: Training images. What their preprocessing cuts from the centre is cut at random here, of label maps too.
        validation: Images that say which epoch is best; of the same classes.
        output: The checkpoint to write; the log has its name with ``.jsonl`` for the suffix.
        weights: As in ``models.build``; what they say of the classifier does not count.
        classes: Size of the classifier; that of the data by default, of label maps the highest number and one.
        settings: How it is trained.
        progress: Called after every batch.

    Raises:
        UsageError: A setting makes no sense, or the output cannot be written.
        ModelError: The checkpoint does not fit, the network is not one for such images and labels, or the loss is not
            finite any more: the best epoch is written then.
        DataError: The images have one class only, or cannot be read.
    """
    settings = settings or TrainingSettings()
    output = Path(output)
    files = files_of(weights)
    log_path = checked_log_path(output, *files)
    images = TrainingImages(data)
    labels = labels_of(data, validation, classes)
    classes = labels.classes
    settings = labels.completed(settings)
    identity = identity_of(arch, classes, files, data, validation, settings)
    net = build(arch, classes=classes, weights=files or None, fresh_head=bool(files), seed=settings.seed)

    def begin(epoch: int) -> None:
        net.train(not settings.linear_probe)

    lesson = Lesson(labels=labels, images=images, validation=validation)
    training = SupervisedTraining(net, settings, lesson, begin, _learnt(net, settings))
    training.try_out()
    about = _about(arch, data, classes, settings)
    written = TrainingFiles(
        output=output,
        log=log_path,
        state=StateFile(output, identity, TrainingLog),
        write_result=lambda: _write(output, training, about | ended_mark(training, identity, settings)),
    )
    run(training, written, progress)
    return TrainedNetwork(path=output, log_path=log_path, log=training.log, classes=classes)


def _learnt(net: nn.Module, settings: TrainingSettings) -> list[nn.Parameter]:
    """The parameters that are trained: all, or those of the classifier.

    Raises:
        ModelError: There are none.
    """
    learnt = dict(net.named_parameters())
    if settings.linear_probe:
        classifier = classifier_names(net)
        learnt = {name: each for name, each in learnt.items() if name in classifier}
    if not learnt:
        raise ModelError(f"{type(net).__name__}: a network with weights was expected, got none to train")
    return list(learnt.values())


def _about(arch: str, data: Dataset, classes: int, settings: TrainingSettings) -> dict[str, str]:
    """What the checkpoint says of itself; ``export`` goes by it, and writes it into the model."""
    about = {
        "ftonnx.architecture": Path(arch).name,
        CLASSES: str(classes),
        INPUT_SHAPE: json.dumps(data.sample_shape),
        "ftonnx.preprocess": json.dumps(data.preprocess.as_dict()),
        "ftonnx.training": json.dumps({"data": data.name, "split": data.split, **asdict(settings)}),
    }
    names = data.class_names
    if names is not None and len(names) == classes and all(names):
        about["class_names"] = json.dumps(names)
    return about


def _write(output: Path, training: SupervisedTraining, about: dict[str, str]) -> None:
    best = training.log.best
    content = {"state_dict": training.result, "metadata": about, "epoch": 0 if best is None else best.epoch}
    buffer = BytesIO()
    torch.save(content, buffer)
    write_file(buffer.getvalue(), output)
