"""The order of nodes: each behind those whose values it needs, as the standard demands and converters forget."""

from collections.abc import Iterator, Sequence
from typing import Final

from onnx import FunctionProto, GraphProto, NodeProto

from ftonnx.errors import ModelError
from ftonnx.graphs.readers import defined_in, subgraphs, used_by

__all__ = ["is_sorted", "sort_nodes"]

_MOST_NAMED: Final = 5
_Body = GraphProto | FunctionProto


def is_sorted(body: _Body) -> bool:
    """Say whether no node of a graph or function, or of its subgraphs, needs a value that a later one makes."""
    return _needed_by(body) is not None


def _needed_by(body: _Body) -> set[str] | None:
    """Return the names that a body needs; None where a node comes too late, in it or in a subgraph.

    What it stores or makes itself is among them.
    """
    waiting: set[str] = set()
    for node in body.node:
        waiting.update(node.output)
    needed: set[str] = set()
    for node in body.node:
        here = set(node.input)
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                inside = _needed_by(graph)
                if inside is None:
                    return None
                here |= inside - defined_in(graph)
        # an optional input or output that is left out has an empty name
        here.discard("")
        # its own outputs count too: a node cannot wait for itself
        if not waiting.isdisjoint(here):
            return None
        waiting.difference_update(node.output)
        needed |= here
    if isinstance(body, GraphProto):
        needed.update(output.name for output in body.output)
    return needed


def sort_nodes(body: _Body) -> None:
    """Put nodes that come too late in front of the first that needs them, in place; in subgraphs too.

    All others stay in the order in which they are.

    Raises:
        ModelError: nodes wait for each other in a circle.
    """
    for graph in _inner_graphs(body):
        sort_nodes(graph)
    nodes = list(body.node)
    order = _Sorting(nodes).order()
    in_order = [nodes[index] for index in order]
    # a repeated field of protobuf can only be emptied and filled, and its nodes live as long as they are referred to
    del body.node[:]
    body.node.extend(in_order)


def _inner_graphs(body: _Body) -> Iterator[GraphProto]:
    for node in body.node:
        for attribute in node.attribute:
            yield from subgraphs(attribute)


class _Sorting:
    """A search that goes from each node, in order, to those it needs, and puts these first.

    Nodes are known by their places in the list.
    """

    def __init__(self, nodes: Sequence[NodeProto]) -> None:
        self._nodes = nodes
        makers: dict[str, int] = {}
        for place, node in enumerate(nodes):
            for name in node.output:
                makers.setdefault(name, place)
        # the nodes that each needs and that are not put yet, the first of them last, where it is taken from
        self._needed: list[list[int]] = []
        for node in nodes:
            needed = [makers[name] for name in used_by(node) if name in makers]
            needed.reverse()
            self._needed.append(needed)
        # a dict, since it keeps the order
        self._put: dict[int, None] = {}

    def order(self) -> list[int]:
        """Return the places of all nodes in their new order."""
        for place in range(len(self._nodes)):
            self._put_with_needed(place)
        return list(self._put)

    def _put_with_needed(self, place: int) -> None:
        # no recursion: a chain of nodes may be as long as the file allows
        waiting: dict[int, None] = {}
        if place not in self._put:
            waiting[place] = None
        while waiting:
            last = next(reversed(waiting))
            needed = self._first_needed(last)
            if needed is None:
                self._put[last] = None
                del waiting[last]
            elif needed in waiting:
                raise self._circle(list(waiting), needed)
            else:
                waiting[needed] = None

    def _first_needed(self, place: int) -> int | None:
        """Return the first node that one needs and that is not put yet."""
        needed = self._needed[place]
        while needed and needed[-1] in self._put:
            needed.pop()
        return needed[-1] if needed else None

    def _circle(self, waiting: Sequence[int], first: int) -> ModelError:
        members = waiting[waiting.index(first) :]
        named = [_named(self._nodes[place]) for place in members]
        listed = ", ".join(named[:_MOST_NAMED])
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        return ModelError(f"each of these nodes needs a value that another makes, in a circle: {listed}{more}")


def _named(node: NodeProto) -> str:
    """Return a node's name and operator; of one without a name, that of its first output."""
    outputs = [name for name in node.output if name]
    name = node.name or outputs[0]
    return f"{name!r} ({node.op_type})"
