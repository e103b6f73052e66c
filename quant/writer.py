"""One model on its way to int8: prepared once, and written for any ranges and weights, as often as these change."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from ftonnx.errors import ModelError, message_of
from ftonnx.graphs import check_valid, count_readers
from ftonnx.quant.cache import Ranges
from ftonnx.quant.calibrate import calibrate, with_borrowed
from ftonnx.quant.clamps import Clamps
from ftonnx.quant.convert import Codes, convert
from ftonnx.quant.crelu import clip_codes, clipped_ranges
from ftonnx.quant.operands import unsettled
from ftonnx.quant.prepare import prepare, require_work
from ftonnx.quant.report import ClippedActivation
from ftonnx.quant.settings import QuantSettings

__all__ = ["Int8Writer", "Written"]

_THRESHOLDS: Final = "ftonnx.quantized_thresholds"
"""Key of the metadata entry that says which code each CReLU clips at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An int8 model.

    Attributes:
        proto: it.
        codes: where it keeps activations, by their names in the prepared model.
        clipped: what became of CReLUs.
    """

    proto: ModelProto = field(repr=False)
    codes: Mapping[str, Codes]
    clipped: tuple[ClippedActivation, ...]


class Int8Writer:
    """A floating-point model, prepared for ONNX Runtime's quantizer.

    Attributes:
        prepared: the model, its CReLUs set aside.
        borrowers: activations that take the range of another, since the clamp between them is removed.
    """

    def __init__(self, model: ModelProto, settings: QuantSettings) -> None:
        """Prepare a model; it is not changed.

        Raises:
            ModelError: it is quantized already, is not FP32, or has nothing to quantize.
            UsageError: a pattern of ``exclude_nodes`` matches no node.
        """
        self._model = model
        self._settings = settings
        self.prepared = prepare(model, settings.exclude_nodes, per_channel=settings.per_channel)
        # nodes that the quantizer would get wrong stay in floating point
        self._floats = unsettled(self.plain, settings) | set(self.prepared.excluded)
        require_work(self.plain, self._floats)
        clipped = {clipping.output for clipping in self.prepared.clippings}
        self._clamps = Clamps(self.plain, clipped, self._floats)
        self.borrowers = self._clamps.borrowers()

    @property
    def plain(self) -> ModelProto:
        """The prepared model, with a Relu in the place of every CReLU."""
        return self.prepared.plain

    @cached_property
    def reference(self) -> ModelProto:
        """The prepared model with its CReLUs."""
        return self.prepared.reference()

    def calibrated(self, batches: Iterable[NDArray[np.float32]]) -> Ranges:
        """Find the ranges of activations on checked batches of images.

        Raises:
            ModelError: as ``calibrate``.
            DataError: as ``calibrate``.
        """
        return calibrate(self.reference, batches, self._settings, self.borrowers)

    def fixed(self, ranges: Ranges) -> Ranges:
        """Return the ranges as they are written: those of CReLUs follow from their thresholds, and others borrow."""
        readers = count_readers(self.plain.graph)
        clipped = clipped_ranges(ranges, self.prepared.clippings, readers)
        # a clamp before a CReLU saturates where that does
        return with_borrowed(clipped, self.borrowers)

    def written(
        self,
        ranges: Ranges,
        *,
        plain: ModelProto | None = None,
        weight_scales: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Written:
        """Write the int8 model.

        Args:
            ranges: of activations.
            plain: the prepared model with other weights; its own by default.
            weight_scales: scales of weights by name, one or one per output channel; by their largest values by default.

        Raises:
            ModelError: ONNX Runtime's quantizer fails, or the result is not valid.
        """
        excluded = self._floats | self._clamps.kept(self._settings.quant_format)
        quantized, codes = convert(
            plain or self.plain, self.fixed(ranges), self._settings, sorted(excluded), weight_scales or {}
        )
        clipped = clip_codes(quantized, self.prepared.clippings, self.prepared.functions, codes)
        _finish(quantized, self._model, clipped)
        return Written(proto=quantized, codes=codes, clipped=clipped)


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
