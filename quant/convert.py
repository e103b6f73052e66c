"""One typed call into ONNX Runtime's quantizers: a prepared model and ranges in, an int8 model out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationMethod,
    QDQQuantizer,
    QuantizationMode,
    QuantType,
    TensorData,
    TensorsData,
)

from ftonnx.errors import ModelError, describe
from ftonnx.graphs import copy_of, sort_nodes
from ftonnx.quant.cache import Ranges
from ftonnx.quant.calibrate import OPERATORS
from ftonnx.quant.names import name_nodes
from ftonnx.quant.operators import OperatorQuantizer
from ftonnx.quant.sessions import contained
from ftonnx.quant.settings import QuantSettings

__all__ = ["Codes", "channel_axis", "convert"]

_TYPES: Final = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
_GRAPH_OUTPUT_SUFFIX: Final = "_QuantizeLinear_Input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Where the quantized model keeps an activation: x = (q - Z) S.

    Attributes:
        tensor: name of the tensor of codes q.
        scale: S.
        zero_point: Z, an array of the codes' type.
        zero_point_name: the initializer that holds Z.
    """

    tensor: str
    scale: np.float32
    zero_point: NDArray[Any]
    zero_point_name: str

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code."""
        info = np.iinfo(self.zero_point.dtype)
        return int(info.min), int(info.max)

    def quantize(self, values: NDArray[np.float32]) -> NDArray[Any]:
        """Return saturate(round(x / S) + Z), ONNX's QuantizeLinear.

        >>> codes = Codes(tensor="q", scale=np.float32(0.5), zero_point=np.array(3, np.uint8), zero_point_name="z")
        >>> codes.quantize(np.array([-9, 0, 0.25, 0.75, np.inf], np.float32)).tolist()
        [0, 3, 3, 5, 255]
        """
        # a large value over a small scale is Inf, and saturates below
        with np.errstate(over="ignore"):
            steps = np.rint(values / self.scale)
            shifted = steps + np.float32(self.zero_point)
        saturated = np.clip(shifted, *self.limits)
        codes: NDArray[Any] = saturated.astype(self.zero_point.dtype)
        return codes

    def dequantize(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Return (q - Z) S."""
        # a copy, so that the rest can happen in place: activations are large
        values: NDArray[np.float32] = codes.astype(np.float32)
        values -= np.float32(self.zero_point)
        values *= self.scale
        return values


def convert(
    model: ModelProto,
    ranges: Ranges,
    settings: QuantSettings,
    excluded: list[str],
    weight_scales: Mapping[str, NDArray[np.float32]],
) -> tuple[ModelProto, dict[str, Codes]]:
    """Quantize with the given ranges; the model is not changed.

    Args:
        model: prepared.
        ranges: of activations.
        settings: formats.
        excluded: names of nodes that stay in floating point.
        weight_scales: scales of weights by name, one or one per output channel; those of others follow from their
            largest values.

    Returns:
        The quantized model, and where it keeps the activations, by their name in ``model``.

    Raises:
        ModelError: ONNX Runtime's quantizer fails.
    """
    with contained():
        try:
            quantizer = _quantizer(model, ranges, settings, excluded, weight_scales)
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        # it raises whatever comes: KeyError, TypeError, AttributeError, onnx's own
        except Exception as error:
            raise ModelError(_refusal(error, model)) from error
    result: ModelProto = quantizer.model.model
    # it looks at nodes' inputs only, which is not all that an If or a Loop reads
    sort_nodes(result.graph)
    name_nodes(result)
    if settings.quant_format == "qdq":
        return result, _codes(result, _pairs(result))
    # operator nodes do not say whose codes they take, but their quantizer keeps a book
    places = _operators(quantizer.quantized_value_map, ranges)
    return result, _codes(result, places)


def _refusal(error: Exception, model: ModelProto) -> str:
    """Say what the quantizer failed at, and what to do."""
    reason = describe(error)
    name = _node_at_work(error)
    for node in model.graph.node:
        if node.name == name:
            return (
                f"ONNX Runtime's quantizer cannot handle node {name!r} ({node.op_type}): {reason}; "
                f"leave it in floating point with `exclude_nodes={name}`"
            )
    return (
        f"ONNX Runtime's quantizer cannot handle this model: {reason}; "
        "leave nodes in floating point with `exclude_nodes`"
    )


