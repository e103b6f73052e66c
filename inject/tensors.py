"""Tensors of a model file as words: the flat unsigned integers their memory is made of."""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ftonnx.inject.formats import Words

__all__ = ["element_count", "numpy_type", "words_of", "write_words"]

_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "uint64_data", "double_data")
_FOUR_BIT = (TensorProto.INT4, TensorProto.UINT4)


def numpy_type(tensor: TensorProto) -> np.dtype[Any]:
    """Return the element type (``ml_dtypes`` for the ones numpy lacks)."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))


def element_count(tensor: TensorProto) -> int:
    """Return the number of elements; a scalar has one."""
    return math.prod(tensor.dims)


def words_of(tensor: TensorProto) -> Words:
    """Return a writable copy of the tensor's memory.

    >>> words_of(numpy_helper.from_array(np.array([1.0, -0.0], np.float32))).tolist()
    [1065353216, 2147483648]
    """
    dtype = numpy_type(tensor)
    word = np.dtype(f"u{dtype.itemsize}")
    if tensor.HasField("raw_data"):
        return np.frombuffer(bytearray(tensor.raw_data), word)
    values: NDArray[Any] = numpy_helper.to_array(tensor).ravel()
    if tensor.data_type in _FOUR_BIT:
        return _pack(values)
    return np.array(values).view(word)


def write_words(tensor: TensorProto, words: Words) -> None:
    """Replace the tensor's content; type and shape stay."""
    for field in _DATA_FIELDS:
        tensor.ClearField(field)
    tensor.raw_data = words.tobytes()


def _pack(values: NDArray[Any]) -> Words:
    """Pack 4-bit values two to a byte, the even one low."""
    halves = values.astype(np.int8).view(np.uint8) & 0xF
    halves = np.append(halves, np.zeros(len(halves) % 2, np.uint8))
    packed: Words = halves[::2] | halves[1::2] << 4
    return packed


def is_external(tensor: onnx.TensorProto) -> bool:
    """Say whether the tensor's bytes lie in another file."""
    return tensor.data_location == TensorProto.EXTERNAL
