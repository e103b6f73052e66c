"""Where a fault in a target goes: into the target's copies in the optimized graph, or what is computed from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ftonnx.graphs import ExplicitNorm, scale_and_shift
from ftonnx.inject import FaultSpace, Format
from ftonnx.inject.formats import Undo, Words
from ftonnx.runtime.layout.blueprint import Blueprint, Weights
from ftonnx.runtime.layout.casts import Cast, cast_between
from ftonnx.runtime.layout.placement import Placement

__all__ = ["NormParameter", "Sink", "Stored", "sinks_of"]

_Elements = NDArray[np.int64]
_Masks = NDArray[np.uint64]
_Types = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Copy:
    """Elements of a target, or what is computed from it, in the optimized graph.

    Attributes:
        words: the array that holds them.
        place: where they lie in it.
        cast: how they are written there; None where they are stored as in the file.
    """

    words: Words
    place: Placement
    cast: Cast | None

    def flip(self, form: Format, elements: _Elements, masks: _Masks) -> Undo:
        """Flip bits in place."""
        positions = self.place.positions(elements)
        if self.cast is None:
            return form.flip(self.words, positions, masks)
        return self.cast.flip(form, self.words, positions, masks)


_Copies = tuple[Copy, ...]


class Sink(Protocol):
    """One way in which a target's bits reach the optimized graph."""

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that a flip changes."""

    def flip(self, elements: _Elements, masks: _Masks) -> list[Undo]:
        """Flip bits in place; return what puts the old words back, to be called in reverse order."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A target that the optimizer only moved and cast: its copies in the optimized graph."""

    format: Format
    copies: _Copies

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that a flip changes."""
        return _names(self.copies)

    def flip(self, elements: _Elements, masks: _Masks) -> list[Undo]:
        """Flip the same bits in every copy."""
        return [copy.flip(self.format, elements, masks) for copy in self.copies]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Norm:
    """A normalization's four parameters, and the scale and shift that follow from them."""

    parameters: tuple[Words, ...]
    epsilon: float
    scale: _Copies
    shift: _Copies

    @property
    def arrays(self) -> tuple[str, ...]:
        return _names(self.scale) + _names(self.shift)

    def refresh(self, channels: _Elements) -> list[Undo]:
        """Recompute the scale and shift of some channels."""
        values = []
        for words in self.parameters:
            stored = words.view(np.float32)
            values.append(stored[channels])
        scale, shift = scale_and_shift(values, self.epsilon)
        undos = _overwritten(self.scale, channels, scale)
        undos += _overwritten(self.shift, channels, shift)
        return undos


@dataclass(frozen=True, slots=True)
class NormParameter:
    """A target that feeds normalizations, which are recomputed for the channels that are hit."""

    format: Format
    words: Words
    norms: tuple[_Norm, ...]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that a flip changes."""
        names: tuple[str, ...] = ()
        for norm in self.norms:
            names += norm.arrays
        return names

    def flip(self, elements: _Elements, masks: _Masks) -> list[Undo]:
        """Flip the parameter itself, and then what follows from it."""
        undos = [self.format.flip(self.words, elements, masks)]
        for norm in self.norms:
            undos += norm.refresh(elements)
        return undos


def sinks_of(space: FaultSpace, names: Sequence[str], blueprint: Blueprint, weights: Weights) -> list[list[Sink]]:
    """Return for every target of a space where its faults go.

    Args:
        space: it.
        names: what the blueprint calls the targets' tensors.
        blueprint: the optimized graph.
        weights: its arrays.
    """
    types = {name: tensor.data_type for name, tensor in blueprint.held.items()}
    norms: dict[ExplicitNorm, _Norm] = {}
    for norm in blueprint.norms:
        norms[norm] = _norm(norm, blueprint, weights, types)
    sinks = []
    for name, target in zip(names, space.targets, strict=True):
        found: list[Sink] = []
        stored = helper.np_dtype_to_tensor_dtype(target.format.dtype)
        copies = _copies(name, stored, blueprint, weights, types)
        if copies:
            found.append(Stored(target.format, copies))
        # a target may be both: stored for one node, and a parameter of another's normalization
        fed = []
        for norm, live in norms.items():
            if name in norm.inputs:
                fed.append(live)
        if fed:
            words = weights.parameters[name]
            found.append(NormParameter(target.format, words, tuple(fed)))
        sinks.append(found)
    return sinks


def _norm(norm: ExplicitNorm, blueprint: Blueprint, weights: Weights, types: _Types) -> _Norm:
    return _Norm(
        parameters=tuple(weights.parameters[name] for name in norm.inputs),
        epsilon=norm.epsilon,
        scale=_copies(norm.scale, TensorProto.FLOAT, blueprint, weights, types),
        shift=_copies(norm.shift, TensorProto.FLOAT, blueprint, weights, types),
    )


def _copies(name: str, stored: int, blueprint: Blueprint, weights: Weights, types: _Types) -> _Copies:
    """Return the arrays that hold a tensor, stored as elements of some type, and where."""
    copies = []
    for place in blueprint.places[name]:
        words = weights.arrays[place.initializer]
        cast = cast_between(stored, types[place.initializer])
        copies.append(Copy(words, place, cast))
    return tuple(copies)


def _names(copies: _Copies) -> tuple[str, ...]:
    return tuple(copy.place.initializer for copy in copies)


def _overwritten(copies: _Copies, elements: _Elements, values: NDArray[np.float32]) -> list[Undo]:
    """Write new values of some elements to every copy; return what puts the old ones back."""
    undos = []
    for copy in copies:
        words = copy.words
        index = copy.place.positions(elements)
        undo = Undo(words, index, words[index])
        undos.append(undo)
        words[index] = values.view(words.dtype)
    return undos
