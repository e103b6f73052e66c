"""``quantize``: a floating-point model and calibration images in, an int8 model and a report out."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from ftonnx.errors import ModelError, StoreError, message_of
from ftonnx.quant.cache import CalibrationCache, Ranges
from ftonnx.quant.calibrate import activations
from ftonnx.quant.convert import Codes
from ftonnx.quant.images import Batches, ImageStream, start_pass
from ftonnx.quant.measure import measure, require_same_outputs
from ftonnx.quant.report import Activation, Quantized, QuantReport
from ftonnx.quant.settings import QuantSettings
from ftonnx.quant.writer import Int8Writer

__all__ = ["quantize"]


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
    writer = Int8Writer(model, settings)
    images = start_pass(batches, model)
    stream = ImageStream(images, writer.plain, settings.error_images)
    identity = {"model": writer.prepared.sha256, "calibration": settings.calibration_key()}
    known = None if cache is None else cache.load(identity)
    ranges = writer.calibrated(stream) if known is None else known
    if cache is not None and known is None:
        cache.save(identity, ranges)
    # the cache may have spared the pass that keeps the first images
    measured = stream.first()
    if writer.prepared.converted:
        require_same_outputs(model, writer.reference, measured)
    # a cache of another version may know fewer activations
    _check_complete(ranges, writer.reference)
    written = writer.written(ranges)
    errors = _measured(writer.reference, written.proto, written.codes, measured)
    report = QuantReport(
        settings=settings,
        images=stream.images if known is None else 0,
        error_images=stream.kept,
        from_cache=known is not None,
        size_before=model.ByteSize(),
        size_after=written.proto.ByteSize(),
        weights=_count(written.proto, TensorProto.INT8, model),
        biases=_count(written.proto, TensorProto.INT32, model),
        excluded_nodes=writer.prepared.excluded,
        activations=errors,
        clipped=written.clipped,
    )
    return Quantized(written.proto, report)


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
