"""Edits of a graph around its activations, and the proof that nothing else changed."""

from collections import Counter
from collections.abc import Sequence, Set
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.errors import ModelError, message_of
from ftonnx.export.clamp import CLAMP, ZERO_NAME, threshold_input, threshold_name
from ftonnx.export.crelu import CLIP_ABOVE, CRELU, DOMAIN, add_crelu_function
from ftonnx.export.finding import THRESHOLD_PLACE, Activation, upper_limit
from ftonnx.graphs import check_valid
from ftonnx.graphs.initializers import add_initializer
from ftonnx.graphs.ir_models import edited_proto

__all__ = ["clamp_node", "clip_node", "finished", "replace_node", "stored_threshold"]

_ONE_SIDED: Final = ("clipabove", "clampabove", "minabove")
"""Kinds behind an activation whose negative values stay."""


def clip_node(graph: ir.Graph, activation: Activation, node: ir.Node, threshold: NDArray[np.float32]) -> None:
    """Make, in place, what exceeds an activation's threshold 0.

    Raises:
        ModelError: the graph stores a tensor of its own under the threshold's name.
    """
    if activation.kind == "clip":
        stored = _new_threshold(graph, activation, node, threshold)
        _insert_before(graph, node, stored, f"{activation.name}/{CRELU}")
    elif activation.kind == "signed":
        stored = _new_threshold(graph, activation, node, threshold)
        behind = _named(CLIP_ABOVE, [node.outputs[0], stored], f"{activation.name}/{CLIP_ABOVE}", DOMAIN)
        _insert_behind(graph, node, behind)
    else:
        op_type = CLIP_ABOVE if activation.kind in _ONE_SIDED else CRELU
        data = node.inputs[0]
        stored = _new_threshold(graph, activation, node, threshold)
        clipped = ir.node(op_type, [data, stored], domain=DOMAIN, name=node.name)
        replace_node(graph, node, clipped)


def clamp_node(graph: ir.Graph, activation: Activation, node: ir.Node, threshold: NDArray[np.float32]) -> None:
    """Make, in place, what exceeds an activation's threshold the threshold.

    A Clip does so for one threshold, a Min behind the activation for one per channel or neuron.

    Raises:
        ModelError: the graph stores a tensor of its own under the threshold's name, or the upper limit that a Clip
            has already is computed.
    """
    if threshold.ndim:
        _clamp_by_min(graph, activation, node, threshold)
        return
    if activation.kind == "signed":
        stored = _new_threshold(graph, activation, node, threshold)
        behind = _named("Clip", [node.outputs[0], None, stored], f"{activation.name}/{CLAMP}")
        _insert_behind(graph, node, behind)
        return
    limit = threshold
    if activation.kind == "clip":
        # of two limits the lower one counts
        limit = np.minimum(threshold, upper_limit(node))
    low = None if activation.kind in _ONE_SIDED else _zero(graph)
    data = node.inputs[0]
    stored = _new_threshold(graph, activation, node, limit)
    clamped = ir.node("Clip", [data, low, stored], name=node.name)
    replace_node(graph, node, clamped)


def _clamp_by_min(graph: ir.Graph, activation: Activation, node: ir.Node, threshold: NDArray[np.float32]) -> None:
    stored = _new_threshold(graph, activation, node, threshold)
    if activation.kind in _ONE_SIDED:
        replace_node(graph, node, ir.node("Min", [node.inputs[0], stored], name=node.name))
        return
    if activation.kind in ("crelu", "clamp"):
        relu = ir.node("Relu", [node.inputs[0]], name=node.name)
        replace_node(graph, node, relu)
        node = relu
    behind = _named("Min", [node.outputs[0], stored], f"{activation.name}/{CLAMP}")
    _insert_behind(graph, node, behind)


