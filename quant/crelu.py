"""CReLU in the integer domain: ``ftonnx::QLinearCReLU(q, qT, zero_point)``.

    y = q if q <= qT else zero_point, and never below zero_point

It follows the QuantizeLinear whose scale represents the CReLU's *output*, so that nothing stands between the
producing Conv or Add and that QuantizeLinear, and ONNX Runtime fuses them as it does with a ReLU. With
qT = quantize(T): every x <= T passes, every x > T + S becomes 0, and between them x may be kept as T,
rounded to a code. One code above qT must remain, because all larger values saturate in it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ftonnx.quant.cache import Ranges
from ftonnx.quant.convert import Codes
from ftonnx.quant.prepare import DOMAIN, Clipping, import_domain, opset, restore
from ftonnx.quant.report import ClippedActivation

__all__ = ["clip_codes", "clipped_ranges", "qlinear_crelu"]

_CODES_TO_TOP: Final = 255 / 254
_FAR_ABOVE: Final = 4
_FUNCTIONS_SINCE_IR: Final = 8
_logger = logging.getLogger(__name__)


def clipped_ranges(ranges: Ranges, clippings: Iterable[Clipping], consumers: Mapping[str, int]) -> Ranges:
    """Return the ranges with those of CReLUs set so that T has a code and one more code lies above it.

    A channel whose T is +Inf asks for the calibrated range. An input with other consumers keeps codes of its own,
    which are widened where they would saturate below T. Thresholds far above the data are logged: their codes are
    coarse.
    """
    result, coarse = dict(ranges), []
    for clipping in clippings:
        finite = clipping.threshold[np.isfinite(clipping.threshold)]
        tops = [max(float(finite.max()), 0.0) * _CODES_TO_TOP] if finite.size else []
        if clipping.output not in ranges or not tops:
            continue
        if np.isposinf(clipping.threshold).any():
            tops.append(ranges[clipping.output][1])
        if 0 < ranges[clipping.output][1] < max(tops) / _FAR_ABOVE:
            coarse.append(f"{clipping.node} (threshold {max(tops) / _CODES_TO_TOP:.4g})")
        result[clipping.output] = (0.0, max(tops))
        if clipping.input in ranges and consumers[clipping.input] > 1:
            low, high = result[clipping.input]
            result[clipping.input] = (low, max(high, *tops))
    if coarse:
        _logger.warning(
            "%d CReLU thresholds lie more than %d times above the calibrated activations, whose codes are coarse "
            "therefore: %s; thresholds from the data (actmax) keep the resolution",
            len(coarse), _FAR_ABOVE, ", ".join(coarse[:3]) + (", …" if len(coarse) > 3 else ""),
        )  # fmt: skip
    return result


def clip_codes(
    model: ModelProto, clippings: Iterable[Clipping], functions: Iterable[FunctionProto], codes: dict[str, Codes]
) -> tuple[ClippedActivation, ...]:
    """Put a QLinearCReLU behind the codes of every clipped activation, in place.

    A CReLU without codes (excluded, or between operators that stay in floating point) is put back as it was.
    ``codes`` is brought up to date.
    """
    records, floats = [], []
    for clipping in clippings:
        values = tuple(float(value) for value in clipping.threshold.reshape(-1))
        place = codes.get(clipping.output)
        if place is None:
            floats.append(clipping)
            records.append(ClippedActivation(tensor=clipping.output, node=clipping.node, threshold=values))
            continue
        limit = np.maximum(
            place.quantize(np.nan_to_num(clipping.threshold, nan=0.0, posinf=np.inf, neginf=0.0)), place.zero_point
        )
        codes[clipping.output] = _insert(model, clipping, place, limit)
        records.append(
            ClippedActivation(
                tensor=clipping.output,
                node=clipping.node,
                threshold=values,
                quantized_threshold=tuple(int(code) for code in limit.reshape(-1)),
                scale=float(place.scale),
                zero_point=int(place.zero_point),
            )
        )
    zeros = [codes[record.tensor].zero_point for record in records if record.scale is not None]
    if zeros:
        model.functions.append(qlinear_crelu(opset(model), zeros))
        model.ir_version = max(model.ir_version, _FUNCTIONS_SINCE_IR)
        import_domain(model)
    restore(model, floats, functions)
    return tuple(records)


def qlinear_crelu(version: int, zero_points: Sequence[NDArray[Any]]) -> FunctionProto:
    """Return the function in the given operator set, for codes with the given zero points.

    Where all are 0 and the codes unsigned, as with every ReLU in uint8, the choice is a product with the mask, which
    ONNX Runtime computes three times as fast as Where, and no code lies below zero.
    """
    nodes = [helper.make_node("LessOrEqual", ["q", "qT"], ["keep"])]
    if all(zero.dtype == np.uint8 and zero == 0 for zero in zero_points):
        nodes += [
            helper.make_node("Cast", ["keep"], ["factor"], to=TensorProto.UINT8),
            helper.make_node("Mul", ["q", "factor"], ["y"]),
        ]
    else:
        nodes += [
            helper.make_node("Where", ["keep", "q", "zero_point"], ["kept"]),
            helper.make_node("Max", ["kept", "zero_point"], ["y"]),
        ]
    return helper.make_function(
        DOMAIN,
        "QLinearCReLU",
        ["q", "qT", "zero_point"],
        ["y"],
        nodes,
        [helper.make_opsetid("", version)],
        doc_string="q if zero_point <= q <= qT else zero_point",
    )


def _insert(model: ModelProto, clipping: Clipping, place: Codes, limit: NDArray[Any]) -> Codes:
    """Insert the node behind the producer of the codes and lead all their readers through it."""
    nodes = model.graph.node
    for node in nodes:
        if node.name == clipping.node:  # the Relu that had to stay in front of the codes
            node.name = f"{clipping.node}_relu"
    clipped, parameter = f"{place.tensor}_clipped", f"{clipping.output}_quantized_threshold"
    for node in nodes:
        for index, name in enumerate(node.input):
            if name == place.tensor:
                node.input[index] = clipped
    inputs = [place.tensor, parameter, place.zero_point_name]
    made: NodeProto = helper.make_node("QLinearCReLU", inputs, [clipped], clipping.node, domain=DOMAIN)
    producer = next(index for index, node in enumerate(nodes) if place.tensor in node.output)
    nodes.insert(producer + 1, made)
    shape = () if limit.size == 1 else limit.shape
    model.graph.initializer.append(numpy_helper.from_array(limit.reshape(shape), parameter))
    return Codes(tensor=clipped, scale=place.scale, zero_point=place.zero_point, zero_point_name=place.zero_point_name)
