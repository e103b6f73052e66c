"""Stored tensors that several nodes read, stored once per way in which the quantizer treats them.

It keeps one form per name: a bias has the scales of the node that it meets first, a weight the channels along that
node's axis, and whatever else reads the tensor gets these codes too. Nodes that treat a weight alike share it still.
"""

from collections.abc import Hashable
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from ftonnx.quant.calibrate import OPERATORS
from ftonnx.quant.names import free_name, names_in
from ftonnx.quant.scopes import outer_reads

__all__ = ["BIASED", "float_attribute", "split_shared", "text_attribute"]

BIASED: Final = {"Conv", "ConvTranspose", "Gemm", "BatchNormalization", "InstanceNormalization", "LayerNormalization"}
"""Operators whose third input is a bias that gets its scale from the first two."""

_WEIGHTED: Final = {"MatMul": (0, 1)} | dict.fromkeys(BIASED, (1,))
_BIAS: Final = 2
_PADDING: Final = 2
_PLAIN: Final = "plain"


def split_shared(model: ModelProto, excluded: frozenset[str]) -> None:
    """Give every use of an FP32 stored tensor that needs a form of its own a copy of the tensor, in place.

    The first use keeps the name.

    Args:
        model: its nodes have names.
        excluded: names of nodes that stay in floating point.
    """
    graph = model.graph
    stored = {}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            stored[tensor.name] = tensor
    taken = names_in(graph)
    # by tensor: which name each use reads; subgraphs read what was stored, whoever else does
    names: dict[str, dict[Hashable, str]] = {name: {} for name in stored}
    for name in outer_reads(graph) & names.keys():
        names[name][_PLAIN] = name
    for node in graph.node:
        for slot, name in enumerate(node.input):
            if name not in names:
                continue
            use = _use(node, slot, excluded)
            known = names[name]
            if use not in known:
                known[use] = _stored_again(graph, stored[name], taken) if known else name
            node.input[slot] = known[use]


def float_attribute(node: NodeProto, name: str, default: float) -> float:
    """Return an attribute's number, integers as floats."""
    for attribute in node.attribute:
        if attribute.name == name:
            return float(attribute.f or attribute.i)
    return default


def text_attribute(node: NodeProto, name: str) -> str:
    """Return an attribute's text, empty where there is none."""
    for attribute in node.attribute:
        if attribute.name == name:
            return attribute.s.decode()
    return ""


def _use(node: NodeProto, slot: int, excluded: frozenset[str]) -> Hashable:
    """Return how the quantizer treats an input, equal for those that it treats alike."""
    op = node.op_type
    if op not in OPERATORS or node.name in excluded:
        return _PLAIN
    if op in BIASED and slot == _BIAS:
        return ("bias", node.name)
    # in operator format the quantizer takes what a Pad pads with away from everyone else
    if op == "Pad" and slot == _PADDING:
        return ("padding", node.name)
    if slot in _WEIGHTED.get(op, ()):
        along = float_attribute(node, "transB", 0)
        factor = float_attribute(node, "alpha", 1)
        return ("weight", op, slot, along, factor)
    return _PLAIN


def _stored_again(graph: GraphProto, tensor: TensorProto, taken: set[str]) -> str:
    copy = graph.initializer.add()
    copy.CopyFrom(tensor)
    copy.name = free_name(tensor.name, taken)
    return copy.name
