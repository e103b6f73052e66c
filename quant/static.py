"""``quantize``: a floating-point model and calibration images in, an int8 model and a report out."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from ftonnx.errors import DataError, ModelError, StoreError, message_of
from ftonnx.quant.cache import CalibrationCache, Ranges
from ftonnx.quant.calibrate import activations, calibrate
from ftonnx.quant.convert import convert
from ftonnx.quant.crelu import clip_codes, clipped_ranges
from ftonnx.quant.measure import measure
from ftonnx.quant.prepare import Prepared, prepare
from ftonnx.quant.report import ClippedActivation, QuantReport
from ftonnx.quant.settings import QuantSettings

__all__ = ["Batches", "LabelledImages", "images_per_batch", "quantize"]


class LabelledImages(Protocol):
    """What ``quantize`` needs of a data set; ``ftonnx.Dataset`` has it, and this room knows no data sets."""

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of one image."""

    def completed(self, model_metadata: Mapping[str, str] | None) -> "LabelledImages":
        """Return the images preprocessed as a model's metadata says, where nothing else was said."""

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        """Go through images and labels once, in batches."""


Batches = Iterable[NDArray[np.float32]] | Callable[[], Iterator[NDArray[np.float32]]] | LabelledImages
"""Images ``(batch, channels, height, width)`` float32 in batches, a function that starts a pass, or a data set."""

_MOST_IMAGES: Final = 64
_ELEMENTS: Final = 1_000_000
"""Input elements per batch: all activations of a batch are in memory at once, about 300 times as many."""

_THRESHOLDS: Final = "ftonnx.quantized_thresholds"
_DEFAULTS: Final = QuantSettings()


def quantize(
    model: ModelProto,
    batches: Batches,
    settings: QuantSettings = _DEFAULTS,
    *,
    cache: CalibrationCache | None = None,
) -> tuple[ModelProto, QuantReport]:
    """Quantize a model after training: weights int8, biases int32, activations 8-bit codes q with x = (q - Z) S.

    Args:
        model: FP32, one input; it is not changed.
        batches: calibration images as the model takes them; one pass, one batch in memory at a time. What is left
            open of a data set's preprocessing is the model's.
        settings: formats and calibration.
        cache: ranges from an earlier calibration are read from here, or written to it.

    Returns:
        The int8 model and what was done. A ``ftonnx::CReLU`` becomes a ``ftonnx::QLinearCReLU`` of integer nodes.

    Raises:
        ModelError: the model is quantized already, is not FP32, has nothing to quantize, or fails to run.
        DataError: the images are none, have the wrong shape or type, or are not finite.
        UsageError: a pattern of ``exclude_nodes`` matches no node.
        StoreError: the cache is damaged, belongs to another model, data or method, or cannot be written.
    """
    prepared = prepare(model, settings.exclude_nodes, per_channel=settings.per_channel)
    stream = _Images(_pass_over(batches, model), prepared.plain, settings.error_images)
    excluded = _excluded(prepared, settings)
    identity = {"model": prepared.sha256, "calibration": settings.calibration_key()}
    ranges = None if cache is None else cache.load(identity)
    cached = ranges is not None
    reference = prepared.reference()
    if ranges is None:
        ranges = calibrate(reference, stream, settings, same_range=_relu_inputs(prepared, excluded))
        if cache is not None:
            cache.save(identity, ranges)
    _check_complete(ranges, reference)
    ranges = clipped_ranges(ranges, prepared.clippings, _consumers(prepared.plain))
    quantized, codes = convert(prepared.plain, ranges, settings, list(excluded))
    clipped = clip_codes(quantized, prepared.clippings, prepared.functions, codes)
    _finish(quantized, model, clipped)
    measured = stream.first()
    report = QuantReport(
        settings=settings,
        images=stream.images if not cached else 0,
        error_images=stream.kept,
        from_cache=cached,
        size_before=model.ByteSize(),
        size_after=quantized.ByteSize(),
        weights=_count(quantized, TensorProto.INT8, model),
        biases=_count(quantized, TensorProto.INT32, model),
        excluded_nodes=prepared.excluded,
        activations=measure(reference, quantized, codes, measured),
        clipped=clipped,
    )
    return quantized, report


