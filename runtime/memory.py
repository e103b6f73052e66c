"""The stored values of an optimized graph in arrays of our own, flipped in place and put back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.inject import Faults, FaultSpace, Format, OnnxModel
from ftonnx.inject.formats import Undo, Words
from ftonnx.inject.tensors import numpy_type
from ftonnx.runtime.batch_norm import ExplicitNorm, scale_and_shift
from ftonnx.runtime.blueprint import NotPossibleError
from ftonnx.runtime.cache import LayoutCache, Source
from ftonnx.runtime.draft import Draft, prepared
from ftonnx.runtime.layout import Placement
from ftonnx.runtime.onnx_session import SessionOptions
from ftonnx.runtime.shared import CopiedPages

__all__ = ["Memory", "NotPossibleError"]

_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A target that the optimizer only moved: its copies in the optimized graph."""

    format: Format
    copies: tuple[tuple[Words, Placement], ...]

    @property
    def arrays(self) -> tuple[str, ...]:
        return tuple(place.initializer for _, place in self.copies)

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

    @property
    def arrays(self) -> tuple[str, ...]:
        return tuple(place.initializer for norm in self.norms for _, place in (*norm.scale, *norm.shift))

    def flip(self, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> list[Undo]:
        undos = [self.format.flip(self.words, elements, masks)]
        for norm in self.norms:
            undos += norm.refresh(elements)
        return undos


class _Sink(Protocol):
    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that a flip changes."""

    def flip(self, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> list[Undo]: ...


class Memory:
    """The optimized form of a model, with every target's memory in arrays that faults can reach.

    Attributes:
        model: the optimized graph; the initializers that hold targets carry no bytes.
        arrays: per initializer of it that holds target elements, an aligned array.
        options: the options with which the graph was optimized.
        explicit_norms: whether batch normalizations were made explicit first.
        contents: the graph, the placements, and the arrays as flat words.
    """

    def __init__(
        self,
        model: OnnxModel,
        space: FaultSpace,
        options: SessionOptions,
        *,
        explicit_norms: bool = False,
        source: Source | None = None,
    ) -> None:
        """Optimize the model, or take what ``source`` knows about it, and find all targets.

        Raises:
            NotPossibleError: a target has no place in the optimized graph.
        """
        draft = Draft(model=model, space=space, options=options, explicit_norms=explicit_norms)
        self.contents = (source or LayoutCache(None)).open(draft)
        blueprint = self.contents.blueprint
        self._space = space
        self.model, self.options, self.explicit_norms = blueprint.model, options, explicit_norms
        self._sinks = self._make_sinks(space, blueprint.places, blueprint.norms)
        self._copied = CopiedPages([*self.contents.arrays.values(), *self.contents.parameters.values()])

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, typed and shaped like their initializers; views, not copies."""
        held, words = self.contents.blueprint.held, self.contents.arrays
        return {name: words[name].view(numpy_type(t)).reshape(tuple(t.dims)) for name, t in held.items()}

    def prepare(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """Return ``proto`` as this memory's model was before it was optimized."""
        return prepared(proto, explicit_norms=self.explicit_norms)[0]

    def reached(self, faults: Faults) -> set[str]:
        """Return the names of the arrays that these faults change.

        Raises:
            UsageError: a fault lies outside the fault space.
        """
        self._space.check(faults)
        targets = np.unique(faults.target).tolist()
        return {name for target in targets for sink in self._sinks[target] for name in sink.arrays}

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
            self._copied.restored(len(faults))

    def _make_sinks(
        self,
        space: FaultSpace,
        places: Mapping[str, Sequence[Placement]],
        norms: Sequence[ExplicitNorm],
    ) -> list[list[_Sink]]:
        def copies(name: str) -> tuple[tuple[Words, Placement], ...]:
            return tuple((self.contents.arrays[place.initializer], place) for place in places[name])

        parameters = self.contents.parameters
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
