"""Names as ONNX Runtime's quantizer needs them: each node has its own, and none is in the way of those that it makes.

The quantizer derives names from those of values. Where one is taken already it goes on with whatever has the name, a
scale of the model's own in place of the one that it found, say.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from onnx import GraphProto, ModelProto, helper

from ftonnx.graphs import subgraphs

__all__ = ["free_name", "make_way", "name_nodes", "names_in"]

_DERIVED: Final = (
    "_scale",
    "_zero_point",
    "_quantized",
    "_quantized_scale",
    "_quantized_zero_point",
    "_quantized_clipped",
    "_quantized_threshold",
    "quantized",
    "_QuantizeLinear",
    "_QuantizeLinear_Input",
    "_QuantizeLinear_Output",
    "_QuantizeLinear_Output_clipped",
    "_DequantizeLinear",
    "_DequantizeLinear_Output",
)
"""What the quantizer, and this room, put behind a value's name for a node or a value of their own."""


def name_nodes(model: ModelProto) -> None:
    """Give every node of the graph a name of its own, in place; the quantizer knows nodes by name."""
    taken = Counter(node.name for node in model.graph.node)
    for index, node in enumerate(model.graph.node):
        is_own = taken[node.name] == 1
        if node.name and is_own:
            continue
        stem = node.name or node.op_type
        name = f"{stem}_{index}"
        while name in taken:
            name += "_"
        node.name = name
        taken[name] += 1


def names_in(graph: GraphProto) -> set[str]:
    """Return the names of all values and nodes of a graph and its subgraphs."""
    names: set[str] = set()
    for values in (graph.input, graph.output, graph.initializer, graph.value_info):
        names.update(value.name for value in values)
    for node in graph.node:
        names.add(node.name)
        names.update(node.input)
        names.update(node.output)
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                names |= names_in(inner)
    return names


def free_name(wanted: str, taken: set[str]) -> str:
    """Return a name that is free, and from which only free ones are derived; it is taken from then on.

    >>> free_name("bias", {"bias", "bias_2_scale"})
    'bias_3'
    """
    number = 2
    name = f"{wanted}_{number}"
    while name in taken or _is_in_the_way(name, taken):
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def make_way(model: ModelProto, others: set[str]) -> dict[str, str]:
    """Rename the values from whose names the quantizer would derive names that are taken, in place.

    The model's inputs and outputs keep their names: the quantizer meets a copy of their values with another name.

    Args:
        model: its graph is edited.
        others: names that are taken besides those in the graph.

    Returns:
        The new names by the old ones.
    """
    graph = model.graph
    taken = names_in(graph) | others
    renamed = {}
    for name in _values(graph):
        if _is_in_the_way(name, taken):
            renamed[name] = free_name(name, taken)
    if not renamed:
        return renamed
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)
    _rename_inside(graph, renamed)
    _join_interface(graph, renamed, taken)
    return renamed


def _is_in_the_way(name: str, taken: set[str]) -> bool:
    return any(f"{name}{suffix}" in taken for suffix in _DERIVED)


def _values(graph: GraphProto) -> Iterator[str]:
    """Yield the names of inputs, stored tensors and nodes' outputs, in graph order."""
    for value in graph.input:
        yield value.name
    for tensor in graph.initializer:
        yield tensor.name
    for node in graph.node:
        for name in node.output:
            # an output that nobody asked for has an empty name
            if name:
                yield name


def _rename_inside(graph: GraphProto, renamed: Mapping[str, str]) -> None:
    """Rename what a graph stores, makes and reads, and everything in its subgraphs; the new names are new in all."""
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                for values in (inner.input, inner.output, inner.value_info):
                    for value in values:
                        value.name = renamed.get(value.name, value.name)
                _rename_inside(inner, renamed)


def _join_interface(graph: GraphProto, renamed: Mapping[str, str], taken: set[str]) -> None:
    """Lead the inputs to the new names and these to the outputs."""
    for value in graph.input:
        if value.name in renamed:
            node_name = free_name("Identity", taken)
            entry = helper.make_node("Identity", [value.name], [renamed[value.name]], node_name)
            graph.node.insert(0, entry)
    for value in graph.output:
        if value.name in renamed:
            node_name = free_name("Identity", taken)
            leave = helper.make_node("Identity", [renamed[value.name]], [value.name], node_name)
            graph.node.append(leave)
