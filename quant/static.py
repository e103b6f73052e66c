"""``quantize``: a floating-point model and calibration images in, an int8 model and a report out."""

import json
import math
from collections import Counter
from typing import Final

import onnx
from onnx import ModelProto, TensorProto

from ftonnx.errors import ModelError, StoreError, message_of
from ftonnx.quant.cache import CalibrationCache, Ranges
from ftonnx.quant.calibrate import activations, calibrate
from ftonnx.quant.convert import convert
from ftonnx.quant.crelu import clip_codes, clipped_ranges
from ftonnx.quant.images import Batches, ImageStream, start_pass
from ftonnx.quant.measure import measure
from ftonnx.quant.prepare import Prepared, prepare
from ftonnx.quant.report import ClippedActivation, Quantized, QuantReport
from ftonnx.quant.settings import QuantSettings

__all__ = ["quantize"]


_THRESHOLDS: Final = "ftonnx.quantized_thresholds"
"""Key of the metadata entry that says which code each CReLU clips at."""

_VALUE_SLOTS: Final = {
    "DequantizeLinear": (0,),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
    "QGemm": (3, 6),
}
"""Inputs of operators that may hold quantized weights and biases."""

_CLAMPS: Final = ("Relu", "Clip")
_DEFAULTS: Final = QuantSettings()


def quantize(
    model: ModelProto,
    batches: Batches,
    settings: QuantSettings = _DEFAULTS,
    *,
    cache: CalibrationCache | None = None,
) -> Quantized:
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
    prepared = prepare(
        model,
        settings.exclude_nodes,
        per_channel=settings.per_channel,
    )
    images = start_pass(batches, model)
    stream = ImageStream(images, prepared.plain, settings.error_images)
    excluded = _excluded(prepared, settings)
    identity = {"model": prepared.sha256, "calibration": settings.calibration_key()}
    known = None if cache is None else cache.load(identity)
    reference = prepared.reference()
    if known is not None:
        ranges = known
    else:
        same_range = _relu_inputs(prepared, excluded)
        ranges = calibrate(reference, stream, settings, same_range=same_range)
        if cache is not None:
            cache.save(identity, ranges)
    # a cache of another version may know fewer activations
    _check_complete(ranges, reference)
    consumers = _consumers(prepared.plain)
    ranges = clipped_ranges(ranges, prepared.clippings, consumers)
    quantized, codes = convert(prepared.plain, ranges, settings, list(excluded))
    clipped = clip_codes(quantized, prepared.clippings, prepared.functions, codes)
    _finish(quantized, model, clipped)
    # the cache may have spared the pass that keeps the first images
    measured = stream.first()
    report = QuantReport(
        settings=settings,
        images=stream.images if known is None else 0,
        error_images=stream.kept,
        from_cache=known is not None,
        size_before=model.ByteSize(),
        size_after=quantized.ByteSize(),
        weights=_count(quantized, TensorProto.INT8, model),
        biases=_count(quantized, TensorProto.INT32, model),
        excluded_nodes=prepared.excluded,
        activations=measure(reference, quantized, codes, measured),
        clipped=clipped,
    )
    return Quantized(quantized, report)


def _consumers(model: ModelProto) -> Counter[str]:
    """Return how many nodes and graph outputs read each tensor."""
    readers: Counter[str] = Counter()
    for node in model.graph.node:
        readers.update(node.input)
    # what leaves the graph is read from outside
    for output in model.graph.output:
        readers[output.name] += 1
    return readers


def _excluded(prepared: Prepared, settings: QuantSettings) -> tuple[str, ...]:
    """Return the nodes that stay in floating point.

    In operator format ONNX Runtime's quantizer removes a Relu (or Clip) also where other nodes read its input, which
    changes the function; such nodes stay in floating point.
    """
    if settings.quant_format == "qdq":
        return prepared.excluded
    readers = _consumers(prepared.plain)
    excluded = dict.fromkeys(prepared.excluded)
    for node in prepared.plain.graph.node:
        if node.op_type not in _CLAMPS:
            continue
        if readers[node.input[0]] > 1:
            excluded[node.name] = None
    return tuple(excluded)


def _relu_inputs(prepared: Prepared, excluded: tuple[str, ...]) -> dict[str, str]:
    """Return the tensors that only a Relu or Clip reads: their codes are those of its output."""
    readers = _consumers(prepared.plain)
    candidates = set(activations(prepared.plain))
    same_range = {}
    for node in prepared.plain.graph.node:
        if node.op_type not in _CLAMPS or node.name in excluded:
            continue
        before = node.input[0]
        after = node.output[0]
        only_reader = readers[before] == 1
        if only_reader and before in candidates and after in candidates:
            same_range[before] = after
    return same_range


def _check_complete(ranges: Ranges, model: ModelProto) -> None:
    for name in activations(model):
        if name not in ranges:
            raise StoreError(f"the calibration cache has no range for activation {name!r}; delete it to calibrate")


def _finish(quantized: ModelProto, model: ModelProto, clipped: tuple[ClippedActivation, ...]) -> None:
    """Put back the model's metadata, add the thresholds, drop stale shapes, and check the result; in place."""
    # shapes and types of before, which ONNX Runtime would believe
    del quantized.graph.value_info[:]
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    if clipped:
        entries = [_described(activation) for activation in clipped]
        text = json.dumps(entries)
        quantized.metadata_props.add(key=_THRESHOLDS, value=text)
    try:
        onnx.checker.check_model(quantized)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the quantized model is not valid: {message_of(error)}") from error


def _described(activation: ClippedActivation) -> dict[str, object]:
    """Return what the metadata says of a CReLU; JSON has no infinity."""
    threshold: list[float | str] = []
    for value in activation.threshold:
        finite = math.isfinite(value)
        threshold.append(value if finite else str(value))
    return {
        "node": activation.node,
        "threshold": threshold,
        "quantized": activation.quantized_threshold,
        "scale": activation.scale,
        "zero_point": activation.zero_point,
    }


def _count(quantized: ModelProto, element: int, model: ModelProto) -> int:
    """Count stored tensors of a type that the original did not have, zero points and thresholds aside."""
    read = set()
    for node in quantized.graph.node:
        for slot in _VALUE_SLOTS.get(node.op_type, ()):
            if slot < len(node.input):
                read.add(node.input[slot])
    # what the model had before was not made by quantizing
    for tensor in model.graph.initializer:
        read.discard(tensor.name)
    count = 0
    for tensor in quantized.graph.initializer:
        if tensor.data_type == element and tensor.name in read:
            count += 1
    return count
