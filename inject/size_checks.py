"""Checks of how large a model is: its nodes, also with all functions inlined, its names, its axes.

What a small file says may be gone through for hours, so these checks come first, and take time linear in the file.
"""

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Final, NamedTuple

from onnx import GraphProto, ModelProto, ValueInfoProto

from ftonnx.errors import ModelError, message_of
from ftonnx.inject.bodies import (
    Body,
    FunctionKey,
    all_bodies,
    called_by,
    functions_by_key,
    initializers,
    subgraphs,
)
from ftonnx.limits import NAME_LENGTH, NODES

__all__ = ["MOST_AXES", "check_sizes"]

MOST_AXES: Final = 64
"""numpy's own limit."""

_MOST_DEPTH: Final = 64
_SHOWN: Final = 40


class _Call(NamedTuple):
    """A node, as what it calls: a function or an operator.

    Attributes:
        key: of it.
        depth: how many subgraphs the node lies in.
    """

    key: FunctionKey
    depth: int


class _Extent(NamedTuple):
    """How large a body is when all that it calls is inlined.

    Attributes:
        depth: the most calls and subgraphs within each other.
        nodes: their number.
    """

    depth: int
    nodes: int


_OPERATOR: Final = _Extent(0, 1)
_STORED: Final = ("", "", "")
"""No function: counts as an operator does."""


def check_sizes(proto: ModelProto) -> None:
    """Refuse a model of which a look would take without measure.

    Raises:
        ModelError: it has too many nodes, functions that call each other in a circle or too deep, a name that is too
            long, or a value of too many axes.
    """
    most = NODES.most
    nodes = sum(len(body.node) for body in all_bodies(proto))
    if nodes > most:
        raise ModelError(f"it has {nodes:,} nodes: {NODES.said}")
    _check_calls(proto, most)
    longest = NAME_LENGTH.most
    for name in _names(proto):
        if len(name) > longest:
            raise ModelError(f"a name that begins with {name[:_SHOWN]!r} has {len(name):,} letters: {NAME_LENGTH.said}")
    for value in _values(proto):
        axes = len(value.type.tensor_type.shape.dim)
        if axes > MOST_AXES:
            raise ModelError(f"value {value.name!r} has {axes:,} axes, numpy knows up to {MOST_AXES}")


def _check_calls(proto: ModelProto, most: int) -> None:
    """Refuse functions that call each other in a circle, or that grow without measure when inlined."""
    calls = {}
    for key, function in functions_by_key(proto).items():
        calls[key] = list(_calls_in(function))
    extents: dict[FunctionKey, _Extent] = {}
    # callees come first, so each function's own extent follows from known ones
    for key in _callees_first(calls):
        extents[key] = _extent(calls[key], extents)
        _check_extent(f"function {key[1]!r}", extents[key], most)
    whole = _extent(_calls_in(proto.graph), extents)
    _check_extent("it", whole, most)


def _calls_in(body: Body, depth: int = 0) -> Iterator[_Call]:
    """Yield what the nodes of a body call, those of its subgraphs included."""
    if depth:
        # what a subgraph stores is looked up wherever it is called
        for _ in initializers(body):
            yield _Call(_STORED, depth)
    for node in body.node:
        yield _Call(called_by(node), depth)
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                yield from _calls_in(graph, depth + 1)


def _callees_first(calls: dict[FunctionKey, list[_Call]]) -> list[FunctionKey]:
    order: TopologicalSorter[FunctionKey] = TopologicalSorter()
    for key, called in calls.items():
        functions = [call.key for call in called if call.key in calls]
        order.add(key, *functions)
    try:
        return list(order.static_order())
    except CycleError as error:
        raise ModelError(f"its functions call each other in a circle: {message_of(error)}") from error


def _extent(calls: Iterable[_Call], known: dict[FunctionKey, _Extent]) -> _Extent:
    deepest = 0
    nodes = 0
    for call in calls:
        called = known.get(call.key, _OPERATOR)
        deepest = max(deepest, call.depth + called.depth)
        nodes += called.nodes
    return _Extent(deepest + 1, nodes)


def _check_extent(what: str, extent: _Extent, most: int) -> None:
    if extent.depth > _MOST_DEPTH:
        raise ModelError(f"{what} is {extent.depth} calls and subgraphs deep, at most {_MOST_DEPTH} are followed")
    if extent.nodes > most:
        raise ModelError(f"{what} has {extent.nodes:,} nodes when its functions are inlined: {NODES.said}")


def _names(proto: ModelProto) -> Iterator[str]:
    """Yield every name in a model that is not also the name of a node's input or output elsewhere."""
    for body in all_bodies(proto):
        yield body.name
        for tensor in initializers(body):
            yield tensor.name
        for node in body.node:
            yield node.name
            yield node.op_type
            yield node.domain
            yield from node.input
            yield from node.output
    for value in _values(proto):
        yield value.name
        for dimension in value.type.tensor_type.shape.dim:
            yield dimension.dim_param


def _values(proto: ModelProto) -> Iterator[ValueInfoProto]:
    """Yield what a model says of its values."""
    for body in all_bodies(proto):
        if isinstance(body, GraphProto):
            yield from body.input
            yield from body.output
        yield from body.value_info
