"""Stored tensors of subgraphs and functions: named apart from all others, and moved to the main graph.

A subgraph sees the names of the graph around it. A function sees its inputs only: each call hands it what was moved.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from ftonnx.graphs.readers import defined_in, subgraphs

__all__ = ["has_inner_bodies", "hoist", "inner_initializers", "name_apart", "stored_anywhere"]

_Body = GraphProto | FunctionProto
_Key = tuple[str, str, str]


def has_inner_bodies(model: ModelProto) -> bool:
    """Say whether a model has functions, or nodes with subgraphs."""
    if model.functions:
        return True
    # the types alone: a large model has many attributes, and next to none of them holds a graph
    graphs = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return any(attribute.type in graphs for node in model.graph.node for attribute in node.attribute)


def inner_initializers(model: ModelProto) -> list[TensorProto]:
    """Return what the subgraphs of the main graph store in initializers."""
    found: list[TensorProto] = []
    for body in _inside(model.graph):
        found.extend(body.initializer)
    return found


def stored_anywhere(model: ModelProto) -> dict[str, TensorProto]:
    """Return what a model stores in initializers and Constant nodes, by name; of equal names the outermost one's."""
    stored: dict[str, TensorProto] = {}
    for body in _bodies(model):
        for name, tensor in _stored(body):
            stored.setdefault(name, tensor)
    return stored


def name_apart(model: ModelProto, tensors: Sequence[TensorProto]) -> list[str]:
    """Give stored tensors of subgraphs and functions names that nothing else in the model has, in place.

    Args:
        model: it.
        tensors: of its own, in initializers and Constant nodes, each once.

    Returns:
        The names of the tensors. Those of the main graph keep theirs, and so do most others whose name is theirs alone.

    Raises:
        ValueError: one of them is the default of an input of a subgraph, or not of this model.
    """
    # as long as they are held, protobuf gives the same object for the same tensor
    chosen = {id(tensor) for tensor in tensors}
    taken = _defined(model)
    names: dict[int, str] = {}
    graph = model.graph
    for body in _bodies(model):
        for name, tensor in list(_stored(body)):
            if id(tensor) not in chosen:
                continue
            if body is graph:
                names[id(tensor)] = name
                continue
            if isinstance(body, GraphProto) and any(value.name == name for value in body.input):
                raise ValueError(f"{name!r} is an input of a subgraph")
            # what leaves a body must come from one of its nodes, once the tensor has moved away
            if taken[name] > 1 or name in _outputs(body):
                new = _free(name, taken)
                _rename(body, name, new)
                name = new
            names[id(tensor)] = name
    if len(names) < len(chosen):
        raise ValueError("a tensor of another model was given")
    return [names[id(tensor)] for tensor in tensors]


def hoist(model: ModelProto, tensors: Sequence[TensorProto]) -> list[str]:
    """Make initializers of the main graph of stored tensors, in place; nothing that is computed changes.

    Arguments and results are those of ``name_apart``; tensors of functions that nothing calls stay there.
    """
    names = name_apart(model, tensors)
    _Hoisting(model, set(names)).move()
    return names


class _Hoisting:
    """One move of tensors whose names are unique in the whole model."""

    def __init__(self, model: ModelProto, names: set[str]) -> None:
        self._graph = model.graph
        self._names = names
        self._functions = {_key(function): function for function in model.functions}
        self._needed: dict[_Key, list[str]] = {}

    def move(self) -> None:
        self._take_from(self._graph)
        for body in _inside(self._graph):
            self._take_from(body)
        self._hand_to_calls(self._graph)

    def _take_from(self, body: _Body) -> list[str]:
        """Make initializers of what one body stores; return their names."""
        taken = []
        stored = _constants(body) if body is self._graph else _stored(body)
        for name, tensor in list(stored):
            if name in self._names:
                # first, as it must not find the new one
                _remove(body, name)
                initializer = self._graph.initializer.add()
                initializer.CopyFrom(tensor)
                initializer.name = name
                taken.append(name)
        return taken

    def _hand_to_calls(self, body: _Body) -> list[str]:
        """Let every call in a body hand over what its function needs; return all that is handed."""
        handed: list[str] = []
        for each in (body, *_inside(body)):
            for node in each.node:
                function = self._functions.get((node.domain, node.op_type, node.overload))
                if function is None:
                    continue
                needed = self._needed_by(function)
                if needed:
                    own = len(function.input) - len(needed)
                    # optional inputs at the end may have been left out
                    missing = own - len(node.input)
                    node.input.extend([""] * missing)
                    node.input.extend(needed)
                handed += needed
        return list(dict.fromkeys(handed))

    def _needed_by(self, function: FunctionProto) -> list[str]:
        """Make inputs of what is taken from a function, and of what it hands to others; return their names."""
        key = _key(function)
        if key not in self._needed:
            taken = self._take_from(function)
            for body in _inside(function):
                taken += self._take_from(body)
            needed = list(dict.fromkeys([*taken, *self._hand_to_calls(function)]))
            function.input.extend(needed)
            self._needed[key] = needed
        return self._needed[key]


