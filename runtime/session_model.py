"""Models as sessions are opened on them: in one piece, or with large tensors apart where that would be too large."""

from typing import Any, Final

import onnx
from numpy.typing import NDArray

from ftonnx.graphs import copy_without
from ftonnx.inject.tensors import NUMPY_TYPES, byte_count, is_external, numpy_type, words_of
from ftonnx.sessions import SessionModel

__all__ = ["session_model"]

_MOST_BYTES: Final = 2**31 - 2**26
"""So much of stored tensors leaves one message of protobuf room for the rest."""

_SMALLEST: Final = 2**10
"""Tensors of so many bytes can be apart; ONNX Runtime reads the values of small ones when it infers shapes."""


def session_model(proto: onnx.ModelProto) -> SessionModel:
    """Return a model as a session is opened on it.

    Args:
        proto: a model; its external tensors are read from their files (see ``OnnxModel.structure``).

    Raises:
        ModelError: such a file changed or vanished.
    """
    stored = proto.graph.initializer
    whole = sum(byte_count(tensor) for tensor in stored)
    if whole <= _MOST_BYTES and not any(is_external(tensor) for tensor in stored):
        return SessionModel(content=proto.SerializeToString(), apart={})
    sizes: dict[str, int] = {}
    apart: dict[str, NDArray[Any]] = {}
    for tensor in stored:
        size = byte_count(tensor)
        if tensor.data_type in NUMPY_TYPES and size >= _SMALLEST:
            sizes[tensor.name] = size
            apart[tensor.name] = _array(tensor)
    light = copy_without(proto, sizes)
    return SessionModel(content=light.SerializeToString(), apart=apart)


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    values = words_of(tensor).view(numpy_type(tensor))
    return values.reshape(tuple(tensor.dims))
