"""Models as onnx-ir edits them, and back: what it does not know passes by it unharmed."""

from collections.abc import Iterator

import onnx_ir as ir
from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto
from onnx_ir.serde import SerdeError

from ftonnx.errors import ModelError, message_of
from ftonnx.graphs.copies import copy_of
from ftonnx.graphs.stored_inputs import FREE_INITIALIZERS, forget_stored_inputs

__all__ = ["edited_proto", "to_ir"]


def to_ir(proto: ModelProto) -> ir.Model:
    """Return a model for an edit; ``edited_proto`` turns it back.

    Stored tensors that files of IR version 3 list as inputs are none here: a new one would have to be listed too.

    Raises:
        ModelError: onnx-ir cannot read the model.
    """
    is_old = proto.ir_version < FREE_INITIALIZERS
    lists_maps = any(_holds_map(value.type) for value in _declarations(proto.graph))
    if not is_old and not lists_maps and not proto.graph.sparse_initializer:
        return _read(proto)
    known = copy_of(proto)
    if is_old:
        forget_stored_inputs(known)
    for value in _declarations(known.graph):
        # onnx-ir knows no maps, and does without types
        if _holds_map(value.type):
            value.ClearField("type")
    # nor sparse tensors, which are inputs for as long as it looks
    for name in _sparse_names(known):
        known.graph.input.add(name=name)
    return _read(known)


def _read(proto: ModelProto) -> ir.Model:
    try:
        return ir.from_proto(proto)
    except SerdeError as error:
        raise ModelError(f"the graph cannot be edited: {message_of(error)}") from error


def edited_proto(model: ir.Model, original: ModelProto) -> ModelProto:
    """Return an edited model, with what onnx-ir does not know of the model that it was made of."""
    proto: ModelProto = ir.to_proto(model)
    maps = {}
    for value in _declarations(original.graph):
        if _holds_map(value.type):
            maps[value.name] = value.type
    for value in _declarations(proto.graph):
        if value.name in maps:
            value.type.CopyFrom(maps[value.name])
    sparse = _sparse_names(original)
    for value in list(proto.graph.input):
        if value.name in sparse:
            proto.graph.input.remove(value)
    proto.graph.sparse_initializer.extend(original.graph.sparse_initializer)
    return proto


def _sparse_names(model: ModelProto) -> set[str]:
    return {sparse.values.name for sparse in model.graph.sparse_initializer}


def _declarations(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info


def _holds_map(kind: TypeProto) -> bool:
    """Say whether a type is a map, or a sequence of maps (ZipMap)."""
    if kind.HasField("map_type"):
        return True
    for field in ("sequence_type", "optional_type"):
        if kind.HasField(field):
            return _holds_map(getattr(kind, field).elem_type)
    return False
