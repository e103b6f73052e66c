"""``quantize``: an int8 model from whatever stands for a model and for images, and what it does to accuracy."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.campaign.inputs import open_model
from ftonnx.datasets import Dataset
from ftonnx.errors import UsageError
from ftonnx.export import write_model
from ftonnx.inject import OnnxModel
from ftonnx.mitigate.accuracy import AccuracyChange, accuracy_change
from ftonnx.mitigate.inputs import LabelledData, open_labelled
from ftonnx.models.tuned_on import note_tuned_on
from ftonnx.quant import CalibrationCache, Quantized, QuantReport, QuantSettings, only_array
from ftonnx.quant import quantize as quantize_proto
from ftonnx.quant.images import calibration_batch
from ftonnx.samples import count_of
from ftonnx.sessions import saturating_operators, saturation_caution
from ftonnx.tasks import Task
from ftonnx.words import of_kind

__all__ = ["CalibrationData", "QuantizedModel", "quantize"]

Progress = Callable[[int, int], None]
Images = NDArray[np.float32]

CalibrationData = LabelledData | Iterable[Images] | Callable[[], Iterator[Images]]
"""Labelled data, or batches of images without labels, or a function that starts a pass over such."""

_DEFAULTS: Final = QuantSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedModel:
    """A quantized model; unpacks into the model and the report.

    Attributes:
        proto: the int8 model.
        report: sizes, ranges, error per activation.
        original: the floating-point model.
        data: the calibration data; None for images without labels.
    """

    proto: onnx.ModelProto
    report: QuantReport
    original: OnnxModel
    data: Dataset | None

    def __iter__(self) -> Iterator[Any]:
        """Yield the model, then the report."""
        yield self.proto
        yield self.report

    def __repr__(self) -> str:
        summary = self.report.summary()
        return f"QuantizedModel({self.original.name!r} to int8: {summary})"

    def save(self, path: str | Path) -> None:
        """Write the model, beside first, then renamed.

        Raises:
            UsageError: it cannot be written.
        """
        write_model(self.proto, Path(path))

    def accuracy(
        self,
        data: LabelledData | None = None,
        *,
        task: Task | None = None,
        output: str | None = None,
        progress: Progress | None = None,
    ) -> AccuracyChange:
        """Return the fault-free accuracy before and after, both on the same images.

        A model whose outputs do not fit the task has none, which the result's ``note`` says.

        Args:
            data: labelled images; the calibration data by default. Of a spec the split ``test`` is taken.
            task: what the outputs are worth; what they look like by default.
            output: name of the output that is judged; the one that fits the task by default.
            progress: called after every batch with (images done, images in all).

        Raises:
            UsageError: there are no labels.
            ModelError: the model is random.
            DataError: the labels do not fit the model.
        """
        labelled = self.data
        if data is not None:
            labelled = open_labelled(data, self.original, split="test")
        if labelled is None:
            raise UsageError("the calibration images have no labels; give labelled data to measure accuracy on")
        found = accuracy_change(
            self.original, self.proto, labelled, step="quantization", task=task, output=output, progress=progress
        )
        caution = saturation_caution(saturating_operators(self.proto))
        if caution is None or found.before is None:
            return found
        return replace(found, warnings=(*found.warnings, caution))

    def to_dict(self, accuracy: AccuracyChange | None = None) -> dict[str, Any]:
        """Return everything that is known as JSON values, the accuracy where it was measured."""
        path = self.original.path
        model = {
            "name": self.original.name,
            "path": None if path is None else str(path),
        }
        content: dict[str, Any] = {"model": model}
        if self.data is not None:
            content["data"] = {
                "name": self.data.name,
                "split": self.data.split,
                "samples": len(self.data),
                "sha256": self.data.fingerprint,
            }
        if accuracy is not None:
            content["accuracy"] = accuracy.to_dict()
            content["warnings"] = list(accuracy.warnings)
        return content | self.report.to_dict()


def quantize(
    model: str | Path | onnx.ModelProto | OnnxModel,
    data: CalibrationData,
    settings: QuantSettings = _DEFAULTS,
    *,
    calibration_cache: str | Path | CalibrationCache | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize a model after training: weights int8, biases int32, activations 8 bits.

    Args:
        model: FP32, one input: a path, the name of an embedded model, a ``ModelProto``, or a loaded model.
        data: calibration images: a spec (its split ``train``, where it has splits), a data set, batches of
            ``(images, labels)``, or batches of images as the model takes them (or a function that starts a pass
            over such).
        settings: formats and calibration.
        calibration_cache: a file from which the ranges are read if they are there, else written to it.
        progress: called after every batch of labelled data with (images done, images in all).

    Raises:
        ModelError: the model is quantized already, is not FP32, has nothing to quantize, or fails to run.
        DataError: the images are none, have the wrong shape or type, or are not finite.
        UsageError: a pattern of ``exclude_nodes`` matches no node, or a cache file is named for images without labels.
        StoreError: the cache is damaged, belongs to another model, data or method, or cannot be written.
    """
    loaded = open_model(model)
    source = _opened(data, loaded)
    cache = _cache(calibration_cache, source)
    if isinstance(source, Dataset):
        size = calibration_batch(loaded.proto, source.sample_shape)
        images = _counted(source, size, progress or _ignore)
        result = quantize_proto(loaded.proto, images, settings, cache=cache)
        result = _noted(result, source)
    else:
        result = quantize_proto(loaded.proto, source, settings, cache=cache)
    return QuantizedModel(
        proto=result.proto,
        report=result.report,
        original=loaded,
        data=source if isinstance(source, Dataset) else None,
    )


