"""What the branches of an If and the bodies of a Loop read of the graph around them, made visible to the quantizer.

ONNX Runtime's quantizer renames and removes what makes a value, and looks for readers among the nodes of the graph
only: a branch that reads the output of a Relu would read that of the Conv before it afterwards.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from ftonnx.graphs import defined_in, subgraphs, used_by
from ftonnx.quant.names import free_name, names_in
from ftonnx.quant.sessions import elem_type

__all__ = ["outer_reads", "show_outer_reads"]

_COPY: Final = "Sum"


def show_outer_reads(model: ModelProto) -> None:
    """Let subgraphs read copies of the FP32 values that nodes of the graph make, in place.

    A copy is a Sum of one value: ONNX Runtime's optimizer takes an Identity away, and dies over a MaxPool between a
    DequantizeLinear and a branch.

    Args:
        model: with the types of its values.
    """
    graph = model.graph
    wanted = outer_reads(graph) & _computed_floats(graph)
    if not wanted:
        return
    taken = names_in(graph)
    copies = {}
    for index, node in reversed(list(enumerate(graph.node))):
        for name in node.output:
            if name not in wanted:
                continue
            copies[name] = free_name(name, taken)
            node_name = free_name(_COPY, taken)
            copy = helper.make_node(_COPY, [name], [copies[name]], node_name)
            graph.node.insert(index + 1, copy)
    for node in graph.node:
        _rename_reads_of_subgraphs(node, copies)


def outer_reads(graph: GraphProto) -> set[str]:
    """Return the values of a graph that subgraphs of its nodes read."""
    found: set[str] = set()
    for node in graph.node:
        reads = Counter(used_by(node))
        reads.subtract(node.input)
        # a sign in front leaves out what is not above 0
        found.update(+reads)
    return found


def _computed_floats(graph: GraphProto) -> set[str]:
    floats = set()
    for values in (graph.value_info, graph.output):
        for value in values:
            if elem_type(value) == TensorProto.FLOAT:
                floats.add(value.name)
    made: set[str] = set()
    for node in graph.node:
        made.update(node.output)
    return floats & made


def _rename_reads_of_subgraphs(node: NodeProto, names: Mapping[str, str]) -> None:
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            _rename_reads(graph, names)


def _rename_reads(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename what a graph reads from around it; a name that it defines itself means something else inside."""
    own = defined_in(graph)
    visible = {old: new for old, new in names.items() if old not in own}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = visible.get(name, name)
        _rename_reads_of_subgraphs(node, visible)
    for value in graph.output:
        value.name = visible.get(value.name, value.name)
