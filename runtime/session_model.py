"""Models as sessions are opened on them: a message of protobuf, and beside it the large tensors.

What is in the message is written, read and copied again on its way into a session; an array is copied once. A session
is the same either way, and what its optimizer makes of the model is too.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import onnx
from numpy.typing import NDArray

from ftonnx.graphs import copy_without, stored_anywhere
from ftonnx.inject import Faults, FaultSpace
from ftonnx.inject.bodies import all_tensors
from ftonnx.inject.formats import Words
from ftonnx.inject.tensors import NUMPY_TYPES, byte_count, is_external, numpy_type, words_of, write_words
from ftonnx.sessions import SessionModel

__all__ = ["faulty_session_model", "rewritten_session_model", "session_model"]

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


def rewritten_session_model(proto: onnx.ModelProto, words: Mapping[str, Callable[[], Words]]) -> SessionModel:
    """Return a model in which some stored tensors have other words, as a session is opened on it.

    Args:
        proto: the model; it is not changed.
        words: makes those of a tensor, by its name; of equal names the outermost tensor's.
    """
    light, apart = _split(proto, words)
    tensors = stored_anywhere(light)
    for name, make in words.items():
        if name not in apart:
            write_words(tensors[name], make())
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
    light, apart = _split(proto)
    # which tensors these are is told by values that the light copy has not
    copies = _copies(tensors, proto, light)
    for target, elements, masks in faults.masks():
        form = space.targets[target].format
        copy = copies[id(tensors[target])]
        if is_external(copy):
            form.flip(apart[copy.name].reshape(-1).view(form.word), elements, masks)
            continue
        words = words_of(copy)
        form.flip(words, elements, masks)
        write_words(copy, words)
    return SessionModel(content=prepare(light).SerializeToString(), apart=apart)


def _copies(
    tensors: Collection[onnx.TensorProto], proto: onnx.ModelProto, copy: onnx.ModelProto
) -> dict[int, onnx.TensorProto]:
    """Return what stands for some tensors of a model in a copy of it, by their identity."""
    # as long as they are held, protobuf gives the same object for the same tensor
    wanted = {id(tensor) for tensor in tensors}
    found: dict[int, onnx.TensorProto] = {}
    for original, copied in zip(all_tensors(proto), all_tensors(copy), strict=True):
        if id(original) in wanted:
            found[id(original)] = copied
    return found


def _split(
    proto: onnx.ModelProto, words: Mapping[str, Callable[[], Words]] | None = None
) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """Return a copy of a model without its large tensors, and these, which may be written to.

    Args:
        proto: the model.
        words: makes those of a large tensor that is to have others, by its name.
    """
    made = words or {}
    sizes: dict[str, int] = {}
    apart: dict[str, NDArray[Any]] = {}
    for tensor in proto.graph.initializer:
        if tensor.data_type in NUMPY_TYPES and _is_large(tensor):
            sizes[tensor.name] = byte_count(tensor)
            own = made[tensor.name]() if tensor.name in made else words_of(tensor)
            apart[tensor.name] = own.view(numpy_type(tensor)).reshape(tuple(tensor.dims))
    return copy_without(proto, sizes), apart


def _is_large(tensor: onnx.TensorProto) -> bool:
    if byte_count(tensor) < _LARGE:
        return False
    # vectors are biases and parameters of normalizations, whose values a rewritten graph may need
    return is_external(tensor) or len(tensor.dims) > 1
