"""The activations of any ONNX graph: which nodes they are, and what feeds them."""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.export.clamp import LOWER, MIN_UPPER, UPPER, is_clamp
from ftonnx.export.crelu import CLIP_ABOVE, CRELU, DOMAIN
from ftonnx.graphs import require_unoptimized
from ftonnx.graphs.ir_models import to_ir

__all__ = [
    "THRESHOLD_PLACE",
    "Activation",
    "activation_nodes",
    "feeding_tensors",
    "find_activations",
    "upper_limit",
]

Kind = Literal["relu", "clip", "crelu", "signed", "clipabove", "clamp", "clampabove", "minabove"]

THRESHOLD_PLACE: Final[dict[Kind, int]] = {
    "crelu": 1,
    "clipabove": 1,
    "clamp": UPPER,
    "clampabove": UPPER,
    "minabove": MIN_UPPER,
}
"""The kinds that have a threshold, and its place among the node's inputs."""

_OWN: Final[dict[str, Kind]] = {
    CRELU: "crelu",
    CLIP_ABOVE: "clipabove",
}
_SIGNED_OPS: Final = {
    "LeakyRelu", "PRelu", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "HardSwish", "Swish",
    "Elu", "Celu", "Selu", "Mish",
}  # fmt: skip
_GATES: Final = {"Sigmoid", "HardSigmoid"}
_PRODUCTS: Final = {"Mul", "Div"}
_BENDS: Final = {"Erf", "Tanh"}
_GELU_STEPS: Final = {"Erf", "Tanh", "Mul", "Div", "Add", "Pow"}
_LONGEST_GATE: Final = 7
"""Steps from a GELU's gate back to its x: enough for the form with tanh, whose x is cubed."""


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation of a graph.

    Attributes:
        name: the node's name, or its output's where it has none.
        kind: ``relu``; ``clip`` (a Clip from 0 up, such as ReLU6); ``crelu``, ``clipabove``, ``clamp``,
            ``clampabove`` and ``minabove`` (already clipped); ``signed`` (GELU, SiLU, HardSwish, LeakyRelu, ...:
            negative values belong to it).
        observed: name of the tensor that a threshold is compared with: the output, or where the node
            itself limits its output (``clip`` and what is already clipped) its input.
        output: name of the activation's output tensor.
    """

    name: str
    kind: Kind
    observed: str
    output: str


def find_activations(proto: onnx.ModelProto) -> tuple[Activation, ...]:
    """Return the activations of the main graph, in graph order.

    Raises:
        ModelError: ONNX Runtime's optimizer wrote the file, and fused activations with other nodes.
    """
    require_unoptimized(proto)
    model = to_ir(proto)
    return tuple(activation for activation, _ in activation_nodes(model.graph))


def activation_nodes(graph: ir.Graph) -> Iterator[tuple[Activation, ir.Node]]:
    """Yield the activations of a graph, each with its node."""
    # the main graph only: activations in branches and loops are not clipped
    for node in graph:
        kind = _kind(node)
        if kind is not None:
            yield _described(node, kind), node


def feeding_tensors(proto: onnx.ModelProto, activation: Activation) -> frozenset[str]:
    """Return the names of the stored tensors between an activation and the ones before it.

    Raises:
        ModelError: the model has no such activation.
    """
    model = to_ir(proto)
    start, ends = _start_and_ends(model.graph, activation)
    names: set[str] = set()
    # by identity: two nodes may look the same
    seen = {id(start)}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        for value in _made_of(node):
            if value is None:
                continue
            if value.is_initializer():
                names.add(str(value.name))
                continue
            producer = value.producer()
            # an input of the graph, a second way to the same node, or another activation
            if producer is None or id(producer) in seen or id(producer) in ends:
                continue
            seen.add(id(producer))
            waiting.append(producer)
            # a Constant stores its value in the node, under the name of its output
            if producer.op_type == "Constant":
                names.update(str(output.name) for output in producer.outputs)
    return frozenset(names)


def _made_of(node: ir.Node) -> Iterator[ir.Value | None]:
    """Yield what a node's outputs come from: its inputs, and of an If, Loop or Scan what its bodies hand out."""
    yield from node.inputs
    for attribute in node.attributes.values():
        # what a body takes from around it is found on the way back from its outputs
        if attribute.type == ir.AttributeType.GRAPH:
            yield from attribute.as_graph().outputs
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                yield from graph.outputs


def _start_and_ends(graph: ir.Graph, activation: Activation) -> tuple[ir.Node, set[int]]:
    """The activation's own node, and the identities of those of all others."""
    start = None
    ends = set()
    for each, node in activation_nodes(graph):
        if start is None and each.name == activation.name:
            start = node
        else:
            ends.add(id(node))
    if start is None:
        raise ModelError(f"the model has no activation {activation.name!r}; is it one of another model?")
    return start, ends


def _described(node: ir.Node, kind: Kind) -> Activation:
    output = str(node.outputs[0].name)
    observed: ir.Value | None = node.inputs[0]
    if kind in ("relu", "signed"):
        observed = node.outputs[0]
    return Activation(
        name=node.name or output,
        kind=kind,
        observed=str(observed and observed.name),
        output=output,
    )


def _kind(node: ir.Node) -> Kind | None:
    # the names of our functions mean nothing in other domains
    if node.domain == DOMAIN:
        return _OWN.get(node.op_type)
    if node.op_type == "Relu":
        return "relu"
    if node.op_type == "Clip":
        return _kind_of_clip(node)
    if node.op_type == "Min":
        return "minabove" if _has_own_limit(node, MIN_UPPER) else None
    if node.op_type in _SIGNED_OPS:
        return "signed"
    if _is_gated(node) or _is_gelu(node):
        return "signed"
    return None