def _free(name: str, taken: Counter[str]) -> str:
    """Return a name that is not taken yet, and take it."""
    number = 0
    new = f"{name}/inner"
    while new in taken:
        number += 1
        new = f"{name}/inner_{number}"
    taken[new] += 1
    return new


def _bodies(model: ModelProto) -> Iterator[_Body]:
    """Yield the main graph, the functions, and every subgraph in them."""
    roots: list[_Body] = [model.graph, *model.functions]
    for root in roots:
        yield root
        yield from _inside(root)


def _key(function: FunctionProto) -> _Key:
    return (function.domain, function.name, function.overload)


def _inside(body: _Body) -> Iterator[GraphProto]:
    """Yield every subgraph of a body's nodes, and theirs."""
    for node in body.node:
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                yield graph
                yield from _inside(graph)


def _stored(body: _Body) -> Iterator[tuple[str, TensorProto]]:
    """Yield the names and tensors of a body's own initializers and Constant nodes."""
    if isinstance(body, GraphProto):
        for tensor in body.initializer:
            yield tensor.name, tensor
    yield from _constants(body)


def _constants(body: _Body) -> Iterator[tuple[str, TensorProto]]:
    """Yield the names and tensors of a body's own Constant nodes."""
    for node in body.node:
        if node.op_type != "Constant":
            continue
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node.output[0], attribute.t


def _remove(body: _Body, name: str) -> None:
    """Remove the initializer or Constant node of a name."""
    if isinstance(body, GraphProto):
        for index, tensor in enumerate(body.initializer):
            if tensor.name == name:
                del body.initializer[index]
                return
    for index, node in enumerate(body.node):
        if name in node.output:
            del body.node[index]
            return


def _rename(body: _Body, name: str, new: str) -> None:
    """Rename what a body stores; what leaves the body keeps its own name."""
    if isinstance(body, GraphProto):
        for tensor in body.initializer:
            if tensor.name == name:
                tensor.name = new
    for node in body.node:
        if node.op_type == "Constant" and name in node.output:
            node.output[0] = new
    _read_as(body, name, new)


def _read_as(body: _Body, name: str, new: str) -> None:
    """Let a body and its subgraphs read another name."""
    for node in body.node:
        _rename_inputs(node, name, new)
    if name in _outputs(body):
        body.node.append(helper.make_node("Identity", [new], [name]))


def _outputs(body: _Body) -> list[str]:
    """Return the names of what leaves a body."""
    return [each if isinstance(each, str) else each.name for each in body.output]


def _rename_inputs(node: NodeProto, name: str, new: str) -> None:
    for index, each in enumerate(node.input):
        if each == name:
            node.input[index] = new
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            # there the name means something else
            if name not in defined_in(graph):
                _read_as(graph, name, new)


def _defined(model: ModelProto) -> Counter[str]:
    """Return in how many bodies each name means something of the body's own."""
    names: Counter[str] = Counter()
    for body in _bodies(model):
        own = defined_in(body) if isinstance(body, GraphProto) else set(body.input)
        for node in body.node:
            own.update(node.output)
        names.update(own)
    return names
