"""The stored values of an optimized graph in arrays of our own, flipped in place and put back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.shape_inference import InferenceError
from onnx_ir.serde import SerdeError

from ftonnx.errors import message_of
from ftonnx.inject import Faults, FaultSpace, Format, OnnxModel
from ftonnx.inject.formats import Undo, Words
from ftonnx.inject.tensors import numpy_type, words_of
from ftonnx.runtime.batch_norm import ExplicitNorm, explicit_batch_norms, scale_and_shift
from ftonnx.runtime.layout import Placement, find_layout
from ftonnx.runtime.onnx_session import SessionOptions

__all__ = ["Memory", "NotPossibleError"]

_ALIGNMENT: Final = 64  # bytes; unaligned weights cost up to 6 % per run
_FLOAT = np.dtype(np.float32)
_IR_WITH_OPTIONAL_INPUTS: Final = 4


class NotPossibleError(Exception):
    """A strategy cannot run this model; the text says why."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A target that the optimizer only moved: its copies in the optimized graph."""

    format: Format
    copies: tuple[tuple[Words, Placement], ...]

    def flip(self, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> list[Undo]:
        return [self.format.flip(words, place.positions(elements), masks) for words, place in self.copies]


@dataclass(frozen=True, slots=True)
class _Norm:
    """A normalization's four parameters, and the scale and shift that follow from them."""

    parameters: tuple[Words, Words, Words, Words]
    epsilon: float
    scale: tuple[tuple[Words, Placement], ...]
    shift: tuple[tuple[Words, Placement], ...]

    def refresh(self, channels: NDArray[np.int64]) -> list[Undo]:
        """Recompute the scale and shift of some channels."""
        gamma, beta, mean, variance = (words.view(_FLOAT)[channels] for words in self.parameters)
        results = scale_and_shift(gamma, beta, mean, variance, self.epsilon)
        undos = []
        for result, copies in zip(results, (self.scale, self.shift), strict=True):
            for words, place in copies:
                index = place.positions(channels)
                undos.append(Undo(words, index, words[index]))
                words[index] = result.view(words.dtype)
        return undos


@dataclass(frozen=True, slots=True)
class _NormParameter:
    """A target that feeds normalizations, which are recomputed for the channels that are hit."""

    format: Format
    words: Words
    norms: tuple[_Norm, ...]

    def flip(self, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> list[Undo]:
        undos = [self.format.flip(self.words, elements, masks)]
        for norm in self.norms:
            undos += norm.refresh(elements)
        return undos


class _Sink(Protocol):
    def flip(self, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> list[Undo]: ...


class Memory:
    """The optimized form of a model, with every target's memory in arrays that faults can reach.

    Attributes:
        model: the optimized graph.
        arrays: per initializer of it that holds target elements, a flat aligned array.
        options: the options with which the graph was optimized.
        explicit_norms: whether batch normalizations were made explicit first.
    """

    def __init__(
        self, model: OnnxModel, space: FaultSpace, options: SessionOptions, *, explicit_norms: bool = False
    ) -> None:
        """Optimize the model and find all targets.

        Raises:
            NotPossibleError: a target has no place in the optimized graph.
        """
        scratch, norms = _prepare(model.proto, explicit_norms)
        by_name = _stored_tensors(scratch.graph)
        names = _reachable(space, by_name) + [name for norm in norms for name in (norm.scale, norm.shift)]
        layout = find_layout(scratch, {name: by_name[name] for name in names}, options)
        places = layout.places
        _require_found(places, normed={name for norm in norms for name in norm.inputs})
        held = {tensor.name: tensor for tensor in layout.model.graph.initializer}
        self._space = space
        self.model, self.options, self.explicit_norms = layout.model, options, explicit_norms
        self._words = {
            place.initializer: _aligned(words_of(held[place.initializer]))
            for found in places.values()
            for place in found
        }
        self._types = {name: numpy_type(held[name]) for name in self._words}
        self._sinks = self._make_sinks(space, places, norms, by_name)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, typed and shaped like their initializers; views, not copies."""
        shapes = {tensor.name: tuple(tensor.dims) for tensor in self.model.graph.initializer}
        return {name: words.view(self._types[name]).reshape(shapes[name]) for name, words in self._words.items()}

    def prepare(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """Return ``proto`` as this memory's model was before it was optimized."""
        return _prepare(proto, self.explicit_norms)[0]

    @contextmanager
    def flipped(self, faults: Faults) -> Iterator[None]:
        """Hold the faults in memory inside the block; afterwards every word is the original one."""
        self._space.check(faults)
        undos: list[Undo] = []
        try:
            for target, elements, masks in faults.masks():
                for sink in self._sinks[target]:
                    undos += sink.flip(elements, masks)
            yield
        finally:
            for undo in reversed(undos):
                undo()

    def _make_sinks(
        self,
        space: FaultSpace,
        places: Mapping[str, Sequence[Placement]],
        norms: Sequence[ExplicitNorm],
        by_name: Mapping[str, onnx.TensorProto],
    ) -> list[list[_Sink]]:
        def copies(name: str) -> tuple[tuple[Words, Placement], ...]:
            return tuple((self._words[place.initializer], place) for place in places[name])

        parameters = {name: words_of(by_name[name]) for norm in norms for name in norm.inputs}
        live_norms = {
            norm: _Norm(
                (*(parameters[name] for name in norm.inputs),),  # type: ignore[arg-type]
                norm.epsilon,
                copies(norm.scale),
                copies(norm.shift),
            )
            for norm in norms
        }
        sinks: list[list[_Sink]] = []
        for target in space.targets:
            fed = tuple(live for norm, live in live_norms.items() if target.tensor in norm.inputs)
            stored: list[_Sink] = [_Stored(target.format, copies(target.tensor))] if places[target.tensor] else []
            if fed:
                stored.append(_NormParameter(target.format, parameters[target.tensor], fed))
            sinks.append(stored)
        return sinks


def _prepare(proto: onnx.ModelProto, explicit_norms: bool) -> tuple[onnx.ModelProto, tuple[ExplicitNorm, ...]]:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    if copy.ir_version < _IR_WITH_OPTIONAL_INPUTS:
        _drop_stored_inputs(copy)
    if not explicit_norms:
        return copy, ()
    try:
        return explicit_batch_norms(copy)
    except (SerdeError, InferenceError, ValueError) as error:
        raise NotPossibleError(f"onnx-ir cannot edit the graph: {message_of(error)}") from error


def _drop_stored_inputs(model: onnx.ModelProto) -> None:
    """Bring a file of IR version 3 to version 4, where stored tensors are not listed as inputs.

    ONNX Runtime takes them for constants in both, but its optimizer would leave the inputs of
    folded ones behind, and a session on the optimized graph would ask for them.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    free = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(free)
    model.ir_version = _IR_WITH_OPTIONAL_INPUTS


def _stored_tensors(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the tensors that the top level of a graph stores, in initializers and Constant nodes."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            stored[node.output[0]] = node.attribute[0].t
    return stored


def _reachable(space: FaultSpace, stored: Mapping[str, onnx.TensorProto]) -> list[str]:
    """Return the names of all targets, provided that our arrays can hold them."""
    for target in space.targets:
        if target.tensor not in stored:
            raise NotPossibleError(f"{target.tensor!r} lies in a subgraph or function")
        if target.format.dtype.isbuiltin != 1:
            raise NotPossibleError(f"{target.tensor!r} has the type {target.format.dtype.name}, which numpy lacks")
    return [target.tensor for target in space.targets]


def _require_found(places: Mapping[str, Sequence[Placement]], normed: set[str]) -> None:
    lost = [name for name, found in places.items() if not found and name not in normed]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise NotPossibleError(f"the optimizer left no place for {lost[0]!r}{more}")


def _aligned(words: Words) -> Words:
    """Return a copy that starts at a multiple of the alignment."""
    buffer = np.empty(words.nbytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    copy: Words = buffer[start : start + words.nbytes].view(words.dtype)
    copy[...] = words
    return copy