def replace_node(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put a node in the place of another, in place; its outputs take over the names."""
    ir.convenience.replace_nodes_and_values(
        graph,
        old,
        [old],
        [new],
        old.outputs,
        new.outputs,
    )


def stored_threshold(graph: ir.Graph, name: str, array: NDArray[np.float32]) -> ir.Value:
    """Add, in place, a float32 initializer under exactly this name, by which it is found again.

    Raises:
        ModelError: the graph stores a tensor of its own under that name.
    """
    # not renamed: thresholds are read back by their names
    if name in graph.initializers:
        raise ModelError(f"the model stores a tensor {name!r} of its own, where the edit would put one; rename it")
    return add_initializer(graph, name, array)


def finished(model: ir.Model, original: onnx.ModelProto, *, changed: Set[str]) -> onnx.ModelProto:
    """Serialize an edited model, and check that it is valid and that only the activations changed.

    Args:
        model: after the edit.
        original: before it.
        changed: names of the outputs of the activations that were edited.

    Raises:
        ModelError: the edit made an invalid model, or changed something else.
    """
    proto = edited_proto(model, original)
    # after the nodes that call them: only those in use are defined
    add_crelu_function(proto)
    try:
        check_valid(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the edited model is not valid: {message_of(error)}") from error
    _require_same_initializers(original, proto)
    _require_same_nodes(original, proto, changed)
    return proto


def _new_threshold(graph: ir.Graph, activation: Activation, node: ir.Node, threshold: NDArray[np.float32]) -> ir.Value:
    """Store a threshold, which takes the place and the name of one that the activation had."""
    place = THRESHOLD_PLACE.get(activation.kind)
    if place is not None:
        _drop_threshold(graph, node, place)
    return stored_threshold(graph, threshold_name(activation.name), threshold)


def _zero(graph: ir.Graph) -> ir.Value:
    """Return the lower limit that all clamps share."""
    if ZERO_NAME in graph.initializers:
        return graph.initializers[ZERO_NAME]
    return stored_threshold(graph, ZERO_NAME, np.zeros((), np.float32))


def _insert_before(graph: ir.Graph, node: ir.Node, stored: ir.Value, name: str) -> None:
    data = node.inputs[0]
    before = _named(CRELU, [data, stored], name, DOMAIN)
    clipped = before.outputs[0]
    graph.insert_before(node, before)
    node.replace_input_with(0, clipped)


def _insert_behind(graph: ir.Graph, node: ir.Node, behind: ir.Node) -> None:
    """Insert a node that clips the output of ``node``; it takes over that name, so graph outputs keep theirs."""
    output = node.outputs[0]
    graph.insert_after(node, behind)
    clipped = behind.outputs[0]
    clipped.type = output.type
    clipped.shape = output.shape
    # a list, since redirecting a use takes it out of the collection
    for user, index in list(output.uses()):
        if user is not behind:
            user.replace_input_with(index, clipped)
    for index, value in enumerate(graph.outputs):
        if value is output:
            graph.outputs[index] = clipped
    name_outside = output.name
    output.name = f"{name_outside}/unclipped"
    clipped.name = name_outside


def _named(op_type: str, inputs: Sequence[ir.Value | None], name: str, domain: str = "") -> ir.Node:
    node = ir.node(
        op_type,
        inputs,
        domain=domain,
        name=name,
    )
    output = node.outputs[0]
    output.name = f"{name}/output"
    return node


def _drop_threshold(graph: ir.Graph, node: ir.Node, place: int) -> None:
    """Detach the threshold of a clipped activation, and drop the stored tensor where no other node uses it."""
    old = node.inputs[place]
    node.replace_input_with(place, None)
    if old is None or old.uses():
        return
    # None, where the threshold was the output of a Constant
    graph.initializers.pop(str(old.name), None)


def _require_same_initializers(original: onnx.ModelProto, edited: onnx.ModelProto) -> None:
    """Compare all stored tensors but the thresholds, which an edit is there to change."""
    thresholds = _threshold_names(original)
    kept = {}
    for tensor in edited.graph.initializer:
        kept[tensor.name] = _stored_bytes(tensor)
    for tensor in original.graph.initializer:
        if tensor.name in thresholds:
            continue
        if kept.get(tensor.name) != _stored_bytes(tensor):
            raise ModelError(f"the edit changed the stored tensor {tensor.name!r}")


def _threshold_names(proto: onnx.ModelProto) -> set[str]:
    names = {threshold_input(node) for node in proto.graph.node}
    return {name for name in names if name is not None}


def _stored_bytes(tensor: onnx.TensorProto) -> bytes | tuple[bytes, ...]:
    # an array of texts holds their addresses
    if tensor.data_type == onnx.TensorProto.STRING:
        return tuple(tensor.string_data)
    array = onnx.numpy_helper.to_array(tensor)
    return array.tobytes()


def _require_same_nodes(original: onnx.ModelProto, edited: onnx.ModelProto, changed: Set[str]) -> None:
    """Compare all nodes but those with an output in ``changed``."""
    # counted, since a graph may hold equal nodes; new nodes are no loss
    lost = _untouched(original, changed) - _untouched(edited, changed)
    if lost:
        first = next(iter(lost))
        raise ModelError(f"the edit changed a node that is no activation: {first[:2]}")


def _untouched(proto: onnx.ModelProto, changed: Set[str]) -> Counter[tuple[Any, ...]]:
    """Count the nodes that must be the same before and after: those with none of the ``changed`` outputs."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for node in proto.graph.node:
        if node.output[0] in changed:
            continue
        key = _essence(node)
        counts[key] += 1
    return counts


def _essence(node: onnx.NodeProto) -> tuple[Any, ...]:
    """What makes a node what it is, as a value that can be compared and counted."""
    # first, so that a message can show it
    kind = (
        node.op_type,
        node.name,
        node.domain,
        node.overload,
    )
    # optional inputs at the end may be left out or empty
    inputs = ",".join(node.input)
    given = inputs.rstrip(",")
    attributes = []
    # their order means nothing
    for attribute in sorted(node.attribute, key=lambda each: each.name):
        attributes.append((attribute.name, _content(attribute)))
    return kind, given, tuple(node.output), tuple(attributes)


def _content(attribute: onnx.AttributeProto) -> Any:
    """What an attribute holds: a tensor may be written in several ways, and what is known of types may change."""
    if attribute.HasField("t"):
        return attribute.t.data_type, tuple(attribute.t.dims), _stored_bytes(attribute.t)
    if attribute.HasField("g"):
        return _essence_of_graph(attribute.g)
    if attribute.graphs:
        return tuple(_essence_of_graph(graph) for graph in attribute.graphs)
    return attribute.SerializeToString(deterministic=True)


def _essence_of_graph(graph: onnx.GraphProto) -> tuple[Any, ...]:
    """What makes a branch or the body of a loop what it is."""
    inputs = tuple(value.name for value in graph.input)
    outputs = tuple(value.name for value in graph.output)
    stored = {tensor.name: _stored_bytes(tensor) for tensor in graph.initializer}
    in_order = tuple(sorted(stored.items()))
    nodes = tuple(_essence(node) for node in graph.node)
    return inputs, outputs, in_order, nodes
