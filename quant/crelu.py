"""CReLU in the integer domain: ``ftonnx::QLinearCReLU(q, qT, zero_point)``.

    y = q if q <= qT else zero_point, and never below zero_point

It follows the QuantizeLinear whose scale represents the CReLU's *output*, so that nothing stands between the
producing Conv or Add and that QuantizeLinear, and ONNX Runtime fuses them as it does with a ReLU. With
qT = quantize(T): every x <= T passes, every x > T + S becomes 0, and between them x may be kept as T,
rounded to a code. One code above qT must remain, because all larger values saturate in it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ftonnx.errors import ModelError
from ftonnx.quant.cache import Ranges
from ftonnx.quant.convert import Codes
from ftonnx.quant.prepare import DOMAIN, Clipping, import_domain, restore
from ftonnx.quant.report import ClippedActivation
from ftonnx.quant.upgrade import opset

__all__ = ["clip_codes", "clipped_ranges", "qlinear_crelu"]

_CODES_TO_TOP: Final = 255 / 254  # one code lies above T
_FAR_ABOVE: Final = 4
_FUNCTIONS_SINCE_IR: Final = 8
_logger = logging.getLogger(__name__)


def clipped_ranges(ranges: Ranges, clippings: Iterable[Clipping], consumers: Mapping[str, int]) -> Ranges:
    """Return the ranges with those of CReLUs set so that T has a code and one more code lies above it.

    A channel whose T is +Inf asks for the calibrated range. An input with other consumers keeps codes of its own,
    which are widened where they would saturate below T. Thresholds far above the data are logged: their codes are
    coarse.
    """
    result = dict(ranges)
    coarse: list[str] = []
    for clipping in clippings:
        top = _top_of_range(clipping, ranges)
        if top is None:
            continue
        calibrated = ranges[clipping.output][1]
        if 0 < calibrated < top / _FAR_ABOVE:
            threshold = top / _CODES_TO_TOP
            coarse.append(f"{clipping.node} (threshold {threshold:.4g})")
        result[clipping.output] = (0.0, top)
        before = clipping.input
        # alone, a CReLU's input has no codes: the CReLU is fused with what makes it
        if before in ranges and consumers[before] > 1:
            calibrated_input = result[before]
            widened = max(calibrated_input[1], top)
            result[before] = (calibrated_input[0], widened)
    if coarse:
        _warn_of_coarse_codes(coarse)
    return result


def _top_of_range(clipping: Clipping, ranges: Ranges) -> float | None:
    """Return the largest value that the codes of a CReLU's output must represent; None to leave the range alone."""
    finite = clipping.threshold[np.isfinite(clipping.threshold)]
    # excluded from calibration, or nothing to clip at
    if clipping.output not in ranges or not finite.size:
        return None
    # below 0 nothing passes, and a range must not be turned over
    largest = max(float(finite.max()), 0.0)
    top = largest * _CODES_TO_TOP
    # a channel without a threshold lets everything pass that the data showed
    if np.isposinf(clipping.threshold).any():
        top = max(top, ranges[clipping.output][1])
    return top


def _warn_of_coarse_codes(coarse: Sequence[str]) -> None:
    shown = ", ".join(coarse[:3])
    if len(coarse) > 3:
        shown += ", …"
    _logger.warning(
        "%d CReLU thresholds lie more than %d times above the calibrated activations, whose codes are coarse "
        "therefore: %s; thresholds from the data (actmax) keep the resolution",
        len(coarse),
        _FAR_ABOVE,
        shown,
    )


