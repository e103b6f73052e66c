"""Which nodes of a graph draw random numbers that reach an output.

Walks backwards from the outputs, into subgraphs and model-local functions, so that noise which nobody uses and
dropout that is switched off are no matter.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["RandomNode", "random_nodes"]

_DOMAINS: Final = frozenset({"", "ai.onnx", "com.microsoft"})
_RANDOM: Final = frozenset(
    {
        "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial",
        "Sampling",
    }
)  # fmt: skip
"""Operators that draw anew at every run, whatever their seed: a seed only says where a session starts."""

_TRAINING_MODE: Final = {"Dropout": 2, "BitmaskDropout": 2, "BiasDropout": 4, "BitmaskBiasDropout": 4}
"""Operators that are random in training only, and which input says so; the ratio dropped is the one before."""

_SHAPE_ONLY: Final = frozenset({"Shape", "Size", "RandomNormalLike", "RandomUniformLike"})
_PASSED_ON: Final = frozenset({"Identity", "Cast", "CastLike", "Reshape", "Squeeze", "Unsqueeze"})

_Constants = ChainMap[str, TensorProto]


class RandomNode(NamedTuple):
    """A node that draws random numbers.

    Attributes:
        name: the node's, or of its first output where it has none.
        op_type: its operator.
        always: it draws at every run; False where an input decides that, whose value the file does not say.
    """

    name: str
    op_type: str
    always: bool


def random_nodes(model: ModelProto) -> list[RandomNode]:
    """Return the nodes whose random numbers reach an output of ``model``, each once, in the order of the graph."""
    search = _Search(model)
    search.graph(model.graph, {output.name for output in model.graph.output}, ChainMap())
    return list(dict.fromkeys(reversed(search.found)))


class _Search:
    """One backward pass; what it finds comes last node first.

    Attributes:
        found: the random nodes so far.
    """

    def __init__(self, model: ModelProto) -> None:
        self._functions: Mapping[tuple[str, str, str], FunctionProto] = {
            (function.domain, function.name, function.overload): function for function in model.functions
        }
        self.found: list[RandomNode] = []

    def graph(self, graph: GraphProto, used: Collection[str], outside: _Constants) -> set[str]:
        """Search a graph of whose values these are used; return the names whose values it needs."""
        constants = outside.new_child({tensor.name: tensor for tensor in graph.initializer})
        return self.nodes(graph.node, used, constants)

    def nodes(self, nodes: Sequence[NodeProto], used: Collection[str], constants: _Constants) -> set[str]:
        """Search a body; ``constants`` are those from outside and the stored ones."""
        for node in nodes:
            _note_constant(node, constants)
        needed = set(used)
        for node in reversed(nodes):
            outputs = [bool(name) and name in needed for name in node.output]
            if any(outputs):
                needed |= self.node(node, outputs, constants)
        return needed

    def node(self, node: NodeProto, used: Sequence[bool], constants: _Constants) -> set[str]:
        """Search a node some of whose outputs are used; return the names whose values it needs."""
        function = self._functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            return self._call(node, function, used, constants)
        if (random := _drawn_by(node, constants)) is not None:
            self.found.append(random)
        needed = set() if node.op_type in _SHAPE_ONLY else set(node.input)
        for graph in _bodies(node, constants):
            needed |= self.graph(graph, _used_in_body(node, graph, used), constants)
        return needed

    def _call(self, node: NodeProto, function: FunctionProto, used: Sequence[bool], constants: _Constants) -> set[str]:
        """Search a function's body; its inputs are the only names that it shares with the caller."""
        given = dict(zip(function.input, node.input, strict=False))
        known = {formal: constants[actual] for formal, actual in given.items() if actual in constants}
        wanted = {name for name, is_used in zip(function.output, used, strict=False) if is_used}
        needed = self.nodes(function.node, wanted, ChainMap(known))
        return {actual for formal, actual in given.items() if formal in needed}


def _note_constant(node: NodeProto, constants: _Constants) -> None:
    """Note what a node makes of constants alone, where that is plain to see."""
    if node.op_type == "Constant":
        for attribute in node.attribute:
            if attribute.HasField("t"):
                constants[node.output[0]] = attribute.t
            elif attribute.name == "value_float" and not attribute.ref_attr_name:
                constants[node.output[0]] = helper.make_tensor("", TensorProto.FLOAT, (), [attribute.f])
    elif node.op_type in _PASSED_ON and node.input and node.input[0] in constants:
        constants[node.output[0]] = constants[node.input[0]]


def _drawn_by(node: NodeProto, constants: _Constants) -> RandomNode | None:
    """Return the node where it draws random numbers, or may do so."""
    if node.domain not in _DOMAINS:
        return None
    name = node.name or next(filter(None, node.output))
    if node.op_type in _RANDOM:
        return RandomNode(name, node.op_type, True)
    place = _TRAINING_MODE.get(node.op_type, len(node.input))
    if place >= len(node.input) or not node.input[place]:  # left out: it is switched off
        return None
    switches = [constants.get(name) for name in node.input[place - 1 : place + 1] if name]
    if any(tensor is not None and not _value(tensor) for tensor in switches):
        return None
    return RandomNode(name, node.op_type, None not in switches)


def _bodies(node: NodeProto, constants: _Constants) -> Iterable[GraphProto]:
    """Return the node's subgraphs; of an If whose condition is stored, the branch that is taken."""
    condition = constants.get(node.input[0]) if node.op_type == "If" else None
    taken = None if condition is None else "then_branch" if _value(condition) else "else_branch"
    for attribute in node.attribute:
        if taken in (None, attribute.name):
            yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _used_in_body(node: NodeProto, body: GraphProto, used: Sequence[bool]) -> set[str]:
    """Return which outputs of a subgraph matter: those that the node hands out, and what a loop carries on.

    Besides what it carries on a body returns values that are handed out only. A Loop's body returns whether to go on
    first, which the node does not hand out.
    """
    first = 1 if node.op_type == "Loop" else 0
    carried = {"If": 0, "Loop": len(node.input) - 1, "Scan": len(node.input) - _scanned(node)}
    kept = carried.get(node.op_type, len(body.output))
    handed_out = dict(enumerate(used, start=first))
    return {value.name for place, value in enumerate(body.output) if place < kept or handed_out.get(place, False)}


def _scanned(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "num_scan_inputs"), 0)


def _value(tensor: TensorProto) -> bool:
    """Return whether a stored switch or ratio is other than zero."""
    return bool(numpy_helper.to_array(tensor).any())
