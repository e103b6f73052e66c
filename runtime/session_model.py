"""Models as sessions are opened on them: a message of protobuf, and beside it the large tensors.

What is in the message is written, read and copied again on its way into a session; an array is copied once. A session
is the same either way, and what its optimizer makes of the model is too.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.graphs import copy_without
from ftonnx.inject import Faults, FaultSpace, faulty_model
from ftonnx.inject.tensors import NUMPY_TYPES, byte_count, is_external, numpy_type, words_of
from ftonnx.sessions import SessionModel

__all__ = ["faulty_session_model", "session_model"]

_LARGE: Final = 2**16
"""Tensors of so many bytes are apart; ONNX Runtime reads the values of small ones when it infers shapes."""

Prepare = Callable[[onnx.ModelProto], onnx.ModelProto]


def session_model(proto: onnx.ModelProto) -> SessionModel:
    """Return a model as a session is opened on it.

    Args:
        proto: a model; its external tensors are read from their files (see ``OnnxModel.structure``).

    Raises:
        ModelError: such a file changed or vanished.
    """
    light, apart = _split(proto)
    return SessionModel(content=light.SerializeToString(), apart=apart)


def faulty_session_model(
    proto: onnx.ModelProto,
    space: FaultSpace,
    faults: Faults,
    prepare: Prepare = lambda flipped: flipped,
) -> SessionModel:
    """Return a model with flipped bits as a session is opened on it.

    Args:
        proto: the model; it is not changed.
        space: where the faults lie.
        faults: the bits.
        prepare: rewrites the flipped model, of whose large tensors it only gets to know that they are there; vectors
            are never apart, unless they lie in files.

    Raises:
        UsageError: a fault lies outside the fault space.
        ModelError: a file with tensors changed or vanished.
    """
    space.check(faults)
    tensors = space.tensors(proto)
    in_files = np.array([is_external(tensor) for tensor in tensors])[faults.target]
    # what is in the model is flipped in a copy of it, what lies in files in the arrays that stand for it
    light, apart = _split(faulty_model(proto, space, _chosen(faults, ~in_files)))
    for target, elements, masks in _chosen(faults, in_files).masks():
        form = space.targets[target].format
        array = apart[tensors[target].name]
        words = array.reshape(-1).view(form.word)
        form.flip(words, elements, masks)
    return SessionModel(content=prepare(light).SerializeToString(), apart=apart)


def _split(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """Return a copy of a model without its large tensors, and these, which may be written to."""
    sizes: dict[str, int] = {}
    apart: dict[str, NDArray[Any]] = {}
    for tensor in proto.graph.initializer:
        if tensor.data_type in NUMPY_TYPES and _is_large(tensor):
            sizes[tensor.name] = byte_count(tensor)
            values = words_of(tensor).view(numpy_type(tensor))
            apart[tensor.name] = values.reshape(tuple(tensor.dims))
    return copy_without(proto, sizes), apart


def _is_large(tensor: onnx.TensorProto) -> bool:
    if byte_count(tensor) < _LARGE:
        return False
    # vectors are biases and parameters of normalizations, whose values a rewritten graph may need
    return is_external(tensor) or len(tensor.dims) > 1


def _chosen(faults: Faults, which: NDArray[np.bool_]) -> Faults:
    return Faults(faults.target[which], faults.element[which], faults.bit[which])
