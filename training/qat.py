"""Quantization-aware training: an int8 file whose weights and ranges have been trained as the file computes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, UsageError
from ftonnx.export import write_model
from ftonnx.files import check_target
from ftonnx.quant import Int8Writer, QuantSettings, Ranges, digest, images_per_batch
from ftonnx.quant.images import ImageStream
from ftonnx.training.graph_net import GraphNet
from ftonnx.training.images import TrainingImages
from ftonnx.training.loop import Passed
from ftonnx.training.records import LOG_ENDING, TrainingLog
from ftonnx.training.settings import TrainingSettings
from ftonnx.training.state import StateFile
from ftonnx.training.supervised import SupervisedTraining
from ftonnx.training.training import Progress, TrainingFiles, run

__all__ = ["QAT_DEFAULTS", "QatSettings", "QuantizedNetwork", "train_quantized"]

QAT_DEFAULTS = TrainingSettings(epochs=10, learning_rate=1e-4, stop_after=10)
"""A network that is trained already needs few epochs, at a low rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QatSettings:
    """How a network is trained as its int8 file computes.

    Attributes:
        training: epochs, rate, device and so on.
        quant: formats of the file, and how ranges are found before training.
        calibration_images: first training images that ranges are found on.
        frozen_epochs: last epochs in which ranges and scales stay as they are.

    Raises:
        UsageError: a value is out of range, or the file's format is not one that can be trained.
    """

    training: TrainingSettings = QAT_DEFAULTS
    quant: QuantSettings = field(default_factory=QuantSettings)
    calibration_images: int = 512
    frozen_epochs: int = 2

    def __post_init__(self) -> None:
        if self.calibration_images < 1:
            raise UsageError(f"calibration_images must be 1 or more, got {self.calibration_images}")
        if self.frozen_epochs < 0:
            raise UsageError(f"frozen_epochs must be 0 or more, got {self.frozen_epochs}")
        if self.training.linear_probe:
            raise UsageError("linear_probe: all weights are trained here; leave it out")
        if self.quant.quant_format != "qdq":
            raise UsageError(f"quant_format: qdq was expected, got {self.quant.quant_format!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedNetwork:
    """What quantization-aware training came to.

    Attributes:
        path: the int8 file.
        log_path: its log, one JSON object per epoch.
        log: the epochs.
        start: loss and accuracy on the validation images before the first, as after static quantization.
        is_trained: whether an epoch was better than that; else the file is the static quantization's.
        proto: the int8 model.
    """

    path: Path
    log_path: Path
    log: TrainingLog
    start: Passed
    is_trained: bool
    proto: onnx.ModelProto = field(repr=False)


def train_quantized(
    model: onnx.ModelProto,
    data: Dataset,
    validation: Dataset,
    output: str | Path,
    *,
    settings: QatSettings | None = None,
    progress: Progress | None = None,
) -> QuantizedNetwork:
    """Train a floating-point model as its int8 file computes, and write that file.

    The model is quantized statically first; then weights, biases and ranges are trained with values rounded to the
    codes of that file, and it is written again by the same quantizer (Jacob et al. 2018). Ranges follow by moving
    averages, and are kept in the last epochs; those of CReLUs follow from their thresholds. Batch normalizations are
    folded before.

    Args:
        model: FP32, one input, with operators of ``training.operators``.
        data: training images, prepared as the model takes them.
        validation: images that say which epoch is best.
        output: the int8 file; the log has its name with ``.jsonl`` for the suffix.
        settings: how.
        progress: called after every batch with (images done, images at most).

    Raises:
        ModelError: the model cannot be quantized, or has an operator that is not trained; or the loss is not finite any
            more: the best epoch is written then.
        DataError: the images do not fit.
        UsageError: the output cannot be written.
    """
    settings = settings or QatSettings()
    output = Path(output)
    check_target(output)
    images = TrainingImages(data)
    if validation.classes != data.classes:
        expected = f"{data.classes} classes, as the training images have"
        raise DataError(f"{validation.name}: expected {expected}, got {validation.classes}")
    writer = Int8Writer(model, settings.quant)
    calibrated = writer.calibrated(ImageStream(_first(data, settings.calibration_images), writer.plain, 1))
    net = GraphNet(writer, calibrated, writer.written(calibrated))
    first_frozen = settings.training.epochs - settings.frozen_epochs + 1

    def begin(epoch: int) -> None:
        net.train()
        if epoch >= first_frozen:
            net.freeze()

    training = SupervisedTraining(net, settings.training, images, validation, begin, net.parameters())
    start = training.tested()
    untrained = training.result

    def write_result() -> None:
        state = training.result if _is_better(training.log, start) else untrained
        write_model(_written(writer, net, calibrated, state), output)

    identity: dict[str, Any] = {
        "model": digest(model),
        "data": data.fingerprint,
        "validation": validation.fingerprint,
        "settings": settings.training.identity(),
        "quantization": settings.quant.to_dict(),
        # which epochs are frozen follows from the number of all
        "freezing": [settings.calibration_images, first_frozen],
    }
    log_path = output.with_suffix(LOG_ENDING)
    state = StateFile(output, identity, TrainingLog)
    files = TrainingFiles(output=output, log=log_path, state=state, write_result=write_result)
    run(training, files, progress)
    return QuantizedNetwork(
        path=output,
        log_path=log_path,
        log=training.log,
        start=start,
        is_trained=_is_better(training.log, start),
        proto=onnx.load(output),
    )


def _is_better(log: TrainingLog, start: Passed) -> bool:
    best = log.best
    return best is not None and best.rank > (start.accuracy, -start.loss)


def _written(writer: Int8Writer, net: GraphNet, calibrated: Ranges, state: dict[str, Any]) -> onnx.ModelProto:
    """Return the int8 file of a network in some state."""
    net.load_state_dict(state)
    plain = net.written_back(writer.plain)
    return writer.written(net.ranges(calibrated), plain=plain, weight_scales=net.weight_scales()).proto


def _first(data: Dataset, count: int) -> Iterator[NDArray[np.float32]]:
    """Yield the first images in batches whose activations fit into memory together."""
    left = count
    for images, _ in data.batches(images_per_batch(data.sample_shape)):
        if not isinstance(images, np.ndarray):
            raise DataError(f"{data.name}: one array of images was expected, got several")
        yield images[:left]
        left -= len(images)
        if left <= 0:
            return
