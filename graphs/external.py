"""Stored tensors whose bytes a graph does not carry, because whoever opens a session gives them."""

from collections.abc import Collection, Mapping
from typing import Final

import onnx
from google.protobuf.message import Message

__all__ = ["LOCATION", "copy_without", "refer_to", "take_bytes"]

LOCATION: Final = "memory"
"""Name of the file that such tensors claim to lie in; there is no such file."""


def take_bytes(tensor: onnx.TensorProto, size: int) -> None:
    """Declare a tensor of ``size`` bytes as external and drop its bytes, in place; name, type and shape stay."""
    refer_to(tensor, LOCATION, 0, size)


def refer_to(tensor: onnx.TensorProto, location: str, offset: int, size: int) -> None:
    """Declare a tensor to lie in a file, in place; name, type and shape stay.

    Args:
        tensor: it; its own bytes are dropped.
        location: the file.
        offset: where in it the tensor begins, in bytes.
        size: how many there are.
    """
    name = tensor.name
    data_type = tensor.data_type
    dims = list(tensor.dims)
    # the data may lie in any of six fields: clearing all of them is the only way not to miss one
    tensor.Clear()
    tensor.name = name
    tensor.data_type = data_type
    tensor.dims.extend(dims)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value=str(offset))
    tensor.external_data.add(key="length", value=str(size))


def copy_without(model: onnx.ModelProto, sizes: Mapping[str, int]) -> onnx.ModelProto:
    """Return a copy in which some initializers of the graph carry no bytes, which are never copied.

    Args:
        model: it may hold more than the 2 GiB that protobuf copies.
        sizes: bytes of these initializers, by name.
    """
    copy = onnx.ModelProto()
    _copy_fields(model, copy, {"graph"})
    _copy_fields(model.graph, copy.graph, {"initializer"})
    for tensor in model.graph.initializer:
        added = copy.graph.initializer.add()
        if tensor.name not in sizes:
            added.CopyFrom(tensor)
            continue
        added.name = tensor.name
        added.data_type = tensor.data_type
        added.dims.extend(tensor.dims)
        take_bytes(added, sizes[tensor.name])
    return copy


def _copy_fields(source: Message, target: Message, left_out: Collection[str]) -> None:
    for field, value in source.ListFields():
        if field.name in left_out:
            continue
        # messages and lists are merged into what is there, which is nothing
        if hasattr(value, "MergeFrom"):
            getattr(target, field.name).MergeFrom(value)
        else:
            setattr(target, field.name, value)
