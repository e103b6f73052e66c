"""Where a graph stores its weights and biases.

Walks nodes in graph order, into subgraphs and model-local functions, and follows each weight-like
input back through operators that only reshape or convert it to the stored tensor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from ftonnx.inject.bodies import called_by, functions_by_key, subgraphs
from ftonnx.inject.roles import BIAS_OR_SCALE, LINEAR, ROLE_OF_INPUT, VIEWS
from ftonnx.inject.tensors import element_count

__all__ = ["Site", "walk_sites"]

_EMBEDDING_TYPES: Final = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4,
}  # fmt: skip
_CONVERTER_SLOTS: Final = ((1, "scale"), (2, "zero_point"))
_NOT_STORED: Final = {TensorProto.STRING, TensorProto.BOOL, TensorProto.UNDEFINED}


class Site(NamedTuple):
    """A stored tensor, and the first node that uses it as a weight, bias, scale or zero point."""

    name: str
    tensor: TensorProto
    role: str
    node: str
    op_type: str


class _Place(NamedTuple):
    """A name, and the scope in which it is defined."""

    name: str
    scope: "_Scope"


class _Stored(NamedTuple):
    """A stored tensor behind an input, and the (de)quantizers on the way to it, each with its scope."""

    name: str
    tensor: TensorProto
    converters: "list[tuple[NodeProto, _Scope]]"


@dataclass(slots=True)
class _Scope:
    """What the names of one graph or function body mean; unknown names are looked up outside.

    Attributes:
        outer: the scope around it; None for the main graph and for functions.
        tensors: the stored values.
        producers: which node makes a value.
        aliases: a function's formal inputs: the actual name, and the scope in which it means something.
    """

    outer: "_Scope | None"
    tensors: dict[str, TensorProto] = field(default_factory=dict)
    producers: dict[str, NodeProto] = field(default_factory=dict)
    aliases: dict[str, "_Place"] = field(default_factory=dict)

    def find(self, name: str) -> "_Place | None":
        """Return the name and scope in which ``name`` is defined, following function arguments."""
        scope: _Scope | None = self
        while scope is not None and name:
            alias = scope.aliases.get(name)
            if alias is not None:
                return alias.scope.find(alias.name)
            if name in scope.tensors or name in scope.producers:
                return _Place(name, scope)
            # a subgraph sees the values of the graph around it
            scope = scope.outer
        return None


class _Walk:
    """One pass over a model; a tensor used twice is one site, at its first use."""

    def __init__(self, model: ModelProto) -> None:
        self.functions = functions_by_key(model)
        # by id; the value keeps the id from being reused
        self.seen: dict[int, TensorProto] = {}

    def graph(self, graph: GraphProto, outer: _Scope | None) -> Iterator[Site]:
        scope = _Scope(outer)
        for tensor in graph.initializer:
            scope.tensors[tensor.name] = tensor
        yield from self.nodes(graph.node, scope)

    def nodes(self, nodes: Sequence[NodeProto], scope: _Scope) -> Iterator[Site]:
        for node in nodes:
            _define(node, scope)
        for node in nodes:
            yield from self.node(node, scope)

    def node(self, node: NodeProto, scope: _Scope) -> Iterator[Site]:
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                yield from self.graph(inner, scope)
        function = self.functions.get(called_by(node))
        if function is not None:
            yield from self.call(function, node, scope)
            return
        for slot, role in _slots(node, scope):
            name = node.input[slot]
            yield from self.stored(node, name, role, scope)

    def call(self, function: FunctionProto, node: NodeProto, scope: _Scope) -> Iterator[Site]:
        """Walk a function's body, whose inputs are the only names that it shares with the caller."""
        body = _Scope(None)
        # trailing inputs may be left out
        arguments = zip(function.input, node.input, strict=False)
        for formal, actual in arguments:
            body.aliases[formal] = _Place(actual, scope)
        yield from self.nodes(function.node, body)

    def stored(self, node: NodeProto, name: str, role: str, scope: _Scope) -> Iterator[Site]:
        """Yield the site behind ``name``, and the scales and zero points on the way to it."""
        found = _trace(name, scope)
        if found is None:
            return
        tensor = found.tensor
        # a Gather of whole numbers looks up indices or shapes, not embeddings
        is_lookup = role == "weight" and node.op_type == "Gather"
        if is_lookup and tensor.data_type not in _EMBEDDING_TYPES:
            return
        if self._is_new(tensor):
            self.seen[id(tensor)] = tensor
            node_name = node.name or node.output[0]
            yield Site(found.name, tensor, role, node_name, node.op_type)
        for converter, place in found.converters:
            for slot, inner_role in _CONVERTER_SLOTS:
                if slot < len(converter.input):
                    inner_name = converter.input[slot]
                    yield from self.stored(converter, inner_name, inner_role, place)

    def _is_new(self, tensor: TensorProto) -> bool:
        """Say whether a tensor has bits that can flip and was not met yet."""
        if id(tensor) in self.seen:
            return False
        if tensor.data_type in _NOT_STORED:
            return False
        return element_count(tensor) > 0


