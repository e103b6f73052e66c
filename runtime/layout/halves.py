"""Where kernels keep four-bit weights that they pack, two elements to a byte: found by probing.

MatMulNBits moves half bytes, and puts what it computes from the scales behind them; its blocks hold no sums of weights.
Twins of the graph, whose weights hold one hexadecimal digit each of their elements' numbers, are packed. What does not
change in one more twin, whose digits are the opposite of the first one's, is no element.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.files import scratch_folder
from ftonnx.runtime.layout.half_bytes import BITS, MASK, halves_of, joined
from ftonnx.runtime.layout.packed_graph import PackedGraph, packed_graph
from ftonnx.runtime.layout.steps import compacted
from ftonnx.sessions import SessionOptions, give_back

__all__ = ["HalfPlace", "find_halves"]

_KERNEL: Final = "MatMulNBits"
_WEIGHT: Final = 1  # among its inputs
_MOST_ELEMENTS: Final = 1 << 28  # seven hexadecimal digits, and room for the shifts in an int32
_ELEMENTS_AT_ONCE: Final = 1 << 20
_Positions = NDArray[np.int64]
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfPlace:
    """Where one weight's elements lie in a block of packed weights; positions count half bytes, the low one first.

    An element is the k-th of an output channel c; it lies at ``below[k] + steps[run[k], c]``.

    Attributes:
        size: of the block, in bytes.
        below: positions of channel 0's elements.
        run: per element of a channel, which row of ``steps`` applies.
        steps: (runs, channels) distances from channel 0.
    """

    size: int
    below: NDArray[np.int32]
    run: NDArray[np.int32]
    steps: NDArray[np.int32]

    @property
    def elements(self) -> int:
        """Elements of the weight."""
        channels: int = self.steps.shape[1]
        return channels * len(self.below)

    def positions(self, elements: _Positions) -> _Positions:
        """Return the positions of flat elements."""
        channel, number = np.divmod(elements, len(self.below))
        below = self.below[number].astype(np.int64)
        return below + self.steps[self.run[number], channel]

    def explains(self, block: _Bytes, weight: NDArray[Any]) -> bool:
        """Say whether a block holds a weight's elements where they should lie."""
        if len(block) != self.size or 2 * weight.size != self.elements:
            return False
        stored = halves_of(weight.reshape(-1))
        held = halves_of(block)
        for start in range(0, self.elements, _ELEMENTS_AT_ONCE):
            elements = np.arange(start, min(start + _ELEMENTS_AT_ONCE, self.elements))
            if not np.array_equal(held[self.positions(elements)], stored[elements]):
                return False
        return True

    def require_inside(self) -> None:
        """Refuse a place that leaves its block.

        Raises:
            ValueError: it does.
        """
        if len(self.run) != len(self.below) or self.run.min() < 0 or self.run.max() >= len(self.steps):
            raise ValueError("an element has no steps")
        # in 64 bits: a forged table must not wrap around into the block
        below = self.below.astype(np.int64)
        lowest = below + self.steps.min(axis=1)[self.run]
        highest = below + self.steps.max(axis=1)[self.run]
        if lowest.min() < 0 or highest.max() >= 2 * self.size:
            raise ValueError("a place leaves its block")


