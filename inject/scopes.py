"""What the names of a graph mean, in its subgraphs and in the model-local functions that it calls."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from onnx import FunctionProto, GraphProto, NodeProto, TensorProto

from ftonnx.inject.storage import stored_by

__all__ = ["Place", "Scope"]


class Place(NamedTuple):
    """A name, and the scope in which it is defined."""

    name: str
    scope: "Scope"


@dataclass(slots=True, eq=False)
class Scope:
    """What the names of one graph or function body mean; unknown names are looked up outside.

    Attributes:
        outer: the scope around it; None for the main graph and for functions.
        inputs: what is handed in when the graph runs.
        tensors: the stored values.
        producers: which node makes a value.
        aliases: a function's formal inputs: the actual name, and the scope in which it means something.
        results: of a function's body, its formal output behind each output of the call; empty where the function
            has fewer.
        bodies: the scopes of the functions that nodes of this one call, by the node's first output.
    """

    outer: "Scope | None"
    inputs: set[str] = field(default_factory=set)
    tensors: dict[str, TensorProto] = field(default_factory=dict)
    producers: dict[str, NodeProto] = field(default_factory=dict)
    aliases: dict[str, Place] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, "Scope"] = field(default_factory=dict)

    @classmethod
    def of_graph(cls, graph: GraphProto, outer: "Scope | None") -> "Scope":
        """Return the scope of the main graph, or of a subgraph inside another one."""
        scope = cls(outer)
        for value in graph.input:
            scope.inputs.add(value.name)
        for tensor in graph.initializer:
            scope.tensors[tensor.name] = tensor
        scope._define(graph.node)
        return scope

    def of_call(self, function: FunctionProto, node: NodeProto) -> "Scope":
        """Return the scope of a function's body, whose inputs are the only names that it shares with the caller."""
        key = node.output[0]
        body = self.bodies.get(key)
        if body is not None:
            return body
        body = Scope(None)
        # trailing inputs may be left out
        arguments = zip(function.input, node.input, strict=False)
        for formal, actual in arguments:
            body.aliases[formal] = Place(actual, self)
        for place, actual in enumerate(node.output):
            formal = function.output[place] if place < len(function.output) else ""
            body.results.setdefault(actual, formal)
        body._define(function.node)
        self.bodies[key] = body
        return body

    def find(self, name: str) -> Place | None:
        """Return the name and scope in which ``name`` is defined, following function arguments."""
        scope: Scope | None = self
        while scope is not None and name:
            alias = scope.aliases.get(name)
            if alias is not None:
                return alias.scope.find(alias.name)
            if scope._has(name):
                return Place(name, scope)
            # a subgraph sees the values of the graph around it
            scope = scope.outer
        return None

    def _has(self, name: str) -> bool:
        return name in self.tensors or name in self.producers or name in self.inputs

    def _define(self, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            tensor = stored_by(node)
            if tensor is not None:
                self.tensors[node.output[0]] = tensor
                continue
            for name in node.output:
                if name:
                    self.producers[name] = node
