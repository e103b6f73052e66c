"""Sums of integers, done in the layout of the convolutions that they follow.

ONNX Runtime keeps integer convolutions channels last, and sums between them too, unless a tensor is an output: as all
activations are while the optimizer runs. Each sum would then turn two tensors round, and its result back.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from onnx import ModelProto, NodeProto, helper

__all__ = ["sum_before_turning"]

_SUM: Final = "QLinearAdd"
_SUMMANDS: Final = (0, 3)
"""Places of the tensors among a sum's inputs; the others are scales and zero points."""


class _Turned(NamedTuple):
    """What a transpose has made a tensor of."""

    source: str
    order: tuple[int, ...]


def sum_before_turning(model: ModelProto) -> None:
    """Let sums come before the transposes of both their tensors, in place: the same numbers, element by element.

    Args:
        model: optimized, its nodes sorted.
    """
    graph = model.graph
    outputs = {value.name for value in graph.output}
    turned: dict[str, _Turned] = {}
    same_as: dict[str, str] = {}
    nodes: list[NodeProto] = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same_as.get(name, name)
        nodes.append(node)
        if node.op_type == "Transpose":
            _note(node, turned, same_as, outputs)
        elif node.op_type == _SUM:
            nodes += _moved(node, turned)
    del graph.node[:]
    graph.node.extend(nodes)


def _note(node: NodeProto, turned: dict[str, _Turned], same_as: dict[str, str], outputs: set[str]) -> None:
    """Take in what a transpose does; what it turns back is what was there before."""
    source = node.input[0]
    order = tuple(helper.get_node_attr_value(node, "perm")) if node.attribute else ()
    before = turned.get(source)
    if before is not None and order == _inverse(before.order) and node.output[0] not in outputs:
        same_as[node.output[0]] = before.source
        return
    if order:
        turned[node.output[0]] = _Turned(source, order)


def _moved(node: NodeProto, turned: dict[str, _Turned]) -> Sequence[NodeProto]:
    """Let a sum take its tensors as they were before they were turned alike; return what turns the result."""
    summands = [turned.get(node.input[place]) for place in _SUMMANDS]
    first, second = summands
    if first is None or second is None or first.order != second.order:
        return []
    node.input[_SUMMANDS[0]] = first.source
    node.input[_SUMMANDS[1]] = second.source
    result = node.output[0]
    node.output[0] = f"{result}/unturned"
    turned[result] = _Turned(node.output[0], first.order)
    return [helper.make_node("Transpose", [node.output[0]], [result], perm=first.order)]


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """Return the order that turns back.

    >>> _inverse((0, 3, 1, 2))
    (0, 2, 3, 1)
    """
    return tuple(order.index(axis) for axis in range(len(order)))