def _noted(result: Quantized, data: Dataset) -> Quantized:
    """Return the result with the calibration data in the model's metadata, which its size counts."""
    note_tuned_on(result.proto, data.fingerprint)
    return replace(result, report=replace(result.report, size_after=result.proto.ByteSize()))


def _opened(data: CalibrationData, model: OnnxModel) -> "Dataset | Iterable[Images] | Callable[[], Iterator[Images]]":
    """Return a data set where there are labels, else the images as they were given."""
    if isinstance(data, str | Dataset):
        return open_labelled(data, model, split="train")
    if callable(data):
        return data
    of_kind("data", data, Iterable, "a data set's spec, a data set, or batches of images")
    # an iterator is begun once only: the batch that was looked at goes back in front
    batches: Iterator[Any] = iter(data)
    first = list(itertools.islice(batches, 1))
    read_once = batches is data
    whole: Any = itertools.chain(first, batches) if read_once else data
    if first and _is_labelled(first[0]):
        return open_labelled(whole, model, split="train")
    images: Iterable[Images] = whole
    return images


def _is_labelled(batch: Any) -> bool:
    """Say whether a batch is a pair of images and labels; torch's loaders give lists.

    >>> _is_labelled((np.zeros((2, 1, 8, 8), np.float32), np.zeros(2, int))), _is_labelled(np.zeros((2, 1, 8, 8)))
    (True, False)
    """
    return isinstance(batch, tuple | list) and len(batch) == 2


def _cache(cache: str | Path | CalibrationCache | None, source: object) -> CalibrationCache | None:
    """Return the cache of a file, which belongs to the data by its fingerprint."""
    if cache is None or isinstance(cache, CalibrationCache):
        return cache
    if not isinstance(source, Dataset):
        raise UsageError("a calibration cache belongs to a data set; give one, or CalibrationCache(path=…, data=…)")
    return CalibrationCache(path=Path(cache), data=source.fingerprint)


def _counted(data: Dataset, size: int, progress: Progress) -> Iterator[Images]:
    """Go through the images and tell how far it is."""
    done = 0
    for images, _ in data.batches(size):
        yield only_array(images)
        done += count_of(images)
        progress(done, len(data))


def _ignore(done: int, total: int) -> None:
    """Show no progress."""
