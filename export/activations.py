"""Finding the activations of any ONNX graph, and putting clipped ones in their place.

A transform returns a new model with a record of what changed; the input is never touched. After an
edit, everything else is compared with the original.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError, message_of
from ftonnx.export.crelu import CLIP_ABOVE, CRELU, DOMAIN, add_crelu_function

__all__ = [
    "Activation",
    "clip_activations",
    "feeding_tensors",
    "find_activations",
    "read_thresholds",
    "thresholds_as_inputs",
    "with_activation",
    "with_outputs",
]

Kind = Literal["relu", "clip", "crelu", "signed", "clipabove"]

_SIGNED_OPS: Final = {
    "LeakyRelu", "PRelu", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "HardSwish", "Swish",
    "Elu", "Celu", "Selu", "Mish",
}  # fmt: skip
_CLIPPED: Final = ("crelu", "clipabove")
_GATES: Final = {"Sigmoid", "HardSigmoid"}
_GELU_STEPS: Final = {"Erf", "Tanh", "Mul", "Div", "Add", "Pow"}
_RELU6: Final = np.float32(6)


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation of a graph.

    Attributes:
        name: the node's name, or its output's where it has none.
        kind: ``relu``; ``clip`` (a Clip from 0 up, such as ReLU6); ``crelu`` and ``clipabove`` (already
            clipped); ``signed`` (GELU, SiLU, HardSwish, LeakyRelu, ...: negative values belong to it).
        observed: name of the tensor that a threshold is compared with: the output, or where the node
            itself limits its output (``clip``, ``crelu``, ``clipabove``) its input.
        output: name of the activation's output tensor.
    """

    name: str
    kind: Kind
    observed: str
    output: str


def find_activations(proto: onnx.ModelProto) -> tuple[Activation, ...]:
    """Return the activations of the main graph, in graph order."""
    return tuple(activation for activation, _ in _nodes(ir.from_proto(proto).graph))


def clip_activations(
    proto: onnx.ModelProto, thresholds: Mapping[str, NDArray[np.float32]]
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Clip activations at their thresholds.

    Relu and CReLU become ``CReLU(X, T)``. Before a Clip from 0 up, a CReLU is inserted, and behind a signed
    activation a ``ClipAbove(Y, T)``, so nothing changes for values up to T.

    Args:
        proto: a model with float32 activations.
        thresholds: per activation name, T: a scalar, or one value per channel, shaped to broadcast.

    Returns:
        The new model, and the names of the activations that changed.

    Raises:
        ModelError: a name is no activation of the model, or the result is not valid.
    """
    model = ir.from_proto(proto)
    found = {activation.name: (activation, node) for activation, node in _nodes(model.graph)}
    unknown = [name for name in thresholds if name not in found]
    if unknown:
        raise ModelError(f"the model has no activation {unknown[0]!r}; are the thresholds of another model?")
    for name, threshold in thresholds.items():
        activation, node = found[name]
        _clip(model.graph, activation, node, np.asarray(threshold, np.float32))
    return _finished(model, proto, changed={found[name][0].output for name in thresholds}), tuple(thresholds)


def with_activation(proto: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """Replace every Relu by another activation.

    Args:
        proto: the model.
        kind: ``relu`` (no change), ``relu6`` (clamp at 6; paper, equation 5), or ``crelu`` with
            thresholds of +Inf, which changes no value.

    Raises:
        ModelError: the model has no Relu.
        UsageError: an unknown kind.
    """
    relus = {a.name: a.output for a in find_activations(proto) if a.kind == "relu"}
    if kind not in ("relu", "relu6", "crelu"):
        raise UsageError(f"activation {kind!r} is not known: use relu, relu6 or crelu")
    if not relus:
        raise ModelError("the model has no Relu to replace")
    if kind == "crelu":
        return clip_activations(proto, dict.fromkeys(relus, np.full((), np.inf, np.float32)))[0]
    return _with_relu6(proto, set(relus.values())) if kind == "relu6" else _copy(proto)


def read_thresholds(proto: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Return the thresholds that a model's clipped activations hold, by activation name."""
    clipped = [(each.name, node) for each, node in _nodes(ir.from_proto(proto).graph) if each.kind in _CLIPPED]
    found = {name: ir.convenience.get_const_tensor(value) for name, node in clipped if (value := node.inputs[1])}
    return {name: tensor.numpy() for name, tensor in found.items() if tensor is not None}


def thresholds_as_inputs(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, NDArray[np.float32]]]:
    """Turn the thresholds of clipped activations into inputs, so that a session can vary them.

    Returns:
        The new model, and per new input the threshold it had.
    """
    model = _copy(proto)
    clipped = [n for n in model.graph.node if n.domain == DOMAIN and n.op_type in (CRELU, CLIP_ABOVE)]
    names = {node.input[1] for node in clipped}
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in names}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in values]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name, value in values.items():
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape)
        model.graph.input.append(info)
    return model, values


