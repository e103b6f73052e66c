"""Integer kernels that add the products of two codes in 16 bits, which saturate."""

import functools
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ftonnx.sessions.options import SessionOptions
from ftonnx.sessions.running import open_session

__all__ = ["kernels_saturate", "saturating_operators", "saturation_caution"]

_QUANTIZED: Final = frozenset({"QLinearConv", "QLinearMatMul", "QGemm"})
_DYNAMIC: Final = frozenset({"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"})
_BETWEEN_CODES: Final = frozenset({"Conv", "MatMul", "Gemm"})
_EXACT: Final = 64  # weight codes up to this: 2 * 255 * 64 fits into 16 bits
_CHANNELS: Final = 64  # enough for the kernels that take several at a time


def saturating_operators(model: onnx.ModelProto) -> int:
    """Return how many operators of a model compute something else on this processor than their definition says.

    On x86-64 without VNNI, ONNX Runtime multiplies uint8 activations by int8 weights with an instruction that adds two
    products in 16 bits (``vpmaddubsw``): beyond 32,767 they saturate. Weights whose codes all lie in [-64, 64] do not
    reach that, and depthwise convolutions are computed in another way. Operators in the bodies of other nodes are not
    looked at.
    """
    stored = _stored(model)
    found = sum(_may_saturate(weight) for weight in _weights(model, stored))
    return found if found and kernels_saturate() else 0


def saturation_caution(operators: int) -> str | None:
    """Say what a reader must know of numbers that so many saturating operators made; None where there are none."""
    if not operators:
        return None
    which = "1 operator saturates" if operators == 1 else f"{operators} operators saturate"
    return (
        f"{which} in 16 bits on this kind of processor (x86 without VNNI), so another kind computes something else "
        "from the same file; ftonnx quantize --activation-type int8 makes files that all compute alike"
    )


def _stored(model: onnx.ModelProto) -> dict[str, TensorProto]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    constants = (node for node in model.graph.node if node.op_type == "Constant")
    made = {node.output[0]: each.t for node in constants for each in node.attribute if each.name == "value"}
    return stored | made


def _weights(model: onnx.ModelProto, stored: Mapping[str, TensorProto]) -> Iterator[TensorProto]:
    """Yield the stored int8 weight of every operator that multiplies it by uint8 activations."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        met = _met(node, makers)
        if met is None:
            continue
        zero_point, name = met
        is_unsigned = zero_point is None or _type_of(zero_point, stored) == TensorProto.UINT8
        if is_unsigned and _type_of(name, stored) == TensorProto.INT8:
            yield stored[name]


def _met(node: NodeProto, makers: Mapping[str, NodeProto]) -> tuple[str | None, str] | None:
    """Return the names of an activation's zero point and of the weight that meets it; None without codes of both.

    The zero point is None where DynamicQuantizeLinear makes it, which is uint8.
    """
    if node.op_type in _QUANTIZED:
        return node.input[2], node.input[3]
    if node.op_type in _DYNAMIC:
        return None, node.input[1]
    if node.op_type not in _BETWEEN_CODES:
        return None
    sources = [makers[name] for name in node.input[:2] if name in makers]
    if [source.op_type for source in sources] != ["DequantizeLinear"] * 2:
        return None
    activation, weight = sources
    zero_points = activation.input[2:3]
    return (zero_points[0] if zero_points else None), weight.input[0]


def _type_of(name: str, stored: Mapping[str, TensorProto]) -> int | None:
    return stored[name].data_type if name in stored else None


def _may_saturate(weight: TensorProto) -> bool:
    is_depthwise = len(weight.dims) > 2 and weight.dims[1] == 1
    if is_depthwise:
        return False
    if weight.data_location == TensorProto.EXTERNAL:  # of a model over 2 GiB, whose codes nobody has read
        return True
    codes = numpy_helper.to_array(weight)
    # -128 has no positive counterpart in int8
    return codes.size > 0 and max(int(codes.max()), -int(codes.min())) > _EXACT


@functools.cache
def kernels_saturate() -> bool:
    """Say whether this processor's kernels saturate: the largest codes are multiplied."""
    codes = np.full((1, _CHANNELS), 255, np.uint8)
    session = open_session(_largest_products(), SessionOptions(threads=1).for_one_run())
    found: NDArray[np.int32] = session.run(None, {"x": codes})[0]
    return bool(found.max() < 255 * 127 * _CHANNELS)


def _largest_products() -> bytes:
    weight = np.full((_CHANNELS, 16), 127, np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, (1, _CHANNELS))
    made = helper.make_tensor_value_info("y", TensorProto.INT32, None)
    graph = helper.make_graph([node], "largest", [given], [made], [numpy_helper.from_array(weight, "w")])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
