"""What the values of a graph are: constants made of stored tensors, the prepared input, or activations.

A value is constant where no graph input reaches it. Shapes count as constants: a class token that is
expanded to the size of a batch is the stored token still.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from onnx import FunctionProto, GraphProto, NodeProto

from ftonnx.inject.bodies import FunctionKey, called_by, nested_bodies, subgraphs
from ftonnx.inject.constants import NOTHING, Constant, Converter, made_of
from ftonnx.inject.roles import (
    BIAS_OR_SCALE,
    COMPUTES_ALL,
    COMPUTES_FIRST,
    JOINED,
    LINEAR,
    LOOKUPS,
    MOVES,
    PREPARES,
    SHAPES,
    VIEWS,
    has_weights,
)
from ftonnx.inject.scopes import Place, Scope

__all__ = ["Flow", "Value", "followed_by_weights", "handed_on"]

_CONVERTERS: Final = frozenset({"DequantizeLinear", "QuantizeLinear"})


@dataclass(frozen=True, slots=True)
class Value:
    """What a value is.

    Attributes:
        constant: what a constant is made of; None for what is computed.
        raw: whether it is a graph input, prepared by steps without weights at most.
        linear: whether it comes out of a linear operator, bias and scale steps in between.
        step: whether it is a quantization step that a model computes while it runs.
    """

    constant: Constant | None
    raw: bool = False
    linear: bool = False
    step: bool = False


_ACTIVATION: Final = Value(None)
_INPUT: Final = Value(None, raw=True)


def followed_by_weights(graph: GraphProto, functions: Mapping[FunctionKey, FunctionProto]) -> set[str]:
    """Return the names of what an operator with weights comes after in the main graph.

    What is behind the last one says how outputs are written down: boxes around anchors, for instance.
    """
    found: set[str] = set()
    before = -1
    # again until nothing is new, since nodes may stand in any order
    while before < len(found):
        before = len(found)
        for node in reversed(graph.node):
            inner = [body for attribute in node.attribute for body in subgraphs(attribute)]
            for body in inner:
                found.update(_read_inside(body))
            is_opaque = bool(inner) or called_by(node) in functions
            if is_opaque or has_weights(node.op_type) or not found.isdisjoint(node.output):
                found.update(node.input)
    return found


def _read_inside(graph: GraphProto) -> Iterator[str]:
    for body in nested_bodies(graph):
        for node in body.node:
            yield from node.input


def handed_on(node: NodeProto) -> range:
    """Return the inputs of a node whose values are in its outputs where these are constant."""
    operator = node.op_type
    if operator in COMPUTES_ALL:
        return range(len(node.input))
    if operator in VIEWS or operator in MOVES or operator in LOOKUPS or operator in COMPUTES_FIRST:
        return range(min(1, len(node.input)))
    return range(0)


class Flow:
    """Finds out what values are, each once.

    Attributes:
        functions: the model-local functions.
    """

    def __init__(self, functions: Mapping[FunctionKey, FunctionProto]) -> None:
        self.functions = functions
        self._known: dict[Place, Value] = {}

    def value(self, name: str, scope: Scope) -> Value:
        """Return what ``name`` is; what is handed in from outside, or left out, counts as computed."""
        place = scope.find(name)
        if place is None:
            return _ACTIVATION
        known = self._known
        # a stack of our own, since graphs are deeper than Python's
        open_places = [place]
        visited: set[Place] = set()
        while open_places:
            top = open_places[-1]
            if top not in known and top not in visited:
                visited.add(top)
                for needed in self._needed(top):
                    if needed not in known and needed not in visited:
                        open_places.append(needed)
                continue
            open_places.pop()
            if top not in known:
                known.update(self._found(top))
        return known[place]

    def of_node(self, node: NodeProto, scope: Scope) -> list[Value]:
        """Return what the inputs of a node are."""
        return [self.value(name, scope) for name in node.input]

    def _needed(self, place: Place) -> Iterator[Place]:
        """Yield what must be known before."""
        scope = place.scope
        node = scope.producers.get(place.name)
        if node is None or place.name in scope.tensors:
            return
        function = self.functions.get(called_by(node))
        if function is not None:
            body = scope.of_call(function, node)
            result = body.find(body.results[place.name])
            if result is not None:
                yield result
            return
        for name in node.input:
            found = scope.find(name)
            if found is not None:
                yield found

    def _found(self, place: Place) -> dict[Place, Value]:
        """Return what a value is, of which all that it needs is known, and the other outputs of its operator."""
        scope = place.scope
        tensor = scope.tensors.get(place.name)
        if tensor is not None:
            return {place: Value(Constant(tensor, place.name))}
        node = scope.producers.get(place.name)
        if node is None:
            # what a subgraph is handed by its node is computed
            return {place: _INPUT if scope.outer is None else _ACTIVATION}
        function = self.functions.get(called_by(node))
        if function is not None:
            body = scope.of_call(function, node)
            return {place: self._read(body.results[place.name], body)}
        return self._made(node, scope)

    def _read(self, name: str, scope: Scope) -> Value:
        place = scope.find(name)
        if place is None:
            return _ACTIVATION
        # in a broken graph a value may wait for itself
        return self._known.get(place, _ACTIVATION)

    def _made(self, node: NodeProto, scope: Scope) -> dict[Place, Value]:
        """Return what an operator makes of its inputs, by output."""
        outputs = [Place(name, scope) for name in node.output if name]
        if any(True for attribute in node.attribute for _ in subgraphs(attribute)):
            return dict.fromkeys(outputs, _ACTIVATION)
        if node.op_type in SHAPES:
            return dict.fromkeys(outputs, Value(NOTHING))
        inputs = [self._read(name, scope) for name in node.input if name]
        if self._is_constant(node, inputs):
            made = dict.fromkeys(outputs, Value(NOTHING))
            constant = Value(_constant(node, inputs, scope))
            # the other outputs of a view are no stored values
            with_values = outputs if node.op_type == "Split" else [Place(node.output[0], scope)]
            return made | dict.fromkeys(with_values, constant)
        if node.op_type == "DynamicQuantizeLinear":
            # its outputs are the codes, their step and their zero point
            steps = [Place(name, scope) for name in node.output[1:2]]
            return dict.fromkeys(outputs, _ACTIVATION) | dict.fromkeys(steps, Value(None, step=True))
        computed = [value for value in inputs if value.constant is None]
        kind = Value(None, raw=_is_raw(node, inputs, computed), linear=_is_linear(node, inputs, computed))
        return dict.fromkeys(outputs, kind)

    def _is_constant(self, node: NodeProto, inputs: list[Value]) -> bool:
        """Say whether no graph input is in a node's outputs, shapes and bounds aside."""
        operator = node.op_type
        if inputs and (operator in VIEWS or operator in MOVES):
            return inputs[0].constant is not None
        return all(value.constant is not None for value in inputs)


def _constant(node: NodeProto, inputs: list[Value], scope: Scope) -> Constant:
    """Return the constant that a node makes of others."""
    operator = node.op_type
    parts = []
    for value in inputs[: len(handed_on(node))]:
        if value.constant is not None:
            parts.append(value.constant)
    converter = Converter(node, scope) if operator in _CONVERTERS else None
    computes = operator in COMPUTES_FIRST or (operator in COMPUTES_ALL and operator not in JOINED)
    return made_of(parts, converter=converter, moved=not computes)


def _is_raw(node: NodeProto, inputs: list[Value], computed: list[Value]) -> bool:
    operator = node.op_type
    if operator in VIEWS or operator in MOVES or operator in LOOKUPS:
        # what is looked up in a table with indices from outside is no raw input any more
        return inputs[0].raw
    return operator in PREPARES and all(value.raw for value in computed)


def _is_linear(node: NodeProto, inputs: list[Value], computed: list[Value]) -> bool:
    operator = node.op_type
    if operator in LINEAR:
        return True
    if operator in BIAS_OR_SCALE:
        # two computed inputs are a skip connection
        return len(computed) == 1 and computed[0].linear
    return operator in VIEWS and bool(inputs) and inputs[0].linear