def feeding_tensors(proto: onnx.ModelProto, activation: Activation) -> frozenset[str]:
    """Return the names of the stored tensors between an activation and the ones before it."""
    found = list(_nodes(ir.from_proto(proto).graph))
    node = next(node for each, node in found if each.name == activation.name)
    ends = {id(other) for _, other in found if other is not node}
    names: set[str] = set()
    waiting, seen = [node], {id(node)}
    while waiting:
        for value in waiting.pop().inputs:
            producer = value.producer() if value is not None else None
            if value is not None and value.is_initializer():
                names.add(str(value.name))
            elif producer is not None and id(producer) not in seen | ends:
                seen.add(id(producer))
                waiting.append(producer)
                names |= {str(output.name) for output in producer.outputs if producer.op_type == "Constant"}
    return frozenset(names)


def with_outputs(proto: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a copy whose last outputs are the given float tensors, in the given order."""
    copy = _copy(proto)
    for name in tensors:
        copy.graph.node.add(op_type="Identity", input=[name], output=[f"{name}/observed"])
        info = onnx.helper.make_tensor_value_info(f"{name}/observed", onnx.TensorProto.FLOAT, None)
        copy.graph.output.append(info)
    return copy


def _nodes(graph: ir.Graph) -> Iterator[tuple[Activation, ir.Node]]:
    for node in graph:
        kind = _kind(node)
        if kind is not None:
            observed = node.outputs[0] if kind in ("relu", "signed") else node.inputs[0]
            output = str(node.outputs[0].name)
            yield Activation(node.name or output, kind, str(observed and observed.name), output), node


def _kind(node: ir.Node) -> Kind | None:
    if node.domain == DOMAIN:
        return {CRELU: "crelu", CLIP_ABOVE: "clipabove"}.get(node.op_type)  # type: ignore[return-value]
    if node.op_type == "Relu":
        return "relu"
    if node.op_type == "Clip":
        return "clip" if _clips_from_zero(node) else None
    if node.op_type in _SIGNED_OPS or (node.op_type == "Mul" and _is_gated(node)) or _is_gelu(node):
        return "signed"
    return None


def _clips_from_zero(node: ir.Node) -> bool:
    """Say whether a Clip is a ReLU with an upper limit: its lower limit is the constant 0.0."""
    low = node.inputs[1] if len(node.inputs) > 1 else None
    if low is None:
        return node.attributes.get_float("min", np.nan) == 0.0
    array = _constant(low)
    return array is not None and array.dtype == np.float32 and array.item() == 0.0


def _is_gated(node: ir.Node) -> bool:
    """Say whether a Mul is ``x * gate(x)`` (SiLU, HardSwish)."""
    for value, other in zip(node.inputs, reversed(node.inputs), strict=True):
        producer = value and value.producer()
        if producer and producer.op_type in _GATES and producer.inputs[0] is other:
            return True
    return False


def _is_gelu(node: ir.Node) -> bool:
    """Say whether a node ends ``x * 0.5 * (1 + erf(..x..))``, or that with tanh, its factors in any order."""
    product = node.op_type in ("Mul", "Div")
    gate = next((value for value in _factors(node, frozenset()) if _is_gelu_gate(value)), None) if product else None
    if gate is None:
        return False
    inside = _behind(gate)
    factors = [value for value in _factors(node, inside) if value is not gate]
    constants = [value for value in factors if _constant(value) is not None]
    return len(factors) == 2 and len(constants) == 1 and any(value in inside for value in factors)


def _factors(node: ir.Node, whole: Set[ir.Value], depth: int = 2) -> Iterator[ir.Value]:
    """Yield the factors of a product of products; those in ``whole`` are not taken apart."""
    for value in filter(None, node.inputs):
        producer = value.producer()
        if depth and producer is not None and producer.op_type in ("Mul", "Div") and value not in whole:
            yield from _factors(producer, whole, depth - 1)
        else:
            yield value


def _is_gelu_gate(value: ir.Value) -> bool:
    """Say whether a value is ``1 + erf(..)`` or ``1 + tanh(..)``."""
    producer = value.producer()
    if producer is None or producer.op_type != "Add":
        return False
    sources = [source and source.producer() for source in producer.inputs]
    bent = any(source and source.op_type in ("Erf", "Tanh") for source in sources)
    return bent and any(source is not None and _constant(source) is not None for source in producer.inputs)


def _behind(gate: ir.Value, steps: int = 7) -> Set[ir.Value]:
    """Return the values that a GELU's gate is made of, up to its x and perhaps a little beyond."""
    found, frontier = set[ir.Value](), {gate}
    for _ in range(steps):
        producers = [producer for value in frontier if (producer := value.producer()) is not None]
        frontier = {v for p in producers if p.op_type in _GELU_STEPS for v in p.inputs if v is not None} - found
        found |= frontier
    return found


def _constant(value: ir.Value) -> NDArray[Any] | None:
    """Return the single number that a value always is; None where it is not one."""
    tensor = ir.convenience.get_const_tensor(value)
    return tensor.numpy() if tensor is not None and tensor.size == 1 else None


def _clip(graph: ir.Graph, activation: Activation, node: ir.Node, threshold: NDArray[np.float32]) -> None:
    if activation.kind in _CLIPPED:
        _drop_threshold(graph, node)
    stored = _initializer(graph, f"{activation.name}.threshold", threshold)
    if activation.kind in _CLIPPED:
        node.replace_input_with(1, stored)
    elif activation.kind == "relu":
        _replace(graph, node, ir.node(CRELU, [node.inputs[0], stored], domain=DOMAIN, name=node.name))
    elif activation.kind == "clip":
        before = _named(CRELU, node.inputs[0], stored, f"{activation.name}/{CRELU}")
        graph.insert_before(node, before)
        node.replace_input_with(0, before.outputs[0])
    else:
        _append(graph, node, stored, f"{activation.name}/{CLIP_ABOVE}")


def _append(graph: ir.Graph, node: ir.Node, stored: ir.Value, name: str) -> None:
    """Insert a ClipAbove behind ``node``; it takes over the output's name, so graph outputs keep theirs."""
    output = node.outputs[0]
    behind = _named(CLIP_ABOVE, output, stored, name)
    graph.insert_after(node, behind)
    clipped = behind.outputs[0]
    clipped.type, clipped.shape = output.type, output.shape
    for user, index in list(output.uses()):
        if user is not behind:
            user.replace_input_with(index, clipped)
    for index, value in enumerate(graph.outputs):
        if value is output:
            graph.outputs[index] = clipped
    output.name, clipped.name = f"{output.name}/unclipped", output.name


def _named(op_type: str, data: ir.Value | None, threshold: ir.Value, name: str) -> ir.Node:
    node = ir.node(op_type, [data, threshold], domain=DOMAIN, name=name)
    node.outputs[0].name = f"{name}/output"
    return node


def _replace(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    ir.convenience.replace_nodes_and_values(graph, old, [old], [new], old.outputs, new.outputs)


def _drop_threshold(graph: ir.Graph, node: ir.Node) -> None:
    """Detach the threshold of a clipped activation, and drop the stored tensor where no other node uses it."""
    old = node.inputs[1]
    node.replace_input_with(1, None)
    if old is not None and not old.uses():
        graph.initializers.pop(str(old.name), None)


def _initializer(graph: ir.Graph, name: str, array: NDArray[np.float32]) -> ir.Value:
    if name in graph.initializers:
        raise ModelError(f"the model stores a tensor {name!r} of its own, where the edit would put one; rename it")
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def _with_relu6(proto: onnx.ModelProto, outputs: set[str]) -> onnx.ModelProto:
    model = ir.from_proto(proto)
    low = _initializer(model.graph, "ftonnx/relu6.min", np.zeros((), np.float32))
    high = _initializer(model.graph, "ftonnx/relu6.max", np.asarray(_RELU6))
    for activation, node in list(_nodes(model.graph)):
        if activation.output in outputs:
            _replace(model.graph, node, ir.node("Clip", [node.inputs[0], low, high], name=node.name))
    return _finished(model, proto, changed=outputs)


def _finished(model: ir.Model, original: onnx.ModelProto, *, changed: set[str]) -> onnx.ModelProto:
    """Serialize an edited model, and check that it is valid and that only the activations changed."""
    proto: onnx.ModelProto = ir.to_proto(model)
    add_crelu_function(proto)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the edited model is not valid: {message_of(error)}") from error
    _require_same_initializers(original, proto)
    lost = _untouched(original, changed) - _untouched(proto, changed)
    if lost:
        raise ModelError(f"the edit changed a node that is no activation: {next(iter(lost))[:2]}")
    return proto


def _require_same_initializers(original: onnx.ModelProto, edited: onnx.ModelProto) -> None:
    """Compare all stored tensors but the thresholds, which an edit is there to change."""
    thresholds = {node.input[1] for node in original.graph.node if node.domain == DOMAIN and len(node.input) > 1}
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor).tobytes() for tensor in edited.graph.initializer}
    for tensor in original.graph.initializer:
        same = kept.get(tensor.name) == onnx.numpy_helper.to_array(tensor).tobytes()
        if not same and tensor.name not in thresholds:
            raise ModelError(f"the edit changed the stored tensor {tensor.name!r}")


def _untouched(proto: onnx.ModelProto, changed: Set[str]) -> Counter[tuple[Any, ...]]:
    """Count the nodes that must be the same before and after: those with none of the ``changed`` outputs."""
    return Counter(
        (
            (node.op_type, node.name, node.domain, node.overload),
            ",".join(node.input).rstrip(","),  # optional inputs at the end may be left out or empty
            tuple(node.output),
            tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute)),
        )
        for node in proto.graph.node
        if node.output[0] not in changed
    )


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy
