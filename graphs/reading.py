"""Models as graphs of onnx-ir, and back."""

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx_ir.serde import SerdeError

from ftonnx.errors import ModelError, message_of
from ftonnx.graphs.copies import copy_of

__all__ = ["from_ir", "to_ir"]


def to_ir(proto: onnx.ModelProto) -> ir.Model:
    """Return a model as onnx-ir has it; maps, of which it has no type, have none.

    Raises:
        ModelError: onnx-ir cannot read the model.
    """
    if any(_holds_map(value.type) for value in _values(proto)):
        proto = copy_of(proto)
        for value in _values(proto):
            if _holds_map(value.type):
                value.ClearField("type")
    try:
        return ir.from_proto(proto)
    except SerdeError as error:
        raise ModelError(f"the graph cannot be edited: {message_of(error)}") from error


def from_ir(model: ir.Model, original: onnx.ModelProto) -> onnx.ModelProto:
    """Return an edited model as a message; what is a map in the original gets its type back."""
    proto: onnx.ModelProto = ir.to_proto(model)
    kinds = {value.name: value.type for value in _values(original) if _holds_map(value.type)}
    for value in _values(proto):
        if value.name in kinds:
            value.type.CopyFrom(kinds[value.name])
    return proto


def _values(proto: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    yield from proto.graph.input
    yield from proto.graph.output
    yield from proto.graph.value_info


def _holds_map(kind: onnx.TypeProto) -> bool:
    """Say whether a value is a map, or a sequence of them as classifiers of scikit-learn give it."""
    if kind.HasField("map_type"):
        return True
    for field in ("sequence_type", "optional_type"):
        if kind.HasField(field):
            return _holds_map(getattr(kind, field).elem_type)
    return False
