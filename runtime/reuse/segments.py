"""A graph divided at its cuts, each piece a model of its own."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from ftonnx.graphs import used_by, with_outputs_too
from ftonnx.runtime.reuse.cuts import Cut
from ftonnx.runtime.strategies.base import Divisible

__all__ = ["Segment", "element_types", "segments_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The nodes between two cuts.

    Attributes:
        model: the nodes as a model of their own.
        inputs: names of the tensors it takes.
        outputs: names of the tensors it gives to later segments or the user.
        arrays: names of the stored tensors it reads that faults can reach.
        spent: names of the tensors that no later segment takes, model outputs aside.
    """

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: frozenset[str]
    spent: tuple[str, ...]

    def reads(self, names: Collection[str]) -> bool:
        """Say whether it reads any of these stored tensors or inputs."""
        if not self.arrays.isdisjoint(names):
            return True
        return not set(self.inputs).isdisjoint(names)


def segments_of(divisible: Divisible, cuts: Sequence[Cut], types: Mapping[str, int]) -> list[Segment]:
    """Divide a graph.

    Args:
        divisible: the graph.
        cuts: in order.
        types: ONNX element type of every tensor at the cuts.
    """
    graph = divisible.model.graph
    reachable = divisible.sizes.keys()
    stored = {tensor.name for tensor in graph.initializer}
    segments = []
    first = 0
    before: set[str] = set()
    for end, needed in _ends(graph, cuts):
        nodes = graph.node[first:end]
        used = _used_by_all(nodes)
        made = _made_by_all(nodes)
        # sorted, so that equal graphs become equal segments
        inputs = tuple(sorted(used - made - stored))
        outputs = tuple(sorted(made & needed))
        segment = Segment(
            model=_model(divisible.model, nodes, used, inputs, outputs, types),
            inputs=inputs,
            outputs=outputs,
            arrays=frozenset(used.intersection(reachable)),
            spent=tuple(sorted(before - needed)),
        )
        segments.append(segment)
        first = end
        before = needed
    return segments


def element_types(divisible: Divisible, cuts: Iterable[Cut]) -> dict[str, int]:
    """Ask ONNX Runtime for the element types of the tensors at the cuts; those that are no tensors are left out."""
    names: set[str] = set()
    for cut in cuts:
        names.update(cut.tensors)
    probe = with_outputs_too(divisible.model, sorted(names))
    part = divisible.part(probe, divisible.sizes.keys())
    session = part.golden()
    types: dict[str, int] = {}
    for value in session.get_outputs():
        number = _element_type(value.type)
        # a sequence or a map cannot be kept: no cut where one is alive
        if number:
            types[value.name] = number
    return types


def _ends(graph: onnx.GraphProto, cuts: Sequence[Cut]) -> list[tuple[int, set[str]]]:
    """Return for each segment the number of the node behind it, and the tensors that are needed there."""
    ends = [(cut.node, set(cut.tensors)) for cut in cuts]
    count = len(graph.node)
    outputs = {value.name for value in graph.output}
    ends.append((count, outputs))
    return ends


def _used_by_all(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    used: set[str] = set()
    for node in nodes:
        used.update(used_by(node))
    return used


def _made_by_all(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    made: set[str] = set()
    for node in nodes:
        made.update(node.output)
    return made


def _model(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    used: Collection[str],
    inputs: Iterable[str],
    outputs: Iterable[str],
    types: Mapping[str, int],
) -> onnx.ModelProto:
    """Return a segment as a model of its own."""
    graph = model.graph
    part = onnx.ModelProto(ir_version=model.ir_version)
    part.opset_import.extend(model.opset_import)
    part.functions.extend(model.functions)
    part.graph.name = graph.name
    part.graph.node.extend(nodes)
    for tensor in graph.initializer:
        if tensor.name in used:
            part.graph.initializer.append(tensor)
    # the model's own inputs and outputs keep their shapes; between the segments only types are known
    known = {value.name: value for value in (*graph.input, *graph.output)}
    for name in inputs:
        value = _described(name, known, types)
        part.graph.input.append(value)
    for name in outputs:
        value = _described(name, known, types)
        part.graph.output.append(value)
    return part


def _described(name: str, known: Mapping[str, onnx.ValueInfoProto], types: Mapping[str, int]) -> onnx.ValueInfoProto:
    if name in known:
        return known[name]
    return onnx.helper.make_tensor_value_info(name, types[name], None)


def _element_type(ort_type: str) -> int:
    """Return the ONNX number of an element type by ONNX Runtime's name for it; 0 where it is no tensor.

    >>> _element_type("tensor(float)"), _element_type("tensor(uint8)"), _element_type("seq(tensor(float))")
    (1, 2, 0)
    """
    if not ort_type.startswith("tensor("):
        return 0
    name = ort_type.removeprefix("tensor(").removesuffix(")")
    return int(onnx.TensorProto.DataType.Value(name.upper()))