def walk_sites(model: ModelProto) -> Iterator[Site]:
    """Yield every stored weight, bias, scale and zero point of ``model``, each once, in graph order."""
    yield from _Walk(model).graph(model.graph, None)


def _define(node: NodeProto, scope: _Scope) -> None:
    if node.op_type == "Constant":
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.HasField("t"):
                name = node.output[0]
                scope.tensors[name] = attribute.t
                return
    for name in node.output:
        if name:
            scope.producers[name] = node


def _trace(name: str, scope: _Scope) -> _Stored | None:
    """Follow ``name`` back through views; return its tensor and the (de)quantizers passed."""
    converters: list[tuple[NodeProto, _Scope]] = []
    place = scope.find(name)
    while place is not None:
        inside = place.scope
        tensor = inside.tensors.get(place.name)
        if tensor is not None:
            return _Stored(place.name, tensor, converters)
        node = inside.producers[place.name]
        if node.op_type not in VIEWS or not node.input:
            return None
        # only the first output of a view is the stored values
        if place.name != node.output[0]:
            return None
        if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
            converters.append((node, inside))
        place = inside.find(node.input[0])
    return None


def _slots(node: NodeProto, scope: _Scope) -> Iterator[tuple[int, str]]:
    """Yield (input index, role) of the inputs of ``node`` that may hold stored values."""
    roles = ROLE_OF_INPUT.get(node.op_type, {})
    for slot, role in roles.items():
        # an optional input is left out at the end, or by an empty name
        if slot >= len(node.input):
            continue
        if node.input[slot]:
            yield slot, role
    if not _is_bias_or_scale(node):
        return
    for slot, other in ((0, 1), (1, 0)):
        found = _trace(node.input[slot], scope)
        if found is None:
            continue
        # a scalar is a constant of the computation, no weight
        if not found.tensor.dims:
            continue
        if _after_linear(node.input[other], scope):
            yield slot, BIAS_OR_SCALE[node.op_type]


def _is_bias_or_scale(node: NodeProto) -> bool:
    return node.op_type in BIAS_OR_SCALE and len(node.input) == 2


def _after_linear(name: str, scope: _Scope) -> bool:
    """Say whether ``name`` comes out of a linear operator, bias and scale steps in between."""
    place = scope.find(name)
    while place is not None:
        inside = place.scope
        node = inside.producers.get(place.name)
        if node is None:
            return False
        if node.op_type in LINEAR:
            return True
        before = _passed_on(node, inside)
        if before is None:
            return False
        place = inside.find(before)
    return False


def _passed_on(node: NodeProto, scope: _Scope) -> str | None:
    """Return the input that a bias, a scale or a view hands on; None for any other node."""
    if _is_bias_or_scale(node):
        computed = [value for value in node.input if _trace(value, scope) is None]
        # two stored inputs are a constant, two computed ones a skip connection
        return computed[0] if len(computed) == 1 else None
    if node.op_type in VIEWS and node.input:
        return node.input[0]
    return None
