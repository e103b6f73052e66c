"""Stored tensors whose bytes a graph does not carry, because whoever opens a session gives them."""

from typing import Final

import onnx

__all__ = ["LOCATION", "take_bytes"]

LOCATION: Final = "memory"
"""Name of the file that such tensors claim to lie in; there is no such file."""


def take_bytes(tensor: onnx.TensorProto, size: int) -> None:
    """Declare a tensor of ``size`` bytes as external and drop its bytes, in place; name, type and shape stay."""
    name = tensor.name
    data_type = tensor.data_type
    dims = list(tensor.dims)
    # the data may lie in any of six fields: clearing all of them is the only way not to miss one
    tensor.Clear()
    tensor.name = name
    tensor.data_type = data_type
    tensor.dims.extend(dims)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=LOCATION)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="length", value=str(size))
