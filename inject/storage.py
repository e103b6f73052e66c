"""What a model stores: every tensor that a fault could hit, and the values that lie elsewhere in the file."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from ftonnx.inject.bodies import all_bodies, initializers
from ftonnx.inject.reasons import INTEGER, SPARSE, attribute_of
from ftonnx.inject.tensors import ELEMENT_BITS, element_count, type_name

__all__ = ["Loose", "loose_values", "stored_by", "stored_tensors"]

_FLOAT_BITS: Final = ELEMENT_BITS[TensorProto.FLOAT]
_INT_BITS: Final = ELEMENT_BITS[TensorProto.INT64]


class Loose(NamedTuple):
    """Values that a file stores, but not as a tensor that a node reads by name.

    Attributes:
        name: of what they belong to.
        op_type: the operator whose attribute they are; empty for a sparse initializer.
        dtype: of an element.
        elements: their number.
        bits: that they take.
        reason: why they are in no fault space.
    """

    name: str
    op_type: str
    dtype: str
    elements: int
    bits: int
    reason: str


def stored_by(node: NodeProto) -> TensorProto | None:
    """Return the tensor of a Constant node; None for any other node, and where the constant is no tensor."""
    if node.op_type != "Constant":
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            tensor: TensorProto = attribute.t
            return tensor
    return None


def stored_tensors(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield the name and the tensor of every initializer and Constant node, in the order of storage.

    That is: the graph, its subgraphs, then the functions with theirs; in each the initializers first. A Constant's
    name is that of its output.
    """
    for body in all_bodies(model):
        for tensor in initializers(body):
            yield tensor.name, tensor
        for node in body.node:
            constant = stored_by(node)
            if constant is not None:
                yield node.output[0], constant


def loose_values(model: ModelProto) -> Iterator[Loose]:
    """Yield what else is stored: sparse initializers, lists and tensors in attributes.

    Lists of whole numbers count in Constant nodes only: elsewhere they are axes, pads and the like.
    """
    for body in all_bodies(model):
        if isinstance(body, GraphProto):
            for sparse in body.sparse_initializer:
                yield _tensor(sparse.values.name, "", sparse.values, SPARSE)
        for node in body.node:
            if stored_by(node) is None:
                yield from _of_attributes(node)


def _of_attributes(node: NodeProto) -> Iterator[Loose]:
    outputs = [name for name in node.output if name]
    # in a broken file names may be no text
    name = str(node.name or (outputs or [""])[0])
    operator = str(node.op_type)
    reason = attribute_of(operator)
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield _tensor(name, operator, attribute.t, reason)
        if attribute.HasField("sparse_tensor"):
            yield _tensor(name, operator, attribute.sparse_tensor.values, SPARSE)
        floats = len(attribute.floats)
        if floats:
            yield Loose(name, operator, "float32", floats, floats * _FLOAT_BITS, reason)
        whole = len(attribute.ints)
        if operator == "Constant" and whole:
            yield Loose(name, operator, "int64", whole, whole * _INT_BITS, INTEGER)


def _tensor(name: str, op_type: str, tensor: TensorProto, reason: str) -> Loose:
    count = element_count(tensor)
    bits = count * ELEMENT_BITS.get(tensor.data_type, 0)
    return Loose(name, op_type, type_name(tensor), count, bits, reason)