def _four_bit_weights(model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the names of the arrays that MatMulNBits reads as four-bit weights, and nothing else reads."""
    readers: dict[str, set[bool]] = {}
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            readers.setdefault(name, set()).add(_reads_halves(node, slot))
    return [name for name, array in arrays.items() if array.size and readers.get(name) == {True}]


def _reads_halves(node: onnx.NodeProto, slot: int) -> bool:
    if node.op_type != _KERNEL or slot != _WEIGHT:
        return False
    bits = [attribute.i for attribute in node.attribute if attribute.name == "bits"]
    return (bits or [BITS]) == [BITS]


def find_halves(
    model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]], options: SessionOptions
) -> dict[str, HalfPlace]:
    """Find where kernels keep four-bit weights that they pack.

    Args:
        model: an optimized graph.
        arrays: initializers for which it carries no bytes, by name.
        options: how the session will be opened.

    Returns:
        Places of those that are packed by moving half bytes, and no others.
    """
    weights = [name for name in _four_bit_weights(model, arrays) if 2 * arrays[name].size < _MOST_ELEMENTS]
    found: dict[str, HalfPlace] = {}
    if not weights:
        return found
    with scratch_folder() as folder:
        twins = _Twins(model, arrays, weights, options, folder)
        alike: dict[tuple[int, ...], HalfPlace] = {}
        for name in weights:
            shape = arrays[name].shape
            place = twins.confirmed(name, alike.get(shape)) or twins.place(name)
            if place is not None:
                alike[shape] = place
                found[name] = place
    give_back()
    return found


# ------------------------------------------------------------------ the twins


class _Twins:
    """Graphs whose weights hold one digit each of their elements' numbers, packed."""

    def __init__(
        self,
        model: onnx.ModelProto,
        arrays: Mapping[str, NDArray[Any]],
        weights: Sequence[str],
        options: SessionOptions,
        folder: Path,
    ) -> None:
        self._shapes = {name: arrays[name].shape for name in weights}
        # so that no two are equal: equal contents are stored once
        self._shifts = {name: shift for shift, name in enumerate(weights)}
        most = max(2 * arrays[name].size for name in weights)
        self._digits = _digits_for(most + len(weights))
        self._packed: list[PackedGraph] = []
        for digit in range(self._digits + 1):
            own = folder / str(digit)
            own.mkdir()
            held = {name: self._twin(name, digit) if name in self._shapes else array for name, array in arrays.items()}
            self._packed.append(packed_graph(model, held, weights, options, own))
            del held

    def confirmed(self, name: str, place: HalfPlace | None) -> HalfPlace | None:
        """Return the place of a weight of the same shape if all twins have this one there too: they mostly have."""
        if place is None:
            return None
        for digit, packed in enumerate(self._packed):
            found = packed.blocks.get(name)
            if not found or not place.explains(found[0].read(packed.path), self._twin(name, digit)):
                return None
        return place

    def place(self, name: str) -> HalfPlace | None:
        """Read a weight's place from its digits; None where it is not packed, or not by moving half bytes."""
        blocks = [packed.blocks.get(name, ()) for packed in self._packed]
        if not all(blocks):
            return None
        digits = [halves_of(found[0].read(packed.path)) for found, packed in zip(blocks, self._packed, strict=True)]
        sizes = {len(digit) for digit in digits}
        if len(sizes) > 1:
            return None
        *lower, opposite = digits
        numbers = np.full(sizes.pop(), -self._shifts[name], np.int32)
        for place, digit in enumerate(lower):
            numbers += digit.astype(np.int32) << BITS * place
        shape = self._shapes[name]
        count = 2 * math.prod(shape)
        is_element = (lower[0] ^ opposite == MASK) & (numbers >= 0) & (numbers < count)
        places = np.flatnonzero(is_element)
        if len(places) != count:
            return None
        positions = np.full(count, -1, np.int32)
        positions[numbers[places]] = places
        if (positions < 0).any():
            return None
        steps = compacted(positions.reshape(shape[0], -1))
        if steps is None:
            return None
        return HalfPlace(size=len(opposite) // 2, **steps._asdict())

    def _twin(self, name: str, digit: int) -> _Bytes:
        """Return a weight whose elements hold a digit of their numbers; the last twin the opposite of the first."""
        shape = self._shapes[name]
        shift = self._shifts[name]
        count = 2 * math.prod(shape)
        numbers = np.arange(shift, shift + count, dtype=np.int32)
        place = digit % self._digits
        halves: _Bytes = (numbers >> BITS * place & MASK).astype(np.uint8)
        if digit == self._digits:
            halves ^= MASK
        return joined(halves).reshape(shape)


def _digits_for(numbers: int) -> int:
    """Return how many hexadecimal digits tell so many numbers apart.

    >>> _digits_for(16), _digits_for(17)
    (1, 2)
    """
    digits = 1
    while 1 << BITS * digits < numbers:
        digits += 1
    return digits
