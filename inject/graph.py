"""Where a graph stores its weights and biases.

The rule: a stored tensor can flip where its values enter arithmetic with what is computed from the model's input.

- As a parameter of an operator (`roles.ROLE_OF_INPUT`), whatever its values are.
- As an operand of Add, Sub, Sum (a bias), Mul or Div (a weight), or a part of a Concat (a weight), where another
  operand is computed. It then has several elements of a floating type, or is quantized; and is no buffer: no attention
  mask, no grid or anchors of a detector, no constant that normalizes the raw input (`buffers`). Directly behind a
  linear operator it is that operator's own bias or scale: only masks are left out there.

The operand is followed back to where it is stored (`flow`): through what moves or converts it (reshapes, casts, slices,
(de)quantizers …), through Concat to each part, and through arithmetic among constants.

Nodes are walked in graph order, into subgraphs and model-local functions. A tensor that is used twice is one site, at
its first use. What is looked at and is no site is remembered with the reason.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import Final, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from ftonnx.inject.bodies import called_by, functions_by_key, subgraphs
from ftonnx.inject.constants import Asked, Stored
from ftonnx.inject.flow import Flow, Value, followed_by_weights, handed_on
from ftonnx.inject.judges import Judge, no_step, no_values, of_operand, of_parameter, reason_by_use
from ftonnx.inject.reasons import UNUSED, not_followed
from ftonnx.inject.roles import BIAS_OR_SCALE, JOINED, SHAPES, roles_of
from ftonnx.inject.scopes import Scope
from ftonnx.inject.storage import stored_tensors
from ftonnx.inject.tensors import element_count

__all__ = ["Site", "Use", "Walk"]

_CONVERTER_SLOTS: Final = ((1, "scale"), (2, "zero_point"))
_NOT_STORED: Final = {TensorProto.STRING, TensorProto.BOOL, TensorProto.UNDEFINED}
_LEFT: Final = "left"
"""The question what an operand is that nothing is made of."""


class Site(NamedTuple):
    """A stored tensor, and the first node that uses it as a weight, bias, scale or zero point."""

    name: str
    tensor: TensorProto
    role: str
    node: str
    op_type: str


class Use(NamedTuple):
    """The first use of a stored tensor that made no site of it.

    Attributes:
        tensor: it.
        reason: why not.
        node: name of the node.
        op_type: its operator.
    """

    tensor: TensorProto
    reason: str
    node: str
    op_type: str


class Walk:
    """One pass over a model.

    Attributes:
        uses: by a tensor's id, the first use that made no site of it; complete after the pass.
    """

    def __init__(self, model: ModelProto) -> None:
        self.uses: dict[int, Use] = {}
        self._graph = model.graph
        # held from the beginning: the ids of what nothing reads must not be reused
        self._stored = list(stored_tensors(model))
        functions = functions_by_key(model)
        self._flow = Flow(functions)
        self._followed = followed_by_weights(model.graph, functions)
        self._main = Scope.of_graph(model.graph, None)
        self._asked = Asked()
        # by id; the value keeps the id from being reused
        self._seen: dict[int, TensorProto] = {}

    def sites(self) -> Iterator[Site]:
        """Yield every stored weight, bias, scale and zero point, each once, in graph order."""
        yield from self._graph_sites(self._graph, self._main)

    def stored(self) -> Iterator[Site]:
        """Yield everything that the model stores as a tensor, in the order of storage, with an empty role.

        The node is the first that reads a tensor otherwise than as a site; there may be none.
        """
        for name, tensor in self._stored:
            use = self.uses.get(id(tensor))
            if use is None:
                yield Site(name, tensor, "", "", "")
            else:
                yield Site(name, tensor, "", use.node, use.op_type)

    def reason(self, tensor: TensorProto) -> str:
        """Return why a stored tensor is no site."""
        use = self.uses.get(id(tensor))
        return UNUSED if use is None else use.reason

    def _graph_sites(self, graph: GraphProto, scope: Scope) -> Iterator[Site]:
        for node in graph.node:
            yield from self._node_sites(node, scope)
        for output in graph.output:
            value = self._flow.value(output.name, scope)
            for stored in self._behind(value, _LEFT):
                self._leave(stored, not_followed("output"), output.name, "")

    def _node_sites(self, node: NodeProto, scope: Scope) -> Iterator[Site]:
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                yield from self._graph_sites(inner, Scope.of_graph(inner, scope))
        function = self._flow.functions.get(called_by(node))
        if function is not None:
            body = scope.of_call(function, node)
            for inside in function.node:
                yield from self._node_sites(inside, body)
            return
        values = self._flow.of_node(node, scope)
        for slot, role in roles_of(node).items():
            # an optional input is left out at the end, or by an empty name
            if slot < len(values):
                why_not = of_parameter(node, values, slot, role)
                yield from self._sites(node, values[slot : slot + 1], role, why_not)
        if node.op_type in BIAS_OR_SCALE:
            yield from self._operands(node, values, scope)
        elif node.op_type in JOINED and _some_computed(values):
            yield from self._sites(node, values, JOINED[node.op_type], no_values)
        self._leave_others(node, values, scope)

    def _operands(self, node: NodeProto, values: list[Value], scope: Scope) -> Iterator[Site]:
        """Yield what is stored behind the operands of arithmetic with a computed one."""
        computed = [value for value in values if value.constant is None]
        if not computed:
            return
        if computed[0].step:
            # the step of an integer product is that of its activations times that of its weights
            yield from self._sites(node, values, "scale", no_step)
            return
        is_last = scope is self._main and self._followed.isdisjoint(node.output)
        why_not = of_operand(node, computed[0], is_last)
        yield from self._sites(node, values, BIAS_OR_SCALE[node.op_type], why_not)

    def _sites(self, node: NodeProto, values: Iterable[Value], role: str, why_not: Judge) -> Iterator[Site]:
        """Yield what is stored behind inputs of a node, but for what there is a reason against."""
        for value in values:
            for stored in self._behind(value, why_not):
                reason = why_not(stored)
                if reason is None:
                    yield from self._site(node, stored, role)
                else:
                    self._leave_at(node, stored, reason)

    def _site(self, node: NodeProto, stored: Stored, role: str) -> Iterator[Site]:
        """Yield a site, and the scales and zero points on the way to it."""
        tensor = stored.tensor
        if self._is_new(tensor):
            self._seen[id(tensor)] = tensor
            yield Site(stored.name, tensor, role, _name(node), node.op_type)
        if stored.conversion is None:
            return
        for converter in stored.conversion.untold():
            for slot, inner_role in _CONVERTER_SLOTS:
                if slot < len(converter.node.input):
                    name = converter.node.input[slot]
                    value = self._flow.value(name, converter.scope)
                    yield from self._sites(converter.node, [value], inner_role, no_step)

    def _behind(self, value: Value, question: Hashable) -> Iterator[Stored]:
        """Go through what is stored behind a value, but for that of which the same was asked before."""
        if value.constant is not None:
            yield from self._asked.tensors(value.constant, question)

    def _is_new(self, tensor: TensorProto) -> bool:
        """Say whether a tensor has bits that can flip and was not met yet."""
        if id(tensor) in self._seen:
            return False
        if tensor.data_type in _NOT_STORED:
            return False
        return element_count(tensor) > 0

    def _leave_others(self, node: NodeProto, values: list[Value], scope: Scope) -> None:
        """Remember what a node reads that it makes neither arithmetic nor another constant of."""
        # a shape says nothing of values
        if node.op_type in SHAPES:
            return
        constant: range | tuple[()] = ()
        if self._makes_constant(node, scope):
            constant = handed_on(node)
        for slot, value in enumerate(values):
            if slot in constant:
                # whoever uses the result will decide
                continue
            for stored in self._behind(value, _LEFT):
                self._leave_at(node, stored, reason_by_use(node, stored))

    def _makes_constant(self, node: NodeProto, scope: Scope) -> bool:
        outputs = [name for name in node.output if name]
        return bool(outputs) and self._flow.value(outputs[0], scope).constant is not None

    def _leave_at(self, node: NodeProto, stored: Stored, reason: str) -> None:
        self._leave(stored, reason, _name(node), node.op_type)

    def _leave(self, stored: Stored, reason: str, node: str, op_type: str) -> None:
        use = Use(stored.tensor, reason, node, op_type)
        self.uses.setdefault(id(stored.tensor), use)


def _name(node: NodeProto) -> str:
    name: str = node.name or node.output[0]
    return name


def _some_computed(values: Iterable[Value]) -> bool:
    return any(value.constant is None for value in values)
