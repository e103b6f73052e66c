"""Who reads a value: nodes, nodes inside subgraphs that take it from around them, and whoever runs the model."""

from collections import Counter
from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, NodeProto

__all__ = ["count_readers", "defined_in", "subgraphs", "used_by"]


def count_readers(graph: GraphProto) -> Counter[str]:
    """Return how often each value of a graph is read: as input of a node, inside a node's subgraphs, as an output.

    A node that takes a value twice reads it twice, and so does one that takes it and whose subgraph takes it too. A
    value whose count is 1 has one reader, which alone sees what becomes of it; one that nobody reads has the count 0.
    """
    readers: Counter[str] = Counter()
    for node in graph.node:
        _add_uses(readers, node)
    # what leaves the graph is read from outside
    for output in graph.output:
        readers[output.name] += 1
    return readers


def used_by(node: NodeProto) -> Iterator[str]:
    """Yield the values that a node needs, also those that its subgraphs take from around them, once per use.

    What a subgraph stores or makes itself is not among them.
    """
    uses: Counter[str] = Counter()
    _add_uses(uses, node)
    yield from uses.elements()


def _add_uses(readers: Counter[str], node: NodeProto) -> None:
    """Add what one node reads."""
    # an optional input that is left out has an empty name
    readers.update(name for name in node.input if name)
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            readers.update(_taken_from_outside(graph))


def subgraphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    """Yield the graphs that an attribute holds."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _taken_from_outside(graph: GraphProto) -> Counter[str]:
    taken = count_readers(graph)
    for name in defined_in(graph):
        # unlike those of a dict, keys of a Counter may be missing
        del taken[name]
    return taken


def defined_in(graph: GraphProto) -> set[str]:
    """Return the names that mean something of the graph's own: its inputs, what it stores, what its nodes make."""
    own = {value.name for value in graph.input}
    for tensor in graph.initializer:
        own.add(tensor.name)
    for sparse in graph.sparse_initializer:
        own.add(sparse.values.name)
    for node in graph.node:
        own.update(node.output)
    return own
