"""Protecting a model: find thresholds, clip its activations at them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import onnx

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.golden import fault_free_accuracies
from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError, UsageError
from ftonnx.export import Activation, clip_activations, find_activations, read_thresholds, with_activation
from ftonnx.inject import FaultSpace, OnnxModel
from ftonnx.mitigate.clipact import ClipActSettings, Log, search_thresholds
from ftonnx.mitigate.thresholds import SCOPES, Thresholds, largest_values

__all__ = ["METHODS", "Protected", "protect"]

METHODS: Final = ("relu6", "actmax", "clipact")
_logger: Final = logging.getLogger(__name__)
_METADATA: Final = "ftonnx.protection"
_QUANTIZED: Final = {
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "ConvInteger",
    "MatMulInteger",
    "QLinearMatMul",
}


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected model and its thresholds (None for ``relu6``, which has none to find).

    ``warnings`` holds what is wrong with the accuracy that the thresholds were searched by.
    """

    proto: onnx.ModelProto
    thresholds: Thresholds | None
    activations: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def protect(
    model: OnnxModel,
    data: Dataset | None,
    *,
    method: str,
    scope: str = "node",
    settings: ClipActSettings | None = None,
    thresholds: Thresholds | None = None,
    log: Log | None = None,
    progress: Callable[[int, int], None] | None = None,
    cache_memory: int | None = None,
) -> Protected:
    """Clip a model's activations.

    Args:
        model: an FP32 model that is not clipped yet (CReLU nodes with thresholds of +Inf are fine).
        data: images for ActMax, labelled ones for ClipAct; not needed for ReLU6 or given thresholds.
        method: ``relu6`` (clamp at 6), ``actmax``, or ``clipact``.
        scope: one threshold per ``node`` or per ``channel``.
        settings: of the ClipAct search.
        thresholds: earlier ones to apply in place of finding them.
        log: evaluations of an earlier, unfinished ClipAct search.
        progress: called after every measurement of ClipAct, a threshold at a rate, with (done, at most).
        cache_memory: bytes that ClipAct's golden tensors may take; a quarter of the free memory by default.

    Raises:
        ModelError: no activation to clip, clipped already, quantized, or the thresholds of another model.
        UsageError: an unknown method or scope, or data is missing.
    """
    activations = protectable(model)
    if thresholds is not None:
        thresholds.require_for(model)
        if not thresholds.values:
            raise ModelError("the thresholds file holds no thresholds; run the method again for this model")
        return _clipped(model, thresholds)
    if method not in METHODS:
        raise UsageError(f"method {method!r} is not known: use {', '.join(METHODS)}")
    if scope not in SCOPES:
        raise UsageError(f"scope {scope!r} is not known: use {', '.join(SCOPES)}")
    if method == "relu6":
        return _relu6(model, activations)
    if data is None:
        raise UsageError(f"{method} needs images: give --data, or earlier --thresholds")
    search = settings or ClipActSettings()
    data = data.completed(model.metadata)
    largest = largest_values(model, data, activations, scope=scope, batch_size=search.batch_size)
    found: dict[str, Any] = {"data": data.fingerprint, "samples": len(data)}
    values = largest
    warnings: tuple[str, ...] = ()
    if method == "clipact":
        warnings = _warnings(model, data, search.batch_size)
        values, evaluations = search_thresholds(
            model, data, activations, largest, search, log=log, progress=progress, cache_memory=cache_memory
        )
        found |= {"settings": search.to_dict(), "evaluations": [each.to_dict() for each in evaluations]}
    thresholds = Thresholds(method=method, scope=scope, model=model.sha256, values=values, search=found)
    return replace(_clipped(model, thresholds), warnings=warnings)


def _warnings(model: OnnxModel, data: Dataset, batch_size: int) -> tuple[str, ...]:
    """Say, before a long search by accuracy, whether there is any."""
    (accuracy,) = fault_free_accuracies([model.proto], data, batch_size)
    found = near_chance(accuracy["top1"], data.classes)
    if found is None:
        return ()
    _logger.warning("%s on %s: %s", model.name, data.name, found)
    return (found,)


def protectable(model: OnnxModel) -> Sequence[Activation]:
    """Return the activations that can be clipped.

    Raises:
        ModelError: there are none, they are clipped already, or the model is quantized.
    """
    if any(node.op_type in _QUANTIZED for node in model.proto.graph.node):
        raise ModelError(f"{model.name} is quantized; protect its FP32 model, then quantize that one")
    other = {target.format.dtype.name for target in FaultSpace.of(model).targets} - {"float32"}
    if other:
        raise ModelError(f"{model.name} has {', '.join(sorted(other))} weights, float32 was expected; protect that one")
    finite = [name for name, value in read_thresholds(model.proto).items() if (value < float("inf")).any()]
    if finite or _METADATA in model.metadata:
        method = model.metadata.get(_METADATA, "clipping")
        raise ModelError(f"{model.name} is protected by {method} already; start from the unprotected model")
    activations = find_activations(model.proto)
    if not activations:
        raise ModelError(
            f"{model.name} has no activation to clip: Relu, Clip from 0, CReLU, or GELU, SiLU, HardSwish, LeakyRelu"
        )
    return activations


def _relu6(model: OnnxModel, activations: Sequence[Activation]) -> Protected:
    names = tuple(activation.name for activation in activations if activation.kind == "relu")
    if not names:
        raise ModelError(f"{model.name} has no Relu that relu6 could clamp; use actmax or clipact")
    return Protected(_marked(with_activation(model.proto, "relu6"), "relu6"), None, names)


def _clipped(model: OnnxModel, thresholds: Thresholds) -> Protected:
    proto, changed = clip_activations(model.proto, thresholds.values)
    return Protected(_marked(proto, thresholds.method), thresholds, changed)


def _marked(proto: onnx.ModelProto, method: str) -> onnx.ModelProto:
    onnx.helper.set_model_props(proto, {p.key: p.value for p in proto.metadata_props} | {_METADATA: method})
    return proto
