"""Clipped activations in the place of those of any ONNX graph, and their thresholds.

A transform returns a new model with a record of what changed; the input is never touched. After an
edit, everything else is compared with the original.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError
from ftonnx.export.clamp import check_on_exceed, threshold_input
from ftonnx.export.edits import clamp_node, clip_node, finished, replace_node, stored_threshold
from ftonnx.export.finding import THRESHOLD_PLACE, activation_nodes, find_activations
from ftonnx.graphs import copy_of, standard_opset
from ftonnx.graphs.ir_models import to_ir

__all__ = [
    "clip_activations",
    "read_thresholds",
    "thresholds_as_inputs",
    "with_activation",
    "with_outputs",
]

_RELU6: Final = np.float32(6)
_LIMITS_ARE_INPUTS: Final = 11
"""Opset since which a Clip's limits are inputs; they were attributes before."""


def clip_activations(
    proto: onnx.ModelProto, thresholds: Mapping[str, NDArray[np.float32]], *, on_exceed: str = "zero"
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Clip activations at their thresholds.

    With ``zero``, Relu and CReLU become ``CReLU(X, T)``. Before a Clip from 0 up, a CReLU is inserted, and behind a
    signed activation a ``ClipAbove(Y, T)``. With ``clamp``, Relu, CReLU and Clip become ``Clip(X, 0, T)``, and behind a
    signed activation a ``Clip(Y, , T)`` is inserted; where T is no scalar, a ``Min(Y, T)`` behind any of them. So
    nothing changes for values up to T.

    Args:
        proto: a model with float32 activations.
        thresholds: per activation name, T: a scalar, or one value per channel or neuron, shaped to broadcast.
        on_exceed: what a value above T becomes: ``zero``, or T (``clamp``).

    Returns:
        The new model, and the names of the activations that changed.

    Raises:
        ModelError: a name is no activation of the model, or the result is not valid.
        UsageError: ``on_exceed`` is not known.
    """
    check_on_exceed(on_exceed)
    if on_exceed == "clamp":
        _require_clip(proto)
    model = to_ir(proto)
    # all are found before the first is changed: a new CReLU is an activation too
    found = {}
    for activation, node in activation_nodes(model.graph):
        found[activation.name] = (activation, node)
    for name in thresholds:
        if name not in found:
            raise ModelError(f"the model has no activation {name!r}; are the thresholds of another model?")
    changed = set()
    for name, threshold in thresholds.items():
        activation, node = found[name]
        array = np.asarray(threshold, np.float32)
        edit = clamp_node if on_exceed == "clamp" else clip_node
        edit(model.graph, activation, node, array)
        changed.add(activation.output)
    clipped = finished(model, proto, changed=changed)
    return clipped, tuple(thresholds)


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
    # before the search, which takes long in a large model
    if kind not in ("relu", "relu6", "crelu"):
        raise UsageError(f"activation {kind!r} is not known: use relu, relu6 or crelu")
    # the others limit themselves, or are negative by design
    relus = [each for each in find_activations(proto) if each.kind == "relu"]
    if not relus:
        raise ModelError("the model has no Relu to replace")
    if kind == "relu6":
        outputs = {relu.output for relu in relus}
        return _with_relu6(proto, outputs)
    if kind == "crelu":
        unlimited = np.full((), np.inf, np.float32)
        thresholds = {relu.name: unlimited for relu in relus}
        clipped, _ = clip_activations(proto, thresholds)
        return clipped
    return copy_of(proto)


def read_thresholds(proto: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Return the thresholds that a model's clipped activations hold, by activation name."""
    model = to_ir(proto)
    thresholds = {}
    for activation, node in activation_nodes(model.graph):
        place = THRESHOLD_PLACE.get(activation.kind)
        if place is None:
            continue
        value = node.inputs[place]
        if value is None:
            continue
        tensor = ir.convenience.get_const_tensor(value)
        # None where the threshold is an input or computed
        if tensor is not None:
            thresholds[activation.name] = tensor.numpy()
    return thresholds


def thresholds_as_inputs(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, NDArray[np.float32]]]:
    """Turn the thresholds of clipped activations into inputs, so that a session can vary them.

    Returns:
        The new model, and per new input the threshold it had.
    """
    model = copy_of(proto)
    graph = model.graph
    names = {threshold_input(node) for node in graph.node}
    values = {}
    kept = []
    for tensor in graph.initializer:
        if tensor.name in names:
            values[tensor.name] = onnx.numpy_helper.to_array(tensor)
        else:
            kept.append(tensor)
    # a repeated field of protobuf can only be emptied and filled
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for name, value in values.items():
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, value.shape)
        graph.input.append(info)
    return model, values


def with_outputs(proto: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a copy whose last outputs are the given float tensors, in the given order."""
    copy = copy_of(proto)
    graph = copy.graph
    for name in tensors:
        # behind an Identity, since a tensor may be an output already
        observed = f"{name}/observed"
        graph.node.add(op_type="Identity", input=[name], output=[observed])
        info = onnx.helper.make_tensor_value_info(observed, onnx.TensorProto.FLOAT, None)
        graph.output.append(info)
    return copy


def _require_clip(proto: onnx.ModelProto) -> None:
    """Refuse old operator sets, in which a Clip has no inputs for its limits."""
    opset = standard_opset(proto)
    if opset < _LIMITS_ARE_INPUTS:
        expected = f"opset {_LIMITS_ARE_INPUTS} or newer was expected"
        raise ModelError(f"{expected}, got {opset}; use onnx.version_converter first")


def _with_relu6(proto: onnx.ModelProto, outputs: Set[str]) -> onnx.ModelProto:
    model = to_ir(proto)
    graph = model.graph
    limits: list[ir.Value] = []
    attributes: dict[str, float] = {}
    if standard_opset(proto) < _LIMITS_ARE_INPUTS:
        attributes = {"min": 0.0, "max": float(_RELU6)}
    else:
        zero = np.zeros((), np.float32)
        six = np.asarray(_RELU6)
        limits.append(stored_threshold(graph, "ftonnx/relu6.min", zero))
        limits.append(stored_threshold(graph, "ftonnx/relu6.max", six))
    # a list, since the graph changes under the search
    for activation, node in list(activation_nodes(graph)):
        if activation.output in outputs:
            data = node.inputs[0]
            clip = ir.node("Clip", [data, *limits], attributes, name=node.name)
            replace_node(graph, node, clip)
    return finished(model, proto, changed=outputs)
