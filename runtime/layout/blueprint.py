"""An optimized graph without the values it stores, and the map that says where they belong.

A blueprint and the original model's tensors give the optimized graph's arrays: every stored element
is put where its placement says, so an element's place can be wrong only if its value is too.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ftonnx.graphs import ExplicitNorm, scale_and_shift
from ftonnx.inject.formats import Words
from ftonnx.inject.tensors import element_count, word_type, words_of
from ftonnx.runtime.layout.casts import cast_between, fits
from ftonnx.runtime.layout.half_bytes import FOUR_BIT, elements_of, joined
from ftonnx.runtime.layout.placement import Placement

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

    def in_halves(self, tensors: _Tensors) -> set[str]:
        """Return which initializers hold elements of four bits; places and the rest count half bytes there.

        Args:
            tensors: the original model's, by name.
        """
        names: set[str] = set()
        for name, places in self.places.items():
            if name in tensors and tensors[name].data_type in FOUR_BIT:
                names.update(place.initializer for place in places)
        return names

    def weights(self, tensors: _Tensors) -> Weights:
        """Return the words of every held initializer, in aligned memory.

        Args:
            tensors: the original model's, by name.

        Raises:
            ValueError: a placement leaves its initializer, or two elements share a place.
        """
        parameters = self._parameters(tensors)
        made = self._scales_and_shifts(parameters)
        filling = _Filling(self.held, self.in_halves(tensors))
        for name, places in self.places.items():
            # made from the parameters at hand, or read from the model one tensor at a time
            if not places:
                continue
            values = made.get(name)
            data_type: int = TensorProto.FLOAT
            if values is None:
                values = elements_of(tensors[name], tensors[name].data_type)
                data_type = tensors[name].data_type
            for place in places:
                filling.put(place, values, data_type)
        filling.require_distinct(self.all_places())
        filling.put_rest(self.rest)
        return Weights(arrays=filling.words(), parameters=parameters)

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
    """Arrays that are being filled, each place once; of elements of four bits, with one of them to a byte."""

    def __init__(self, held: _Tensors, in_halves: Collection[str]) -> None:
        self._arrays: dict[str, Words] = {}
        self._in_halves = in_halves
        self._types = {name: tensor.data_type for name, tensor in held.items()}
        self._free: dict[str, NDArray[np.bool_]] = {}
        for name, tensor in held.items():
            count = element_count(tensor)
            # two to a byte of MatMulNBits' weights
            if name in in_halves and tensor.data_type not in FOUR_BIT:
                count *= 2
            self._arrays[name] = _aligned(word_type(tensor), count)
            # where several tensors were joined into one, each has its part of it
            self._free[name] = np.ones(count, bool)

    def words(self) -> dict[str, Words]:
        """Return the initializers' words by name; zero where nothing was put."""
        words: dict[str, Words] = {}
        # popped, not read: one array less is in memory with every step
        for name in list(self._arrays):
            array = self._arrays.pop(name)
            words[name] = _joined(array, self._types[name]) if name in self._in_halves else array
        return words

    def put(self, place: Placement, values: Words, data_type: int) -> None:
        """Write a tensor's elements to their places, which are then no longer free.

        Args:
            place: where.
            values: the tensor's words, one for each element.
            data_type: number of the tensor's element type.
        """
        name = place.initializer
        array = self._arrays[name]
        free = self._free[name]
        cast = cast_between(data_type, self._types[name])
        is_apart = data_type in FOUR_BIT
        # the map may come from a file, and need not fit the model
        if not fits(data_type, self._types[name]) or is_apart != (name in self._in_halves):
            raise ValueError(f"{name!r} does not fit its placement")
        if len(values) != place.elements:
            raise ValueError(f"{name!r} does not fit its placement")
        for elements, positions in place.pieces(len(array)):
            free[positions] = False
            piece = values[elements]
            array[positions] = piece if cast is None else cast.widened(piece)

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
            self._arrays[name][positions] = words


def _joined(halves: Words, data_type: int) -> Words:
    """Return half bytes as the words of an initializer.

    Those of four-bit types have a byte per element all the same, as an array of their shape must; half of them is used.
    """
    packed = joined(halves)
    is_own_type = data_type in FOUR_BIT
    words = _aligned(halves.dtype, len(halves) if is_own_type else len(packed))
    words[: len(packed)] = packed
    return words


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
