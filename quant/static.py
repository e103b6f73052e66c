"""``quantize``: a floating-point model and calibration images in, an int8 model and a report out."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from ftonnx.errors import ModelError, StoreError, message_of
from ftonnx.graphs import check_valid, count_readers
from ftonnx.quant.cache import CalibrationCache, Ranges
from ftonnx.quant.calibrate import activations, calibrate, with_borrowed
from ftonnx.quant.clamps import Clamps
from ftonnx.quant.convert import Codes, convert
from ftonnx.quant.crelu import clip_codes, clipped_ranges
from ftonnx.quant.images import Batches, ImageStream, start_pass
from ftonnx.quant.measure import measure, require_same_outputs
from ftonnx.quant.operands import unsettled
from ftonnx.quant.prepare import Prepared, prepare, require_work
from ftonnx.quant.report import Activation, ClippedActivation, Quantized, QuantReport
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
    prepared = prepare(model, settings.exclude_nodes, per_channel=settings.per_channel)
    # nodes that the quantizer would get wrong stay in floating point
    floats = unsettled(prepared.plain, settings) | set(prepared.excluded)
    require_work(prepared.plain, floats)
    images = start_pass(batches, model)
    stream = ImageStream(images, prepared.plain, settings.error_images)
    clamps = _clamps(prepared, floats)
    borrowers = clamps.borrowers()
    reference = prepared.reference()
    identity = {"model": prepared.sha256, "calibration": settings.calibration_key()}
    known = None if cache is None else cache.load(identity)
    ranges = calibrate(reference, stream, settings, borrowers) if known is None else known
    if cache is not None and known is None:
        cache.save(identity, ranges)
    # the cache may have spared the pass that keeps the first images
    measured = stream.first()
    if prepared.converted:
        require_same_outputs(model, reference, measured)
    # a cache of another version may know fewer activations
    _check_complete(ranges, reference)
    readers = count_readers(prepared.plain.graph)
    ranges = clipped_ranges(ranges, prepared.clippings, readers)
    # a clamp before a CReLU saturates where that does
    ranges = with_borrowed(ranges, borrowers)
    excluded = floats | clamps.kept(settings.quant_format)
    quantized, codes = convert(prepared.plain, ranges, settings, sorted(excluded))
    clipped = clip_codes(quantized, prepared.clippings, prepared.functions, codes)
    _finish(quantized, model, clipped)
    errors = _measured(reference, quantized, codes, measured)
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
        activations=errors,
        clipped=clipped,
    )
    return Quantized(quantized, report)


def _clamps(prepared: Prepared, floats: set[str]) -> Clamps:
    clipped = {clipping.output for clipping in prepared.clippings}
    return Clamps(prepared.plain, clipped, floats)


def _measured(
    reference: ModelProto, quantized: ModelProto, codes: Mapping[str, Codes], batches: Iterable[NDArray[np.float32]]
) -> tuple[Activation, ...]:
    """Run both models; that the first one runs, its calibration has shown."""
    try:
        return measure(reference, quantized, codes, batches)
    except ModelError as error:
        reason = message_of(error)
        raise ModelError(
            f"the quantized model does not run: {reason}; leave nodes in floating point with `exclude_nodes`, or take "
            "another `quant_format`"
        ) from error


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
        check_valid(quantized)
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