def clip_codes(
    model: ModelProto, clippings: Iterable[Clipping], functions: Iterable[FunctionProto], codes: dict[str, Codes]
) -> tuple[ClippedActivation, ...]:
    """Put a QLinearCReLU behind the codes of every clipped activation, in place.

    A CReLU without codes (excluded, or between operators that stay in floating point) is put back as it was.
    ``codes`` is brought up to date.
    """
    records: list[ClippedActivation] = []
    floats: list[Clipping] = []
    zero_points: list[NDArray[Any]] = []
    for clipping in clippings:
        # no codes: the quantizer left the operators around it in floating point
        place = codes.get(clipping.output)
        record = _record(clipping)
        if place is None:
            floats.append(clipping)
            records.append(record)
            continue
        limit = _largest_code(clipping, place)
        codes[clipping.output] = _insert(model, clipping, place, limit)
        zero_points.append(place.zero_point)
        integer = replace(
            record,
            quantized_threshold=tuple(limit.reshape(-1).tolist()),
            scale=float(place.scale),
            zero_point=int(place.zero_point),
        )
        records.append(integer)
    if zero_points:
        # one body serves all calls, so it must be right for every zero point
        function = qlinear_crelu(opset(model), zero_points)
        model.functions.append(function)
        model.ir_version = max(model.ir_version, _FUNCTIONS_SINCE_IR)
        import_domain(model)
    restore(model, floats, functions)
    return tuple(records)


def _record(clipping: Clipping) -> ClippedActivation:
    return ClippedActivation(
        tensor=clipping.output,
        node=clipping.node,
        threshold=tuple(clipping.threshold.reshape(-1).tolist()),
    )


def _largest_code(clipping: Clipping, place: Codes) -> NDArray[Any]:
    """Return qT, one or one per channel; a threshold of NaN or below 0 lets nothing through."""
    threshold = np.nan_to_num(clipping.threshold, nan=0.0, posinf=np.inf, neginf=0.0)
    code = place.quantize(threshold)
    limit: NDArray[Any] = np.maximum(code, place.zero_point)
    return limit


def qlinear_crelu(version: int, zero_points: Sequence[NDArray[Any]]) -> FunctionProto:
    """Return the function in the given operator set, for codes with the given zero points.

    Where all are 0 and the codes unsigned, as with every ReLU in uint8, the choice is a product with the mask, which
    ONNX Runtime computes three times as fast as Where, and no code lies below zero.
    """
    compare = helper.make_node("LessOrEqual", ["q", "qT"], ["keep"])
    if all(_is_unsigned_zero(zero) for zero in zero_points):
        choose = helper.make_node("Cast", ["keep"], ["factor"], to=TensorProto.UINT8)
        finish = helper.make_node("Mul", ["q", "factor"], ["y"])
    else:
        choose = helper.make_node("Where", ["keep", "q", "zero_point"], ["kept"])
        finish = helper.make_node("Max", ["kept", "zero_point"], ["y"])
    return helper.make_function(
        DOMAIN,
        "QLinearCReLU",
        ["q", "qT", "zero_point"],
        ["y"],
        [compare, choose, finish],
        [helper.make_opsetid("", version)],
        doc_string="q if zero_point <= q <= qT else zero_point",
    )


def _is_unsigned_zero(zero_point: NDArray[Any]) -> bool:
    return zero_point.dtype == np.uint8 and not zero_point.any()


def _insert(model: ModelProto, clipping: Clipping, place: Codes, limit: NDArray[Any]) -> Codes:
    """Insert the node behind the producer of the codes and lead all their readers through it."""
    clipped = f"{place.tensor}_clipped"
    parameter = f"{clipping.output}_quantized_threshold"
    nodes = model.graph.node
    for node in nodes:
        # the Relu that had to stay in front of the codes gives its name to the new node
        if node.name == clipping.node:
            node.name = f"{clipping.node}_relu"
        _rename_input(node, place.tensor, clipped)
    made: NodeProto = helper.make_node(
        "QLinearCReLU",
        [place.tensor, parameter, place.zero_point_name],
        [clipped],
        clipping.node,
        domain=DOMAIN,
    )
    # nodes stand behind those whose values they use
    producer = _place_of_producer(model, place.tensor)
    nodes.insert(producer + 1, made)
    # one threshold is stored as a scalar, whatever shape the model had for it
    shape = () if limit.size == 1 else limit.shape
    shaped = limit.reshape(shape)
    stored = numpy_helper.from_array(shaped, parameter)
    model.graph.initializer.append(stored)
    return replace(place, tensor=clipped)


def _rename_input(node: NodeProto, old: str, new: str) -> None:
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new


def _place_of_producer(model: ModelProto, tensor: str) -> int:
    for index, node in enumerate(model.graph.node):
        if tensor in node.output:
            return index
    raise ModelError(f"the quantized model has no node that makes {tensor!r}")
