"""Which computed tensors hold bits that can flip: those that exist in memory while a model runs.

The rule, by the graph alone, so that it is the same on every machine: what a node of the main graph computes from the
model's input is an activation, but for what a runtime does not write to memory.

- A tensor with one reader that works element by element (an activation function, a bias or a residual sum, a batch
  normalization, a quantizer) is fused into it: the tensor behind is the one that exists.
- What only moves values (reshapes, transposes, slices, concatenations), or a DequantizeLinear, shows values that
  are in memory already.
- Shapes, indices, conditions and other whole numbers of 32 and 64 bits control the run; they are no activations.
- What no output depends on is not computed: runtimes leave it out.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from ftonnx.errors import UsageError
from ftonnx.graphs import count_readers, subgraphs, used_by
from ftonnx.inject.activation_shapes import TensorShapes
from ftonnx.inject.formats import parse_format
from ftonnx.inject.left_out import LeftOut
from ftonnx.inject.reasons import FUSED, INNER, INTEGER, KIND, MOVED, NOT_PER_IMAGE, QUANTIZED, SHAPELESS, UNUSED
from ftonnx.inject.roles import ACTIVATION, LOOKUPS, MOVES, SHAPES, VIEWS
from ftonnx.inject.target import Target
from ftonnx.inject.tensors import ELEMENT_BITS

__all__ = [
    "BATCH", "IMAGE", "SCOPES", "Activation", "Computed", "activation_target", "computed",
    "left_activation",
]  # fmt: skip

IMAGE: Final = "image"
BATCH: Final = "batch"
SCOPES: Final = (IMAGE, BATCH)
"""Whose bits N counts: those of one image's inference, or of a run of several images."""

_CODES: Final = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16)
_KINDS: Final = (TensorProto.FLOAT, *_CODES)
"""Element types that a run can flip."""

_CONTROLS: Final = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT64, TensorProto.UINT32, TensorProto.BOOL)

