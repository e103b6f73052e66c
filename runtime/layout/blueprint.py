"""An optimized graph without the values it stores, and the map that says where they belong.

A blueprint and the original model's tensors give the optimized graph's arrays: every stored element
is put where its placement says, so an element's place can be wrong only if its value is too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ftonnx.graphs import ExplicitNorm, scale_and_shift
from ftonnx.inject.formats import Words
from ftonnx.inject.tensors import element_count, word_type, words_of
from ftonnx.runtime.layout.placement import Placement
from ftonnx.runtime.layout.widening import widening

__all__ = ["Blueprint", "Rest", "Weights"]

_ALIGNMENT: Final = 64  # bytes; unaligned weights cost up to 6 % per run
_Tensors = Mapping[str, onnx.TensorProto]
Rest = tuple[NDArray[np.int64], Words]
"""Positions, and the words that belong there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The values of a blueprint.

    Attributes:
        arrays: the words of every held initializer, by name.
        parameters: the words of gamma, beta, mean and variance of the normalizations, by name.
    """

    arrays: Mapping[str, Words]
    parameters: Mapping[str, Words]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything about an optimized graph but the values that faults can reach.

    Attributes:
        model: the optimized graph; the initializers that hold targets are declared as external, without bytes.
        places: placements of each of the original graph's tensors that was asked for, by name.
        norms: the batch normalizations that were made explicit before.
        rest: per initializer, positions and words that belong to no original element and are not zero.
    """

    model: onnx.ModelProto
    places: Mapping[str, tuple[Placement, ...]]
    norms: tuple[ExplicitNorm, ...]
    rest: Mapping[str, Rest]

    @property
    def held(self) -> dict[str, onnx.TensorProto]:
        """The initializers without bytes, by name."""
        names = {place.initializer for place in self.all_places()}
        held: dict[str, onnx.TensorProto] = {}
        for tensor in self.model.graph.initializer:
            if tensor.name in names:
                held[tensor.name] = tensor
        return held

    def all_places(self) -> list[Placement]:
        """Return the placements of all tensors."""
        places: list[Placement] = []
        for found in self.places.values():
            places += found
        return places

    def weights(self, tensors: _Tensors) -> Weights:
        """Return the words of every held initializer, in aligned memory.

        Args:
            tensors: the original model's, by name.

        Raises:
            ValueError: a placement leaves its initializer, or two elements share a place.
        """
        parameters = self._parameters(tensors)
        made = self._scales_and_shifts(parameters)
        filling = _Filling(self.held)
        for name, places in self.places.items():
            # made from the parameters at hand, or read from the model one tensor at a time
            if not places:
                continue
            values = made.get(name)
            data_type: int = TensorProto.FLOAT
            if values is None:
                values = words_of(tensors[name])
                data_type = tensors[name].data_type
            for place in places:
                filling.put(place, values, data_type)
        filling.require_distinct(self.all_places())
        filling.put_rest(self.rest)
        return Weights(arrays=filling.arrays, parameters=parameters)

    def _parameters(self, tensors: _Tensors) -> dict[str, Words]:
        """Return the words of all parameters of normalizations, by name; norms may share them."""
        parameters: dict[str, Words] = {}
        for norm in self.norms:
            for name in norm.inputs:
                parameters[name] = words_of(tensors[name])
        return parameters

    def _scales_and_shifts(self, parameters: Mapping[str, Words]) -> dict[str, Words]:
        """Return the words of the normalizations' new initializers, by name."""
        made: dict[str, Words] = {}
        for norm in self.norms:
            values = []
            for name in norm.inputs:
                words = parameters[name]
                values.append(words.view(np.float32))
            scale, shift = scale_and_shift(values, norm.epsilon)
            made[norm.scale] = scale.view(np.uint32)
            made[norm.shift] = shift.view(np.uint32)
        return made


class _Filling:
    """Arrays that are being filled, each place once.

    Attributes:
        arrays: the words, by the initializer's name; zero where nothing was put yet.
    """

    def __init__(self, held: _Tensors) -> None:
        self.arrays: dict[str, Words] = {}
        self._types = {name: tensor.data_type for name, tensor in held.items()}
        self._free: dict[str, NDArray[np.bool_]] = {}
        for name, tensor in held.items():
            count = element_count(tensor)
            dtype = word_type(tensor)
            self.arrays[name] = _aligned(dtype, count)
            # where several tensors were joined into one, each has its part of it
            self._free[name] = np.ones(count, bool)

    def put(self, place: Placement, values: Words, data_type: int) -> None:
        """Write a tensor's elements to their places, which are then no longer free.

        Args:
            place: where.
            values: the tensor's words.
            data_type: number of the tensor's element type.
        """
        name = place.initializer
        words = self.arrays[name]
        free = self._free[name]
        cast = widening(data_type, self._types[name])
        fits = cast is not None or data_type == self._types[name]
        # the map may come from a file, and need not fit the model
        if not fits or len(values) != place.elements:
            raise ValueError(f"{name!r} does not fit its placement")
        for elements, positions in place.pieces(len(words)):
            free[positions] = False
            piece = values[elements]
            words[positions] = piece if cast is None else cast.widened(piece)

    def require_distinct(self, places: Iterable[Placement]) -> None:
        """Refuse a map by which two elements share a place."""
        expected = dict.fromkeys(self._free, 0)
        for place in places:
            expected[place.initializer] += place.elements
        for name, free in self._free.items():
            taken = len(free) - np.count_nonzero(free)
            # two elements in one place take one place only
            if taken != expected[name]:
                raise ValueError(f"a place in {name!r} is given twice")

    def put_rest(self, rest: Mapping[str, Rest]) -> None:
        """Write what belongs to no original element."""
        for name, (positions, words) in rest.items():
            free = self._free[name]
            # padding is not where an element of the model lies
            if not free[positions].all():
                raise ValueError(f"a word of {name!r} is given twice")
            self.arrays[name][positions] = words


def _aligned(dtype: np.dtype[Any], count: int) -> Words:
    """Return zeros that start at a multiple of 64 bytes."""
    size = count * dtype.itemsize
    # numpy aligns to 16 bytes: somewhere in the first 64 is a start that fits
    buffer = np.zeros(size + _ALIGNMENT, np.uint8)
    address = buffer.ctypes.data
    start = -address % _ALIGNMENT
    end = start + size
    words: Words = buffer[start:end].view(dtype)
    return words
