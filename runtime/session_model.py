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


def session_model(proto: onnx.ModelProto) -> SessionModel:
    """Return a model as a session is opened on it.

    Args:
        proto: a model; its external tensors are read from their files (see ``OnnxModel.structure``).

    Raises:
        ModelError: such a file changed or vanished.
    """
    sizes: dict[str, int] = {}
    apart: dict[str, NDArray[Any]] = {}
    for tensor in proto.graph.initializer:
        size = byte_count(tensor)
        if tensor.data_type in NUMPY_TYPES and size >= _LARGE:
            sizes[tensor.name] = size
            apart[tensor.name] = _array(tensor)
    light = copy_without(proto, sizes)
    return SessionModel(content=light.SerializeToString(), apart=apart)


def faulty_session_model(
    proto: onnx.ModelProto,
    space: FaultSpace,
    faults: Faults,
    opened_on: Callable[[onnx.ModelProto], SessionModel] = session_model,
) -> SessionModel:
    """Return a model with flipped bits as a session is opened on it.

    Args:
        proto: the model; it is not changed.
        space: where the faults lie.
        faults: the bits.
        opened_on: what a session is opened on in place of a model.

    Raises:
        UsageError: a fault lies outside the fault space.
        ModelError: a file with tensors changed or vanished.
    """
    space.check(faults)
    tensors = space.tensors(proto)
    lies_apart = np.array([is_external(tensor) for tensor in tensors])
    apart = lies_apart[faults.target]
    # what is in the model is flipped in a copy of it, what is apart in the arrays that stand for it
    flipped = faulty_model(proto, space, _chosen(faults, ~apart))
    opened = opened_on(flipped)
    for target, elements, masks in _chosen(faults, apart).masks():
        form = space.targets[target].format
        array = opened.apart[tensors[target].name]
        words = array.reshape(-1).view(form.word)
        form.flip(words, elements, masks)
    return opened


def _chosen(faults: Faults, which: NDArray[np.bool_]) -> Faults:
    return Faults(faults.target[which], faults.element[which], faults.bit[which])


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    values = words_of(tensor).view(numpy_type(tensor))
    return values.reshape(tuple(tensor.dims))