def _kind_of_clip(node: ir.Node) -> Kind | None:
    ours = _has_own_limit(node, UPPER)
    # behind an activation that is negative by design there is no lower limit
    if ours and node.inputs[LOWER] is None:
        return "clampabove"
    if not _clips_from_zero(node):
        return None
    return "clamp" if ours else "clip"


def _has_own_limit(node: ir.Node, place: int) -> bool:
    """Say whether the input at a place is the threshold of an activation of the node's name."""
    upper = node.inputs[place] if len(node.inputs) > place else None
    name = node.name or str(node.outputs[0].name)
    return upper is not None and is_clamp(name, str(upper.name))


def upper_limit(node: ir.Node) -> np.float32:
    """Return the upper limit of a Clip, +Inf where it has none.

    Raises:
        ModelError: the limit is computed.
    """
    upper = None
    if len(node.inputs) > UPPER:
        upper = node.inputs[UPPER]
    if upper is None:
        # before opset 11 the limits were attributes
        return np.float32(node.attributes.get_float("max", np.inf))
    array = _constant(upper)
    if array is None:
        raise ModelError(f"the upper limit of {node.name!r} is computed; clip it with `on_exceed=zero`")
    return np.float32(array.item())


def _clips_from_zero(node: ir.Node) -> bool:
    """Say whether a Clip is a ReLU with an upper limit: its lower limit is the constant 0.0."""
    low = None
    if len(node.inputs) > LOWER:
        low = node.inputs[LOWER]
    if low is None:
        # before opset 11 the limits were attributes
        minimum = node.attributes.get_float("min", np.nan)
        return minimum == 0.0
    array = _constant(low)
    # whole numbers are clamped indices, not activations
    if array is None or array.dtype != np.float32:
        return False
    return bool(array.item() == 0.0)


def _is_gated(node: ir.Node) -> bool:
    """Say whether a node is ``x * gate(x)`` (SiLU, HardSwish)."""
    if node.op_type != "Mul" or len(node.inputs) != 2:
        return False
    first = node.inputs[0]
    second = node.inputs[1]
    return _gates(first, second) or _gates(second, first)


def _gates(value: ir.Value | None, other: ir.Value | None) -> bool:
    """Say whether ``value`` is the gate of ``other``."""
    if value is None:
        return False
    producer = value.producer()
    if producer is None or producer.op_type not in _GATES:
        return False
    return producer.inputs[0] is other


def _is_gelu(node: ir.Node) -> bool:
    """Say whether a node ends ``x * 0.5 * (1 + erf(..x..))``, or that with tanh, its factors in any order."""
    if node.op_type not in _PRODUCTS:
        return False
    gate = _gelu_gate(node)
    if gate is None:
        return False
    # x is found again among what the gate is made of; where it is a product itself, it stays whole
    inside = _behind(gate)
    constants = 0
    others = []
    for factor in _factors(node, inside):
        if factor is gate:
            continue
        if _constant(factor) is not None:
            constants += 1
        others.append(factor)
    # x and the one half, whatever else would be another formula
    if len(others) != 2 or constants != 1:
        return False
    return any(factor in inside for factor in others)


def _gelu_gate(node: ir.Node) -> ir.Value | None:
    for factor in _factors(node, frozenset()):
        if _is_gelu_gate(factor):
            return factor
    return None


def _factors(node: ir.Node, whole: Set[ir.Value], depth: int = 2) -> Iterator[ir.Value]:
    """Yield the factors of a product of products; those in ``whole`` are not taken apart."""
    for value in node.inputs:
        if value is None:
            continue
        product = None
        if depth > 0 and value not in whole:
            product = _product_behind(value)
        if product is None:
            yield value
        else:
            yield from _factors(product, whole, depth - 1)


def _product_behind(value: ir.Value) -> ir.Node | None:
    producer = value.producer()
    if producer is None or producer.op_type not in _PRODUCTS:
        return None
    return producer


def _is_gelu_gate(value: ir.Value) -> bool:
    """Say whether a value is ``1 + erf(..)`` or ``1 + tanh(..)``."""
    producer = value.producer()
    if producer is None or producer.op_type != "Add":
        return False
    is_bent = False
    has_constant = False
    for term in producer.inputs:
        if term is None:
            continue
        source = term.producer()
        if source is not None and source.op_type in _BENDS:
            is_bent = True
        if _constant(term) is not None:
            has_constant = True
    return is_bent and has_constant


def _behind(gate: ir.Value) -> Set[ir.Value]:
    """Return the values that a GELU's gate is made of, up to its x and perhaps a little beyond."""
    found: set[ir.Value] = set()
    frontier = {gate}
    for _ in range(_LONGEST_GATE):
        reached: set[ir.Value] = set()
        for value in frontier:
            reached.update(_operands(value))
        frontier = reached - found
        found |= frontier
    return found


def _operands(value: ir.Value) -> list[ir.Value]:
    """What a value is computed from, where that is a step of a GELU."""
    producer = value.producer()
    if producer is None or producer.op_type not in _GELU_STEPS:
        return []
    return [operand for operand in producer.inputs if operand is not None]


def _constant(value: ir.Value) -> NDArray[Any] | None:
    """Return the single number that a value always is; None where it is not one."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1:
        return None
    return tensor.numpy()
