"""Which nodes of a graph draw random numbers that reach an output.

Walks backwards from the outputs, into subgraphs and model-local functions, so that noise which nobody uses and
dropout that is switched off are no matter.
"""

from collections import ChainMap
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ftonnx.inject.bodies import called_by, functions_by_key, subgraphs

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
    outputs = {output.name for output in model.graph.output}
    search.graph(model.graph, outputs, ChainMap())
    # the search goes backwards; a function that is called twice finds its nodes twice
    in_order = reversed(search.found)
    return list(dict.fromkeys(in_order))


class _Search:
    """One backward pass; what it finds comes last node first.

    Attributes:
        found: the random nodes so far.
    """

    def __init__(self, model: ModelProto) -> None:
        self._functions = functions_by_key(model)
        self.found: list[RandomNode] = []

    def graph(self, graph: GraphProto, used: Collection[str], outside: _Constants) -> set[str]:
        """Search a graph of whose values these are used; return the names whose values it needs."""
        stored = {tensor.name: tensor for tensor in graph.initializer}
        constants = outside.new_child(stored)
        return self.nodes(graph.node, used, constants)

    def nodes(self, nodes: Sequence[NodeProto], used: Collection[str], constants: _Constants) -> set[str]:
        """Search a body; ``constants`` are those from outside and the stored ones."""
        # forwards first, since the search goes against the order in which constants are made
        for node in nodes:
            _note_constant(node, constants)
        needed = set(used)
        for node in reversed(nodes):
            # which of the outputs are used; one that is left out has an empty name
            outputs = [name in needed and name != "" for name in node.output]
            if any(outputs):
                needed |= self.node(node, outputs, constants)
        return needed

    def node(self, node: NodeProto, used: Sequence[bool], constants: _Constants) -> set[str]:
        """Search a node some of whose outputs are used; return the names whose values it needs."""
        function = self._functions.get(called_by(node))
        if function is not None:
            return self._call(node, function, used, constants)
        random = _drawn_by(node, constants)
        if random is not None:
            self.found.append(random)
        needed: set[str] = set()
        # a random number changes no shape
        if node.op_type not in _SHAPE_ONLY:
            needed.update(node.input)
        for body in _bodies(node, constants):
            used_there = _used_in_body(node, body, used)
            needed |= self.graph(body, used_there, constants)
        return needed

    def _call(self, node: NodeProto, function: FunctionProto, used: Sequence[bool], constants: _Constants) -> set[str]:
        """Search a function's body; its inputs are the only names that it shares with the caller."""
        # trailing inputs and outputs may be left out
        given = dict(zip(function.input, node.input, strict=False))
        known = {}
        for formal, actual in given.items():
            if actual in constants:
                known[formal] = constants[actual]
        wanted = set()
        for name, is_used in zip(function.output, used, strict=False):
            if is_used:
                wanted.add(name)
        needed_inside = self.nodes(function.node, wanted, ChainMap(known))
        needed = set()
        for formal, actual in given.items():
            if formal in needed_inside:
                needed.add(actual)
        return needed


def _note_constant(node: NodeProto, constants: _Constants) -> None:
    """Note what a node makes of constants alone, where that is plain to see."""
    if node.op_type == "Constant":
        for attribute in node.attribute:
            value = _constant_in(attribute)
            if value is not None:
                constants[node.output[0]] = value
    elif node.op_type in _PASSED_ON and node.input:
        value = constants.get(node.input[0])
        if value is not None:
            constants[node.output[0]] = value


def _constant_in(attribute: AttributeProto) -> TensorProto | None:
    """Return the value that an attribute of a Constant holds, of those that switch anything."""
    if attribute.HasField("t"):
        return attribute.t
    # what a function's caller gives is not in the file's node
    if attribute.name == "value_float" and not attribute.ref_attr_name:
        return helper.make_tensor("", TensorProto.FLOAT, (), [attribute.f])
    return None


def _drawn_by(node: NodeProto, constants: _Constants) -> RandomNode | None:
    """Return the node where it draws random numbers, or may do so."""
    if node.domain not in _DOMAINS:
        return None
    if node.op_type in _RANDOM:
        return RandomNode(_name_of(node), node.op_type, True)
    place = _TRAINING_MODE.get(node.op_type)
    if place is None:
        return None
    # an input that is left out switches training off
    if place >= len(node.input):
        return None
    if not node.input[place]:
        return None
    always = True
    ratio_and_mode = node.input[place - 1 : place + 1]
    for switch in ratio_and_mode:
        # a ratio that is left out is one half
        if not switch:
            continue
        tensor = constants.get(switch)
        # whoever runs the model may say so, or not
        if tensor is None:
            always = False
        elif not _value(tensor):
            return None
    return RandomNode(_name_of(node), node.op_type, always)


def _name_of(node: NodeProto) -> str:
    """Return the node's name; of one without, that of its first output."""
    if node.name:
        return node.name
    outputs = [name for name in node.output if name]
    return outputs[0]


def _bodies(node: NodeProto, constants: _Constants) -> Iterable[GraphProto]:
    """Return the node's subgraphs; of an If whose condition is stored, the branch that is taken."""
    taken = _branch_taken(node, constants)
    for attribute in node.attribute:
        if taken is not None and attribute.name != taken:
            continue
        yield from subgraphs(attribute)


def _branch_taken(node: NodeProto, constants: _Constants) -> str | None:
    """Return which branch of an If is taken; None where the file does not say, and for any other node."""
    if node.op_type != "If":
        return None
    condition = constants.get(node.input[0])
    if condition is None:
        return None
    return "then_branch" if _value(condition) else "else_branch"


def _used_in_body(node: NodeProto, body: GraphProto, used: Sequence[bool]) -> set[str]:
    """Return which outputs of a subgraph matter: those that the node hands out, and what a loop carries on.

    Besides what it carries on a body returns values that are handed out only. A Loop's body returns whether to go on
    first, which the node does not hand out.
    """
    first = 1 if node.op_type == "Loop" else 0
    carried = _carried_on(node, body)
    handed_out = dict(enumerate(used, start=first))
    matter = set()
    for place, value in enumerate(body.output):
        is_used = handed_out.get(place, False)
        if place < carried or is_used:
            matter.add(value.name)
    return matter


def _carried_on(node: NodeProto, body: GraphProto) -> int:
    """Return how many of a body's first outputs enter its next round; all of an operator that is not known."""
    if node.op_type == "If":
        return 0
    if node.op_type == "Loop":
        return len(node.input) - 1
    if node.op_type == "Scan":
        return len(node.input) - _scanned(node)
    return len(body.output)


def _scanned(node: NodeProto) -> int:
    for attribute in node.attribute:
        if attribute.name == "num_scan_inputs":
            return attribute.i
    return 0


def _value(tensor: TensorProto) -> bool:
    """Return whether a stored switch or ratio is other than zero."""
    values = numpy_helper.to_array(tensor)
    return bool(values.any())
