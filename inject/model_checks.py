"""Checks of ONNX models that may be broken or hostile.

What onnx's checker and ONNX Runtime let through (negative sizes, lengths past the end of a file,
duplicate names, links, gigantic constants) is refused here first, with one line that says why.
"""

import math
import os
from pathlib import Path
from typing import Final

import onnx
from onnx import ModelProto, TensorProto, helper

from ftonnx.errors import ModelError, message_of
from ftonnx.graphs import check_valid, copy_without, standard_opset
from ftonnx.inject.bodies import Body, all_bodies, all_tensors, initializers
from ftonnx.inject.external import DataFiles, check_external
from ftonnx.inject.size_checks import MOST_AXES, check_sizes
from ftonnx.inject.tensors import ELEMENT_BITS, byte_count, element_count, is_external
from ftonnx.inject.texts import require_texts

__all__ = ["check_onnx", "validate"]

_MANY: Final = 2**63  # numbers of more are written as powers
_SMALLEST_ELEMENT: Final = 4  # bytes; ConstantOfShape makes float32 by default
_LARGE: Final = 2**16  # bytes
_PLAIN: Final = {"name", "data_type", "dims", "raw_data"}
_TWO_PARTS: Final = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)


def validate(proto: ModelProto, *, path: Path | None) -> None:
    """Refuse what onnx's checker and ONNX Runtime would let through.

    Args:
        proto: the model, its external tensors not loaded yet.
        path: of its file, as it was given; None for a model in memory.

    Raises:
        ModelError: the model is not one that can be run safely.
    """
    if not proto.graph.node and not proto.graph.output:
        raise ModelError("it holds no graph, so it is not an ONNX model")
    require_texts(proto)
    _check_versions(proto)
    check_sizes(proto)
    # before any other look at tensors: what they say of themselves may be false
    files = None if path is None else DataFiles(path)
    for tensor in all_tensors(proto):
        _check_tensor(tensor, files)
    for body in all_bodies(proto):
        _check_names(body)
        _check_shapes(body)


def check_onnx(proto: ModelProto) -> None:
    """Ask onnx's own checker; what a graph stores is in memory, or refers to files that were looked at.

    Raises:
        ModelError: it refuses the model.
    """
    try:
        check_valid(_without_weights(proto))
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise ModelError(f"onnx's checker refuses it: {message_of(error)}") from error


def _without_weights(proto: ModelProto) -> ModelProto:
    """Return a model in which inputs stand for what the checker would open a file for, or copy twice to find nothing.

    Those are the initializers in files, and the large ones of which nothing is left to be checked.
    """
    apart: dict[str, int] = {}
    for tensor in proto.graph.initializer:
        if is_external(tensor) or _is_large_and_plain(tensor):
            apart[tensor.name] = byte_count(tensor)
    if not apart:
        return proto
    copy = copy_without(proto, apart)
    kept = [tensor for tensor in copy.graph.initializer if tensor.name not in apart]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    listed = {value.name for value in copy.graph.input}
    for tensor in proto.graph.initializer:
        if tensor.name in apart and tensor.name not in listed:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            copy.graph.input.append(value)
    return copy


def _is_large_and_plain(tensor: TensorProto) -> bool:
    """Say whether a tensor is large and has nothing but a name, a type, a shape and its bytes, which were counted."""
    fields = {field.name for field, _ in tensor.ListFields()}
    return fields == _PLAIN and byte_count(tensor) >= _LARGE


def _check_versions(proto: ModelProto) -> None:
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(f"IR version {proto.ir_version} is newer than the installed onnx knows ({onnx.IR_VERSION})")
    if not proto.opset_import:
        raise ModelError("it imports no operator set (opset_import is empty); export the model again")
    standard = standard_opset(proto)
    newest = onnx.defs.onnx_opset_version()
    if standard > newest:
        raise ModelError(f"opset {standard} is newer than the installed onnx knows ({newest})")


def _check_names(body: Body) -> None:
    seen: set[str] = set()
    for tensor in initializers(body):
        name = tensor.name
        if name in seen:
            raise ModelError(f"initializer {name!r} is defined twice; which one a runtime takes is not defined")
        seen.add(name)


def _check_shapes(body: Body) -> None:
    """Refuse a ConstantOfShape that would not fit into this machine's memory."""
    constants = {tensor.name: tensor for tensor in initializers(body)}
    for node in body.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    # a broken one may have no output, or several
                    constants.update(dict.fromkeys(node.output, attribute.t))
    # a second pass, since the nodes need not be sorted yet
    for node in body.node:
        if node.op_type == "ConstantOfShape" and node.input:
            shape = constants.get(node.input[0])
            if shape is not None:
                _check_shape(node.name, shape)


def _check_shape(node: str, shape: TensorProto) -> None:
    if shape.data_type != TensorProto.INT64 or is_external(shape):
        return
    sizes = onnx.numpy_helper.to_array(shape)
    # as Python's whole numbers, which do not wrap
    elements = math.prod(sizes.ravel().tolist())
    page = os.sysconf("SC_PAGE_SIZE")
    memory = page * os.sysconf("SC_PHYS_PAGES")
    if elements * _SMALLEST_ELEMENT > memory:
        said = f"{elements:,}" if elements < _MANY else f"2^{elements.bit_length() - 1} or more"
        raise ModelError(f"node {node!r} makes a constant of {said} elements, more than this machine's memory")


def _check_tensor(tensor: TensorProto, files: DataFiles | None) -> None:
    if tensor.HasField("segment"):
        raise ModelError(f"tensor {tensor.name!r} is one segment of a larger one, which no runtime puts together")
    shape = list(tensor.dims)
    if any(size < 0 for size in shape):
        raise ModelError(f"tensor {tensor.name!r} has a negative size in its shape {shape}")
    if len(shape) > MOST_AXES:
        raise ModelError(f"tensor {tensor.name!r} has {len(shape)} axes, numpy knows up to {MOST_AXES}")
    # strings have no fixed size, and no weights are made of them
    if tensor.data_type == TensorProto.STRING and not is_external(tensor):
        return
    if tensor.data_type not in ELEMENT_BITS:
        raise ModelError(f"tensor {tensor.name!r} has the unknown element type {tensor.data_type}")
    if is_external(tensor):
        check_external(tensor, files)
    elif tensor.HasField("raw_data"):
        _check_raw_data(tensor)
    else:
        _check_typed_data(tensor)


def _check_raw_data(tensor: TensorProto) -> None:
    expected = byte_count(tensor)
    present = len(tensor.raw_data)
    if present != expected:
        raise ModelError(f"tensor {tensor.name!r} needs {expected} bytes but holds {present}")


def _check_typed_data(tensor: TensorProto) -> None:
    expected = _typed_count(tensor)
    field = helper.tensor_dtype_to_field(tensor.data_type)
    present = len(getattr(tensor, field))
    if present != expected:
        raise ModelError(f"tensor {tensor.name!r} needs {expected} values but holds {present}")


def _typed_count(tensor: TensorProto) -> int:
    """Return how many entries the typed field needs: complex has two, 4- and 2-bit types share one."""
    elements = element_count(tensor)
    if tensor.data_type in _TWO_PARTS:
        return 2 * elements
    bits = ELEMENT_BITS[tensor.data_type]
    per_entry = max(1, 8 // bits)
    # in whole numbers: a broken shape may be beyond a float's range
    return -(-elements // per_entry)
