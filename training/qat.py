"""Quantization-aware training: an int8 file whose weights and ranges have been trained as the file computes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError
from ftonnx.export import write_model
from ftonnx.models.tuned_on import note_tuned_on
from ftonnx.quant import Int8Writer, QuantSettings, Ranges, digest, images_per_batch
from ftonnx.quant.images import ImageStream
from ftonnx.training.checks import checked_log_path
from ftonnx.training.graph_net import GraphNet
from ftonnx.training.images import TrainingImages
from ftonnx.training.labels.registry import labels_of
from ftonnx.training.qat_settings import QatSettings
from ftonnx.training.records import TrainingLog
from ftonnx.training.settings import AUTO, NONE
from ftonnx.training.state import StateFile
from ftonnx.training.supervised import Lesson, Passed, SupervisedTraining
from ftonnx.training.training import Progress, TrainingFiles, run

__all__ = ["QuantizedNetwork", "check_trainable", "train_quantized"]


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


@dataclass(frozen=True, slots=True)
class _Grown:
    """The torch network of a model's int8 file."""

    writer: Int8Writer
    calibrated: Ranges
    net: GraphNet

    def written(self, state: dict[str, Any]) -> onnx.ModelProto:
        """Return the int8 file of the network in some state."""
        self.net.load_state_dict(state)
        plain = self.net.written_back(self.writer.plain)
        ranges = self.net.ranges(self.calibrated)
        return self.writer.written(ranges, plain=plain, weight_scales=self.net.weight_scales()).proto


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
        DataError: the images do not fit, or have one class only.
        UsageError: the output cannot be written.
    """
    settings = settings or QatSettings()
    output = Path(output)
    log_path = checked_log_path(output)
    images = TrainingImages(data)
    lesson = Lesson(labels=labels_of(data, validation), images=images, validation=validation)
    grown = _grown(model, data, settings.quant, settings.calibration_images)
    net = grown.net
    steps = settings.training
    if steps.autocast == AUTO:
        # the rounding that is learnt is the file's, and narrower floats would round once more
        steps = replace(steps, autocast=NONE)
    first_frozen = steps.epochs - settings.frozen_epochs + 1

    def begin(epoch: int) -> None:
        net.train()
        if epoch >= first_frozen:
            net.freeze()

    training = SupervisedTraining(net, steps, lesson, begin, net.parameters())
    start = training.tested()
    untrained = training.result

    def write_result() -> None:
        state = training.result if _is_better(training.log, start) else untrained
        proto = grown.written(state)
        for used in (data, validation):
            note_tuned_on(proto, used.fingerprint)
        write_model(proto, output)

    identity: dict[str, Any] = {
        "model": digest(model),
        "data": data.fingerprint,
        "validation": validation.fingerprint,
        "settings": steps.identity(),
        "quantization": settings.quant.to_dict(),
        # which epochs are frozen follows from the number of all
        "freezing": [settings.calibration_images, first_frozen],
    }
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


def check_trainable(model: onnx.ModelProto, data: Dataset, settings: QatSettings) -> None:
    """Find out whether a model can be trained as its int8 file computes, by one image.

    Raises:
        ModelError: it cannot be quantized, or has an operator that is not trained, named with its node.
        DataError: the image does not fit.
    """
    net = _grown(model, data, settings.quant, 1).net.eval()
    image = next(_first(data, 1))
    with torch.no_grad():
        net(torch.from_numpy(image))


def _is_better(log: TrainingLog, start: Passed) -> bool:
    best = log.best
    return best is not None and best.rank > (start.accuracy, -start.loss)


def _grown(model: onnx.ModelProto, data: Dataset, quant: QuantSettings, images: int) -> _Grown:
    """Quantize a model statically, with ranges found on the first images, and make the network of that file."""
    writer = Int8Writer(model, quant)
    calibrated = writer.calibrated(ImageStream(_first(data, images), writer.plain, 1))
    net = GraphNet(writer, calibrated, writer.written(calibrated))
    return _Grown(writer, calibrated, net)


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
