"""Tensors of a model file as words: the flat unsigned integers their memory is made of."""

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ftonnx.errors import ModelError
from ftonnx.files import reason_unread
from ftonnx.inject.formats import Words

__all__ = [
    "ELEMENT_BITS",
    "NUMPY_TYPES",
    "byte_count",
    "element_count",
    "is_external",
    "numpy_type",
    "type_name",
    "word_type",
    "words_of",
    "write_words",
]

NUMPY_TYPES: Final = frozenset(
    {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE,
        TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
        TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    }
)  # fmt: skip
"""Element types of numbers that numpy has itself."""

ELEMENT_BITS: Final[dict[int, int]] = {
    TensorProto.BOOL: 8,
    TensorProto.UINT8: 8, TensorProto.UINT16: 16, TensorProto.UINT32: 32, TensorProto.UINT64: 64,
    TensorProto.INT8: 8, TensorProto.INT16: 16, TensorProto.INT32: 32, TensorProto.INT64: 64,
    TensorProto.FLOAT16: 16, TensorProto.BFLOAT16: 16, TensorProto.FLOAT: 32, TensorProto.DOUBLE: 64,
    TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128, TensorProto.FLOAT8E8M0: 8,
    TensorProto.FLOAT8E4M3FN: 8, TensorProto.FLOAT8E4M3FNUZ: 8,
    TensorProto.FLOAT8E5M2: 8, TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.FLOAT4E2M1: 4, TensorProto.UINT4: 4, TensorProto.INT4: 4,
    TensorProto.UINT2: 2, TensorProto.INT2: 2,
}  # fmt: skip
"""Bits of an element by its type; strings have none."""

_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "uint64_data", "double_data")
_FOUR_BIT = (TensorProto.INT4, TensorProto.UINT4)


def numpy_type(tensor: TensorProto) -> np.dtype[Any]:
    """Return the element type (``ml_dtypes`` for the ones numpy lacks)."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))


def type_name(tensor: TensorProto) -> str:
    """Return the name of the element type, such as ``float32``; numpy has none for strings."""
    if tensor.data_type == TensorProto.STRING:
        return "string"
    return numpy_type(tensor).name


def element_count(tensor: TensorProto) -> int:
    """Return the number of elements; a scalar has one."""
    return math.prod(tensor.dims)


def byte_count(tensor: TensorProto) -> int:
    """Return how many bytes the elements take, small ones packed; 8 bits each where the type is not known."""
    per_element = ELEMENT_BITS.get(tensor.data_type, 8)
    bits = element_count(tensor) * per_element
    # small elements are packed, and the last byte may be part empty
    return (bits + 7) // 8


def word_type(tensor: TensorProto) -> np.dtype[Any]:
    """Return the unsigned integer type of a tensor's words."""
    return np.dtype(f"u{numpy_type(tensor).itemsize}")


def words_of(tensor: TensorProto) -> Words:
    """Return a writable copy of the tensor's memory.

    What lies in a file (see ``external.read_external``) is read from there.

    Raises:
        ModelError: that file changed or vanished.

    >>> words_of(numpy_helper.from_array(np.array([1.0, -0.0], np.float32))).tolist()
    [1065353216, 2147483648]
    """
    word = word_type(tensor)
    if is_external(tensor):
        return _words_in_file(tensor, word)
    if tensor.HasField("raw_data"):
        # a bytearray is a copy that may be written to
        memory = bytearray(tensor.raw_data)
        return np.frombuffer(memory, word)
    array = numpy_helper.to_array(tensor)
    values: NDArray[Any] = array.ravel()
    if tensor.data_type in _FOUR_BIT:
        return _pack(values)
    return np.array(values).view(word)


def write_words(tensor: TensorProto, words: Words) -> None:
    """Replace the tensor's content, which is in the model afterwards; type and shape stay."""
    for field in _DATA_FIELDS:
        tensor.ClearField(field)
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
    tensor.raw_data = words.tobytes()


def _words_in_file(tensor: TensorProto, word: np.dtype[Any]) -> Words:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = Path(entries.get("location", ""))
    # only whoever checked where a file lies gives it an absolute path
    if not path.is_absolute():
        raise ModelError(f"tensor {tensor.name!r} lies in another file; load the model by its path, or its data first")
    offset = int(entries.get("offset", 0))
    count = byte_count(tensor) // word.itemsize
    try:
        words: Words = np.fromfile(path, word, count, offset=offset)
    except OSError as error:
        raise ModelError(f"tensor {tensor.name!r} cannot be read: {reason_unread(error, path)}") from error
    if len(words) != count:
        raise ModelError(f"tensor {tensor.name!r} cannot be read: {path} became shorter")
    return words


def _pack(values: NDArray[Any]) -> Words:
    """Pack 4-bit values two to a byte, the even one low."""
    signed = values.astype(np.int8)
    halves = signed.view(np.uint8) & 0xF
    # an odd number leaves the last high half empty
    if len(halves) % 2:
        halves = np.append(halves, np.uint8(0))
    low = halves[::2]
    high = halves[1::2]
    packed: Words = low | high << 4
    return packed


def is_external(tensor: onnx.TensorProto) -> bool:
    """Say whether the tensor's bytes lie in another file."""
    return tensor.data_location == TensorProto.EXTERNAL
