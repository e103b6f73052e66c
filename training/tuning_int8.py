"""``finetune_int8``: a pre-trained network, trained on a data set's classes, and then as its int8 file computes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import onnx

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError
from ftonnx.export import check_parity, export_module
from ftonnx.models import build
from ftonnx.models.checkpoint_about import read_about
from ftonnx.training.checks import checked_log_path
from ftonnx.training.ended import ended_log, files_of, identity_of
from ftonnx.training.images import TrainingImages
from ftonnx.training.labels.registry import labels_of
from ftonnx.training.qat import QuantizedNetwork, check_trainable, train_quantized
from ftonnx.training.qat_settings import Int8TuningSettings
from ftonnx.training.records import LOG_ENDING, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import StateFile
from ftonnx.training.training import Progress
from ftonnx.training.tuning import TrainedNetwork, finetune

__all__ = ["TunedInt8", "finetune_int8"]

_CHECKPOINT_ENDING: Final = ".float.pth"
"""The checkpoint has the name of the int8 file, with this suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedInt8:
    """What fine-tuning and quantization-aware training came to.

    Attributes:
        tuned: the fine-tuned network.
        was_tuned: whether an earlier call had fine-tuned it already.
        model: that network as an ONNX model, in floating point.
        quantized: the int8 file.
    """

    tuned: TrainedNetwork
    was_tuned: bool
    model: onnx.ModelProto = field(repr=False)
    quantized: QuantizedNetwork


def finetune_int8(
    arch: str,
    data: Dataset,
    validation: Dataset,
    output: str | Path,
    *,
    weights: str | Path | Sequence[str | Path] | None = None,
    classes: int | None = None,
    settings: Int8TuningSettings | None = None,
    progress: Progress | None = None,
) -> TunedInt8:
    """Fine-tune a network, export it, and train it as its int8 file computes: what three calls do one after another.

    The fine-tuned checkpoint is kept beside the int8 file. The same call goes on from where a process ended, in either
    training; what has been fine-tuned is not fine-tuned again.

    Args:
        arch: as in ``models.build``.
        data: training images.
        validation: images that say which epochs are best; of the same classes.
        output: the int8 file. The checkpoint has its name with ``.float.pth`` for the suffix; each has a log.
        weights: as in ``models.build``; what they say of the classifier does not count.
        classes: size of the classifier; that of the data by default.
        settings: how both are trained.
        progress: called after every batch with (images done, images at most), of both trainings together.

    Raises:
        UsageError: a setting makes no sense, or a file cannot be written.
        ModelError: the checkpoint does not fit, the network cannot be exported or trained as an int8 file (which is
            found out before it is fine-tuned), or a loss is not finite any more: the best epoch is written then.
        DataError: the images have one class only, or cannot be read.
    """
    settings = settings or Int8TuningSettings()
    output = Path(output)
    checked_log_path(output)
    images = len(TrainingImages(data)) + len(validation)
    labels = labels_of(data, validation, classes)
    tuning = labels.completed(settings.tuning)
    network = _Network(arch=arch, classes=labels.classes, weights=files_of(weights))
    first = settings.tuning.epochs * images
    most = first + settings.qat.training.epochs * images
    tuned = _tuned_before(network, data, validation, output, tuning)
    was_tuned = tuned is not None
    if tuned is None:
        _check_not_begun(output)
        # before the work of hours
        check_trainable(_fresh(network, data), data, settings.qat)
        tuned = finetune(
            arch,
            data,
            validation,
            _checkpoint(output),
            weights=network.weights,
            classes=network.classes,
            settings=tuning,
            progress=_part(progress, 0, most),
        )
    model = _exported(network, tuned.path)
    try:
        quantized = train_quantized(
            model, data, validation, output, settings=settings.qat, progress=_part(progress, first, most)
        )
    except ModelError as error:
        # which of the two rates is meant
        said = str(error).replace("`learning_rate`", "`qat_learning_rate`")
        raise ModelError(f"quantization-aware training: {said}") from error
    return TunedInt8(tuned=tuned, was_tuned=was_tuned, model=model, quantized=quantized)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """Which network is tuned, and what it starts from."""

    arch: str
    classes: int
    weights: list[Path]


def _checkpoint(output: Path) -> Path:
    return output.with_suffix(_CHECKPOINT_ENDING)


def _tuned_before(
    network: _Network, data: Dataset, validation: Dataset, output: Path, settings: TrainingSettings
) -> TrainedNetwork | None:
    """Return the fine-tuned network of an earlier call, if it is the one that this call would give."""
    checkpoint = _checkpoint(output)
    identity = identity_of(network.arch, network.classes, network.weights, data, validation, settings)
    log = ended_log(checkpoint, identity, settings)
    if log is None:
        return None
    log_path = checkpoint.with_suffix(LOG_ENDING)
    return TrainedNetwork(path=checkpoint, log_path=log_path, log=log, classes=network.classes)


def _check_not_begun(output: Path) -> None:
    """Refuse to fine-tune where a quantization-aware training waits that began with another checkpoint."""
    state = StateFile(output, {}, TrainingLog).path
    if state.exists():
        raise ModelError(
            f"{state}: expected {_checkpoint(output).name} of the same training beside it, got none or another; "
            "repeat that command, or remove the file"
        )


def _fresh(network: _Network, data: Dataset) -> onnx.ModelProto:
    """Return the model of a network before it is trained: its operators are the same."""
    shape = data.sample_shape
    assert isinstance(shape, tuple)  # images to train on are one array
    return export_module(build(network.arch, classes=network.classes), input_shape=shape)


def _exported(network: _Network, checkpoint: Path) -> onnx.ModelProto:
    """Return the model of a checkpoint that ``finetune`` wrote, as ``ftonnx export`` writes it."""
    about = read_about([checkpoint])
    net = build(network.arch, classes=about.classes, weights=checkpoint)
    assert about.input_shape is not None  # finetune says it
    metadata = {"ftonnx.architecture": Path(network.arch).name, **about.metadata}
    model = export_module(net, input_shape=about.input_shape, metadata=metadata)
    check_parity(net, model)
    return model


def _part(progress: Progress | None, before: int, most: int) -> Progress | None:
    """Return what one training calls, so that it counts as a part of both."""
    if progress is None:
        return None
    whole = progress
    return lambda done, _: whole(before + done, most)
