"""Inputs of Conv and Gemm in the form in which ONNX Runtime's quantizer reads them rightly, and those that have none.

The quantizer takes the bias of a Gemm for a vector that is added as it is.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from ftonnx.quant.calibrate import OPERATORS
from ftonnx.quant.settings import QuantSettings
from ftonnx.quant.shares import BIASED, float_attribute, text_attribute

__all__ = ["settle_operands", "unsettled"]

_LAYER_BIASED = ("Conv", "ConvTranspose", "Gemm")


def settle_operands(model: ModelProto, excluded: frozenset[str]) -> None:
    """Put the factors of every Gemm into what it stores, and its bias into one row, in place.

    Gemm is alpha A B + beta C. Optional inputs that are left out by an empty name are left out altogether.

    Args:
        model: with every stored bias read by one node, and stored weights by nodes with the same factor only.
        excluded: names of nodes that stay in floating point.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    done: set[str] = set()
    for node in model.graph.node:
        if node.op_type in BIASED:
            while not node.input[-1]:
                node.input.pop()
        if node.op_type == "Gemm" and node.name not in excluded:
            _settle_gemm(node, stored, done)


def _settle_gemm(node: NodeProto, stored: Mapping[str, TensorProto], done: set[str]) -> None:
    weight = stored.get(node.input[1])
    if weight is None:
        return
    bias = stored.get(node.input[2]) if len(node.input) == 3 else None
    alpha = float_attribute(node, "alpha", 1)
    if alpha != 1:
        if weight.name not in done:
            _store(weight, numpy_helper.to_array(weight) * np.float32(alpha))
        done.add(weight.name)
        _forget(node, "alpha")
    if bias is None:
        return
    values = numpy_helper.to_array(bias)
    beta = float_attribute(node, "beta", 1)
    if beta != 1:
        values = values * np.float32(beta)
        _forget(node, "beta")
    row = _as_row(values, _columns(node, weight))
    if beta != 1 or row.shape != tuple(bias.dims):
        _store(bias, row)


def _columns(node: NodeProto, weight: TensorProto) -> int:
    """Return how many numbers a Gemm gives per row."""
    transposed = float_attribute(node, "transB", 0)
    return weight.dims[0] if transposed else weight.dims[1]


def _as_row(values: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Return a bias that is the same for all rows as one row; another one as it is.

    >>> _as_row(np.float32([[1, 2]]), 2).tolist(), _as_row(np.float32(3), 2).tolist()
    ([1.0, 2.0], [3.0, 3.0])
    """
    is_row = values.shape[-1:] == (columns,) and values.size == columns
    if is_row or values.size == 1:
        flat = values.reshape(-1)
        return np.broadcast_to(flat, (columns,))
    return values


def _store(tensor: TensorProto, values: NDArray[np.float32]) -> None:
    changed = numpy_helper.from_array(np.ascontiguousarray(values), tensor.name)
    tensor.CopyFrom(changed)


def _forget(node: NodeProto, name: str) -> None:
    for attribute in list(node.attribute):
        if attribute.name == name:
            node.attribute.remove(attribute)


def unsettled(model: ModelProto, settings: QuantSettings) -> set[str]:
    """Return the names of nodes that the quantizer, or ONNX Runtime behind it, gets wrong; they stay in FP32."""
    stored = {}
    for tensor in model.graph.initializer:
        stored[tensor.name] = tensor
    return {node.name for node in model.graph.node if _is_unsettled(node, stored, settings)}


def _is_unsettled(node: NodeProto, stored: Mapping[str, TensorProto], settings: QuantSettings) -> bool:
    op = node.op_type
    in_operators = settings.quant_format == "qoperator"
    if op == "Resize":
        # ONNX Runtime computes the cubic one on floating-point numbers only
        return in_operators and text_attribute(node, "mode") == "cubic"
    if op not in BIASED or op not in OPERATORS:
        return False
    if op == "Gemm" and float_attribute(node, "alpha", 1) != 1:
        return True
    if len(node.input) < 3:
        return False
    weight = stored.get(node.input[1])
    bias = stored.get(node.input[2])
    if bias is None:
        # the integer operators take whole numbers for a bias
        return op in _LAYER_BIASED and in_operators
    if op == "Gemm" and float_attribute(node, "beta", 1) != 1:
        return True
    if weight is None or not settings.per_channel:
        return False
    if op == "ConvTranspose":
        # its weights have one scale per output channel of a group
        return float_attribute(node, "group", 1) != 1
    return len(bias.dims) != 1
