"""Stored tensors of subgraphs and functions: named apart from all others, and moved to the main graph.

A subgraph sees the names of the graph around it. A function sees its inputs only: each call hands it what was moved.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, TensorProto, helper

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
    apart = _Apart(model)
    names: dict[int, str] = {}
    for body in _bodies(model):
        names |= apart.names_in(body, chosen)
    if len(names) < len(chosen):
        raise ValueError("a tensor of another model was given")
    return [names[id(tensor)] for tensor in tensors]


class _Apart:
    """Names that nothing else in a model has, body after body."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._taken = _defined(model)
        # how many names were made of each
        self._made: Counter[str] = Counter()

    def names_in(self, body: _Body, chosen: set[int]) -> dict[int, str]:
        """Return the names of the chosen tensors of a body, by their ids; those that are not unique are new ones.

        Raises:
            ValueError: a tensor is the default of an input of a subgraph.
        """
        is_main = body is self._graph
        outputs = set(_outputs(body))
        inputs = {value.name for value in body.input} if isinstance(body, GraphProto) else set()
        names: dict[int, str] = {}
        renamed: dict[str, str] = {}
        for name, tensor in list(_stored(body)):
            if id(tensor) not in chosen:
                continue
            names[id(tensor)] = name
            if is_main:
                continue
            if name in inputs:
                raise ValueError(f"{name!r} is an input of a subgraph")
            # what leaves a body must come from one of its nodes, once the tensor has moved away
            if self._taken[name] > 1 or name in outputs:
                renamed[name] = self._free(name)
                names[id(tensor)] = renamed[name]
        if renamed:
            _rename(body, renamed)
        return names

    def _free(self, name: str) -> str:
        """Return a name that is not taken yet, and take it."""
        new = name
        while new in self._taken:
            number = self._made[name]
            new = f"{name}/inner_{number}" if number else f"{name}/inner"
            self._made[name] += 1
        self._taken[new] += 1
        return new


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
        stored = _constants(body) if body is self._graph else _stored(body)
        taken = {name: tensor for name, tensor in stored if name in self._names}
        copies = []
        for name, tensor in taken.items():
            copy = TensorProto()
            copy.CopyFrom(tensor)
            copy.name = name
            copies.append(copy)
        # before they are added, as it must not find the new ones
        _remove(body, taken.keys())
        self._graph.initializer.extend(copies)
        return list(taken)

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


def _remove(body: _Body, names: Set[str]) -> None:
    """Remove the initializers and Constant nodes of some names."""
    # from the end, so that the places of others stay
    if isinstance(body, GraphProto):
        for index, tensor in reversed(list(enumerate(body.initializer))):
            if tensor.name in names:
                del body.initializer[index]
    for index, node in reversed(list(enumerate(body.node))):
        if not names.isdisjoint(node.output):
            del body.node[index]


def _rename(body: _Body, names: Mapping[str, str]) -> None:
    """Rename what a body stores; what leaves the body keeps its own name."""
    if isinstance(body, GraphProto):
        for tensor in body.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
    for node in body.node:
        if node.op_type == "Constant":
            node.output[0] = names.get(node.output[0], node.output[0])
    _read_as(body, names, frozenset())


def _read_as(body: _Body, names: Mapping[str, str], hidden: Set[str]) -> None:
    """Let a body and its subgraphs read other names.

    Args:
        body: it.
        names: the new ones by the old ones.
        hidden: old ones that mean something else here.
    """
    for node in body.node:
        for index, name in enumerate(node.input):
            if name in names and name not in hidden:
                node.input[index] = names[name]
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                _read_as(graph, names, hidden | defined_in(graph))
    for name in dict.fromkeys(_outputs(body)):
        if name in names and name not in hidden:
            body.node.append(helper.make_node("Identity", [names[name]], [name]))


def _outputs(body: _Body) -> list[str]:
    """Return the names of what leaves a body."""
    return [each if isinstance(each, str) else each.name for each in body.output]


def _defined(model: ModelProto) -> Counter[str]:
    """Return in how many bodies each name means something of the body's own."""
    names: Counter[str] = Counter()
    for body in _bodies(model):
        own = defined_in(body) if isinstance(body, GraphProto) else set(body.input)
        for node in body.node:
            own.update(node.output)
        names.update(own)
    return names