def _node_at_work(error: Exception) -> str | None:
    """Return the name of the node that the quantizer was dealing with when it failed; only its frames know."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        local = trace.tb_frame.f_locals
        # the classes that quantize an operator keep its node; biases come later, with a record of theirs
        node = getattr(local.get("self"), "node", None)
        record = local.get("bias_info")
        found = getattr(node, "name", None) or getattr(record, "node_name", None) or found
        trace = trace.tb_next
    return found


def _quantizer(
    model: ModelProto,
    ranges: Ranges,
    settings: QuantSettings,
    excluded: list[str],
    weight_scales: Mapping[str, NDArray[np.float32]],
) -> Any:
    """Return ONNX Runtime's quantizer of the wanted format, at work on a copy of the model."""
    copied = copy_of(model)
    common = {
        "weight_qType": _TYPES[settings.weight_type],
        "activation_qType": _TYPES[settings.activation_type],
        "tensors_range": _as_tensors_data(ranges),
        "nodes_to_quantize": [],
        "nodes_to_exclude": excluded,
        "op_types_to_quantize": list(OPERATORS),
        "extra_options": {"TensorQuantOverrides": _overrides(model, settings, weight_scales)},
    }
    if settings.quant_format == "qdq":
        return QDQQuantizer(copied, settings.per_channel, False, **common)
    mode = QuantizationMode.QLinearOps
    return OperatorQuantizer(copied, settings.per_channel, False, mode, True, **common)


def _overrides(
    model: ModelProto, settings: QuantSettings, weight_scales: Mapping[str, NDArray[np.float32]]
) -> dict[str, list[dict[str, Any]]]:
    """Return scales of weights as ONNX Runtime's quantizer takes them; its own codes would reach down to -128."""
    overrides: dict[str, list[dict[str, Any]]] = {}
    for name, scales in weight_scales.items():
        kind = _TYPES[settings.weight_type]
        entries: list[dict[str, Any]] = []
        for scale in np.ravel(scales):
            zero = np.array(0, np.int8)
            entries.append({"quant_type": kind, "scale": np.array(scale, np.float32), "zero_point": zero})
        if np.ndim(scales):
            entries[0]["axis"] = channel_axis(model, name)
        overrides[name] = entries
    return overrides


def channel_axis(model: ModelProto, weight: str) -> int:
    """Return the axis of a weight's output channels, by the operator that reads it."""
    for node in model.graph.node:
        if weight not in node.input:
            continue
        if node.op_type == "ConvTranspose":
            return 1
        if node.op_type == "MatMul":
            return 1
        if node.op_type == "Gemm":
            is_transposed = any(each.name == "transB" and each.i for each in node.attribute)
            return 0 if is_transposed else 1
    return 0


def _as_tensors_data(ranges: Ranges) -> TensorsData:
    pairs = {}
    for name, (low, high) in ranges.items():
        pairs[name] = TensorData(
            lowest=np.float32(low),
            highest=np.float32(high),
        )
    return TensorsData(CalibrationMethod.MinMax, pairs)


def _pairs(model: ModelProto) -> dict[str, tuple[str, str, str]]:
    """Return (codes, scale, zero point) by activation, from the QuantizeLinear nodes."""
    places = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            # what is an output of the graph too was renamed by the quantizer
            name = node.input[0].removesuffix(_GRAPH_OUTPUT_SUFFIX)
            codes = node.output[0]
            places[name] = (codes, node.input[1], node.input[2])
    return places


def _operators(quantized: dict[str, Any], ranges: Ranges) -> dict[str, tuple[str, str, str]]:
    """Return (codes, scale, zero point) by activation, from the quantizer's own book.

    The input of a Relu that was removed has the codes of the Relu's output, which comes later in the book.
    """
    # by codes, so that a later activation with the same codes takes the place of an earlier one
    last = {}
    for name, value in quantized.items():
        # weights are in the book too
        if name in ranges:
            last[value.q_name] = name
    places = {}
    for codes, name in last.items():
        value = quantized[name]
        places[name] = (codes, value.scale_name, value.zp_name)
    return places


def _codes(model: ModelProto, places: dict[str, tuple[str, str, str]]) -> dict[str, Codes]:
    stored = {}
    for tensor in model.graph.initializer:
        stored[tensor.name] = tensor
    found = {}
    for name, (codes, scale_name, zero_name) in places.items():
        scale = numpy_helper.to_array(stored[scale_name])
        zero_point = numpy_helper.to_array(stored[zero_name])
        found[name] = Codes(
            tensor=codes,
            scale=np.float32(scale.item()),
            zero_point=zero_point.reshape(()),
            zero_point_name=zero_name,
        )
    return found