_ELEMENTWISE: Final = frozenset(
    {
        "Abs", "Add", "BatchNormalization", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid",
        "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu",
        "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
"""Operators that runtimes fuse behind what they read."""

_IDENTITIES: Final = frozenset({"Identity", "Dropout"})
"""Operators that runtimes take out. A Dropout that drops is refused before a model is run."""

_HANDS_ON: Final = frozenset(
    {"Dropout", "CenterCropPad", "Compress", "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceInsert"}
)
"""Operators that only move what is computed, besides those that hand on stored tensors."""


class Activation(NamedTuple):
    """A computed tensor whose bits can flip.

    Attributes:
        name: of the tensor.
        role: ``activation``.
        node: name of the node that makes it.
        op_type: that node's operator.
        kind: element type, one of ``TensorProto``'s.
        shape: in a run, or of one image.
    """

    name: str
    role: str
    node: str
    op_type: str
    kind: int
    shape: tuple[int, ...]


class Computed(NamedTuple):
    """What the nodes of a model compute.

    Attributes:
        activations: what can flip, in graph order.
        left_out: what cannot, with the reason.
        images: of a run.
    """

    activations: list[Activation]
    left_out: list[LeftOut]
    images: int


def computed(model: ModelProto, images: int, per: str) -> Computed:
    """Find the activations of a model.

    Args:
        model: it.
        images: of a run, where the model does not insist on another number.
        per: ``image`` leaves out tensors whose first axis does not count the images.

    Raises:
        UsageError: there is no such scope.
    """
    if per not in SCOPES:
        raise UsageError(f"`activations_per`: {' or '.join(SCOPES)} was expected, got {per!r}")
    shapes = TensorShapes.of(model, images)
    found = []
    rest = []
    for node, name, reason in _computed(model.graph):
        # as among stored tensors, one without elements is not worth a word
        if 0 in (shapes.shape_of(name) or ()):
            continue
        is_control = shapes.type_of(name) in _CONTROLS
        found_unfit = INTEGER if is_control else reason or _unfit(name, shapes, per)
        if found_unfit is None:
            found.append(_activation(node, name, shapes, per))
        else:
            rest.append(_left(node, name, found_unfit, shapes, per))
    return Computed(found, rest, shapes.images)


def activation_target(site: Activation, format_name: str) -> Target:
    """Return the target that an activation is.

    Args:
        site: it.
        format_name: how floats are seen.

    Raises:
        UsageError: there is no such format.
    """
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(site.kind))
    return Target(
        tensor=site.name,
        role=ACTIVATION,
        node=site.node,
        op_type=site.op_type,
        shape=site.shape,
        format=parse_format(format_name, dtype),
    )


def _computed(graph: GraphProto) -> Iterator[tuple[NodeProto, str, str | None]]:
    """Yield what is computed from the model's input: the node, the tensor, and why it is not in memory, if so."""
    stored = {tensor.name for tensor in graph.initializer}
    known = {value.name for value in graph.input} - stored
    used = _used(graph)
    readers = count_readers(graph)
    reader_of: dict[str, NodeProto] = {}
    for node in graph.node:
        for name in node.input:
            reader_of[name] = node
    for node in graph.node:
        is_computed = any(name in known for name in used_by(node))
        if not is_computed or node.op_type in SHAPES:
            continue
        for name in filter(None, node.output):
            only_reader = _only_reader(name, readers, reader_of)
            yield node, name, _absent(node, known, only_reader) if name in used else UNUSED
        known.update(node.output)
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                yield from _inner(inner)


def _used(graph: GraphProto) -> set[str]:
    """Return the names of what outputs depend on."""
    used = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if not used.isdisjoint(node.output):
            used.update(used_by(node))
    return used


def _inner(graph: GraphProto) -> Iterator[tuple[NodeProto, str, str | None]]:
    for node in graph.node:
        for name in filter(None, node.output):
            yield node, name, INNER


def _only_reader(name: str, readers: Mapping[str, int], reader_of: Mapping[str, NodeProto]) -> NodeProto | None:
    """Return the node that alone reads a tensor, behind nodes that runtimes take out; None where it has no such one."""
    while readers[name] == 1 and name in reader_of:
        node = reader_of[name]
        if node.op_type not in _IDENTITIES:
            return node
        name = node.output[0]
    return None


def _absent(node: NodeProto, known: set[str], only_reader: NodeProto | None) -> str | None:
    """Return why an output of a node is not in memory beside what it is made of; None where it is.

    Args:
        node: it.
        known: names of what is computed.
        only_reader: the node that alone reads the output, if one does.
    """
    operator = node.op_type
    if operator == "DequantizeLinear":
        return QUANTIZED
    # rows that are looked up in a stored table are the first that a run holds
    is_lookup = operator in LOOKUPS and node.input[0] in known
    is_view = operator in VIEWS and not _makes_codes(node)
    if is_lookup or is_view or operator in MOVES or operator in _HANDS_ON or operator == "Concat":
        return MOVED
    if only_reader is not None and (only_reader.op_type in _ELEMENTWISE or _makes_codes(only_reader)):
        return FUSED
    return None


def _makes_codes(node: NodeProto) -> bool:
    """Say whether a node quantizes what it reads: integers of few bits are what is in memory then."""
    if node.op_type == "QuantizeLinear":
        return True
    return node.op_type == "Cast" and any(each.name == "to" and each.i in _CODES for each in node.attribute)


def _unfit(name: str, shapes: TensorShapes, per: str) -> str | None:
    """Return why a tensor that is in memory cannot flip; None where it can."""
    kind = shapes.type_of(name)
    if kind is None:
        return SHAPELESS
    if kind not in _KINDS:
        return KIND
    if shapes.shape_of(name) is None:
        return SHAPELESS
    if per == IMAGE and shapes.image_shape_of(name) is None:
        return NOT_PER_IMAGE
    return None


def _activation(node: NodeProto, name: str, shapes: TensorShapes, per: str) -> Activation:
    shape = shapes.image_shape_of(name) if per == IMAGE else shapes.shape_of(name)
    return Activation(
        name=name,
        role=ACTIVATION,
        node=node.name,
        op_type=node.op_type,
        kind=shapes.type_of(name) or TensorProto.UNDEFINED,
        shape=shape or (),
    )


def _left(node: NodeProto, name: str, reason: str, shapes: TensorShapes, per: str) -> LeftOut:
    kind = shapes.type_of(name) or TensorProto.UNDEFINED
    shape = shapes.image_shape_of(name) if per == IMAGE else None
    if shape is None:
        shape = shapes.shape_of(name)
    if shape is None:
        # nobody knows how many elements it has
        shape = (0,)
    return left_activation(Activation(name, ACTIVATION, node.name, node.op_type, kind, shape), reason)


def left_activation(site: Activation, reason: str) -> LeftOut:
    """Say of a computed tensor why it cannot flip."""
    elements = math.prod(site.shape)
    is_known = site.kind != TensorProto.UNDEFINED
    return LeftOut(
        tensor=site.name,
        shape=site.shape,
        dtype=helper.tensor_dtype_to_np_dtype(site.kind).name if is_known else "unknown",
        elements=elements,
        bits=elements * ELEMENT_BITS.get(site.kind, 0),
        reason=reason,
        node=site.node,
        op_type=site.op_type,
    )