def images_per_batch(sample_shape: tuple[int, int, int]) -> int:
    """Return how many images are calibrated at a time; their activations must fit into memory together.

    >>> images_per_batch((3, 32, 32)), images_per_batch((3, 224, 224)), images_per_batch((3, 4000, 4000))
    (64, 6, 1)
    """
    return max(1, min(_MOST_IMAGES, _ELEMENTS // math.prod(sample_shape)))


def _pass_over(batches: Batches, model: ModelProto) -> Iterator[NDArray[np.float32]]:
    """Start a pass over the images."""
    if callable(batches):
        return batches()
    if isinstance(batches, Iterable):
        return iter(batches)
    data = batches.completed({entry.key: entry.value for entry in model.metadata_props})
    fixed = next(iter(_dimensions(model)), None)
    size = fixed or images_per_batch(data.sample_shape)
    return (images for images, _ in data.batches(size))


def _dimensions(model: ModelProto) -> list[int | None]:
    """Return the sizes of the model's input; None where any will do."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


class _Images:
    """One pass over checked batches, which keeps the first images for the measurement of errors.

    A model with a fixed batch size gets batches of that size, the last one filled up with its last image.
    """

    def __init__(self, batches: Iterator[NDArray[np.float32]], model: ModelProto, keep: int) -> None:
        self._shape = _dimensions(model)
        self._batches, self._keep = batches, keep
        self._kept: list[NDArray[np.float32]] = []
        self.images = 0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for batch in self._batches:
            images = self._checked(batch)
            for piece in self._pieces(images):
                if (room := self._keep - self.kept) > 0:
                    self._kept.append(piece[:room].copy())
                yield self._padded(piece)
            self.images += len(images)

    @property
    def kept(self) -> int:
        """Number of images kept so far."""
        return sum(len(images) for images in self._kept)

    def first(self) -> list[NDArray[np.float32]]:
        """Return the first images; a pass that was not made is made as far as needed."""
        if not self._kept:
            for _ in self:
                if self.kept >= self._keep:
                    break
        if not self._kept:
            raise DataError("calibration needs at least one image, got none")
        return [self._padded(images) for images in self._kept]

    def _checked(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        images = np.asarray(batch)
        if images.dtype != np.float32:
            raise DataError(f"calibration images: float32 was expected, got {images.dtype}; convert them")
        wanted = self._shape[1:]
        fits = images.ndim == len(self._shape) and all(
            size in (None, got) for size, got in zip(wanted, images.shape[1:], strict=True)
        )
        if self._shape and not fits:
            expected = ", ".join("any" if size is None else str(size) for size in wanted)
            raise DataError(f"calibration images: the model takes (batch, {expected}), got shape {images.shape}")
        if not np.isfinite(images).all():
            raise DataError("calibration images: NaN or Inf in batch; clean the data")
        return images

    def _pieces(self, images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        size = (self._shape[0] if self._shape else None) or max(len(images), 1)
        return (images[start : start + size] for start in range(0, len(images), size))

    def _padded(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        missing = ((self._shape[0] if self._shape else None) or len(images)) - len(images)
        return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing > 0 else images


def _consumers(model: ModelProto) -> Counter[str]:
    """Return how many nodes and graph outputs read each tensor."""
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(output.name for output in model.graph.output)
    return readers


def _excluded(prepared: Prepared, settings: QuantSettings) -> tuple[str, ...]:
    """Return the nodes that stay in floating point.

    In operator format ONNX Runtime's quantizer removes a Relu (or Clip) also where other nodes read its input, which
    changes the function; such nodes stay in floating point.
    """
    if settings.quant_format == "qdq":
        return prepared.excluded
    readers = _consumers(prepared.plain)
    shared = [
        node.name for node in prepared.plain.graph.node
        if node.op_type in ("Relu", "Clip") and readers[node.input[0]] > 1
    ]  # fmt: skip
    return tuple(dict.fromkeys((*prepared.excluded, *shared)))


def _relu_inputs(prepared: Prepared, excluded: tuple[str, ...]) -> dict[str, str]:
    """Return the tensors that only a Relu or Clip reads: their codes are those of its output."""
    readers = _consumers(prepared.plain)
    candidates = set(activations(prepared.plain))
    return {
        node.input[0]: node.output[0]
        for node in prepared.plain.graph.node
        if node.op_type in ("Relu", "Clip")
        and node.name not in excluded
        and readers[node.input[0]] == 1
        and {node.input[0], node.output[0]} <= candidates
    }


def _check_complete(ranges: Ranges, model: ModelProto) -> None:
    missing = [name for name in activations(model) if name not in ranges]
    if missing:
        raise StoreError(f"the calibration cache has no range for activation {missing[0]!r}; delete it to calibrate")


def _finish(quantized: ModelProto, model: ModelProto, clipped: tuple[ClippedActivation, ...]) -> None:
    """Put back the model's metadata, add the thresholds, drop stale shapes, and check the result; in place."""
    del quantized.graph.value_info[:]
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    if clipped:
        entries = [
            {
                "node": activation.node,
                "threshold": [value if math.isfinite(value) else str(value) for value in activation.threshold],
                "quantized": activation.quantized_threshold,
                "scale": activation.scale,
                "zero_point": activation.zero_point,
            }
            for activation in clipped
        ]
        quantized.metadata_props.add(key=_THRESHOLDS, value=json.dumps(entries))
    try:
        onnx.checker.check_model(quantized)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the quantized model is not valid: {message_of(error)}") from error


def _count(quantized: ModelProto, element: int, model: ModelProto) -> int:
    """Count stored tensors of a type that the original did not have, zero points and thresholds aside."""
    known = {tensor.name for tensor in model.graph.initializer}
    slots = ((node, index) for node in quantized.graph.node for index in (_value_slots(node.op_type)))
    read = {node.input[index] for node, index in slots if index < len(node.input)}
    return sum(t.data_type == element and t.name in read - known for t in quantized.graph.initializer)


def _value_slots(op_type: str) -> tuple[int, ...]:
    """Return the inputs of an operator that may hold quantized weights and biases."""
    slots = {"DequantizeLinear": (0,), "QLinearConv": (3, 8), "QLinearMatMul": (0, 3), "QGemm": (3, 6)}
    return slots.get(op_type, ())
