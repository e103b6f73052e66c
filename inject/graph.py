"""Where a graph stores its weights and biases.

Walks nodes in graph order, into subgraphs and model-local functions, and follows each weight-like
input back through operators that only reshape or convert it to the stored tensor.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from ftonnx.inject.roles import BIAS_OR_SCALE, LINEAR, ROLE_OF_INPUT, VIEWS
from ftonnx.inject.tensors import element_count

__all__ = ["Site", "walk_sites"]

_EMBEDDING_TYPES: Final = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4,
}  # fmt: skip
_NOT_STORED: Final = {TensorProto.STRING, TensorProto.BOOL, TensorProto.UNDEFINED}


class Site(NamedTuple):
    """A stored tensor, and the first node that uses it as a weight, bias, scale or zero point."""

    name: str
    tensor: TensorProto
    role: str
    node: str
    op_type: str


@dataclass(slots=True)
class _Scope:
    """What the names of one graph or function body mean; unknown names are looked up outside."""

    outer: "_Scope | None"
    tensors: dict[str, tuple[str, TensorProto]] = field(default_factory=dict)
    producers: dict[str, NodeProto] = field(default_factory=dict)
    aliases: dict[str, tuple[str, "_Scope"]] = field(default_factory=dict)

    def find(self, name: str) -> "tuple[str, _Scope] | None":
        """Return the name and scope in which ``name`` is defined, following function arguments."""
        scope: _Scope | None = self
        while scope is not None and name:
            if name in scope.aliases:
                inner, caller = scope.aliases[name]
                return caller.find(inner)
            if name in scope.tensors or name in scope.producers:
                return name, scope
            scope = scope.outer
        return None


class _Walk:
    """One pass over a model; a tensor used twice is one site, at its first use."""

    def __init__(self, model: ModelProto) -> None:
        self.functions: Mapping[tuple[str, str, str], FunctionProto] = {
            (f.domain, f.name, f.overload): f for f in model.functions
        }
        self.seen: dict[int, TensorProto] = {}  # the value keeps the id from being reused

    def graph(self, graph: GraphProto, outer: _Scope | None) -> Iterator[Site]:
        scope = _Scope(outer)
        scope.tensors = {tensor.name: (tensor.name, tensor) for tensor in graph.initializer}
        yield from self.nodes(graph.node, scope)

    def nodes(self, nodes: Sequence[NodeProto], scope: _Scope) -> Iterator[Site]:
        for node in nodes:
            _define(node, scope)
        for node in nodes:
            yield from self.node(node, scope)

    def node(self, node: NodeProto, scope: _Scope) -> Iterator[Site]:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from self.graph(inner, scope)
        function = self.functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            body = _Scope(None)
            body.aliases = {formal: (actual, scope) for formal, actual in zip(function.input, node.input, strict=False)}
            yield from self.nodes(function.node, body)
            return
        for slot, role in _slots(node, scope):
            yield from self.stored(node, node.input[slot], role, scope)

    def stored(self, node: NodeProto, name: str, role: str, scope: _Scope) -> Iterator[Site]:
        """Yield the site behind ``name``, and the scales and zero points on the way to it."""
        found = _trace(name, scope)
        if found is None:
            return
        stored, tensor, converters = found
        if role == "weight" and node.op_type == "Gather" and tensor.data_type not in _EMBEDDING_TYPES:
            return
        if id(tensor) not in self.seen and element_count(tensor) and tensor.data_type not in _NOT_STORED:
            self.seen[id(tensor)] = tensor
            yield Site(stored, tensor, role, node.name or node.output[0], node.op_type)
        for converter, place in converters:
            for slot, inner_role in ((1, "scale"), (2, "zero_point")):
                if slot < len(converter.input):
                    yield from self.stored(converter, converter.input[slot], inner_role, place)


def walk_sites(model: ModelProto) -> Iterator[Site]:
    """Yield every stored weight, bias, scale and zero point of ``model``, each once, in graph order."""
    yield from _Walk(model).graph(model.graph, None)


def _define(node: NodeProto, scope: _Scope) -> None:
    constant = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
    if node.op_type == "Constant" and constant is not None:
        scope.tensors[node.output[0]] = node.output[0], constant
    else:
        scope.producers |= {name: node for name in node.output if name}


def _trace(name: str, scope: _Scope) -> tuple[str, TensorProto, list[tuple[NodeProto, _Scope]]] | None:
    """Follow ``name`` back through views; return its tensor and the (de)quantizers passed."""
    converters: list[tuple[NodeProto, _Scope]] = []
    while (place := scope.find(name)) is not None:
        name, scope = place
        if name in scope.tensors:
            return *scope.tensors[name], converters
        node = scope.producers[name]
        if node.op_type not in VIEWS or name != node.output[0] or not node.input:
            return None
        if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
            converters.append((node, scope))
        name = node.input[0]
    return None


def _slots(node: NodeProto, scope: _Scope) -> Iterator[tuple[int, str]]:
    """Yield (input index, role) of the inputs of ``node`` that may hold stored values."""
    roles = ROLE_OF_INPUT.get(node.op_type, {})
    yield from ((slot, role) for slot, role in roles.items() if slot < len(node.input) and node.input[slot])
    if node.op_type in BIAS_OR_SCALE and len(node.input) == 2:
        for slot, other in ((0, 1), (1, 0)):
            found = _trace(node.input[slot], scope)
            if found is not None and found[1].dims and _after_linear(node.input[other], scope):
                yield slot, BIAS_OR_SCALE[node.op_type]


def _after_linear(name: str, scope: _Scope) -> bool:
    """Say whether ``name`` comes out of a linear operator, bias and scale steps in between."""
    while (place := scope.find(name)) is not None:
        name, scope = place
        node = scope.producers.get(name)
        if node is None:
            return False
        if node.op_type in LINEAR:
            return True
        if node.op_type in BIAS_OR_SCALE and len(node.input) == 2:
            stored = [_trace(value, scope) is not None for value in node.input]
            if sum(stored) != 1:
                return False
            name = node.input[stored.index(False)]
        elif node.op_type in VIEWS and node.input:
            name = node.input[0]
        else:
            return False
    return False
