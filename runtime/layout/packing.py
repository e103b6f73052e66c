"""Where kernels keep the elements of the weights that they pack: found by probing.

ONNX Runtime can save a graph with its packed weights. A block of packed int8 weights begins with the sum of each output
channel's weights, the bytes of the weights follow, moved and padded; in one of floats they are moved and padded only.
Twins of the graph are packed whose weights hold their own element numbers, floats as raw bits, bytes digit by digit:
reading their blocks tells where every element went. Nothing found here is believed: whoever uses a place first compares
the block with the weight it was packed from (``PackedPlace.explains``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from ftonnx.files import scratch_folder
from ftonnx.runtime.layout.halves import HalfPlace, find_halves
from ftonnx.runtime.layout.packed_graph import PackedGraph, packed_graph
from ftonnx.runtime.layout.packed_place import PackedPlace, by_channel, channel_sums, has_parts, sum_positions
from ftonnx.runtime.layout.steps import compacted
from ftonnx.sessions import SessionOptions, give_back

__all__ = ["Packing", "can_be_packed", "find_packing"]

_BASE: Final = 255  # digits are 1 to 255, as 0 is what padding holds
_SUM_BYTES: Final = 4
_FLOAT_BYTES: Final = 4
_MATRIX: Final = 2  # axes; only a matrix may have its channels last
_Bytes = NDArray[np.uint8]


Packing = Mapping[str, PackedPlace | HalfPlace]
"""Places by the name of the weight."""


def can_be_packed(array: NDArray[Any]) -> bool:
    """Say whether an array is such a weight that a kernel may pack it."""
    if not array.size:
        return False
    if _is_float(array):
        return array.ndim == _MATRIX
    return array.dtype.itemsize == 1 and array.ndim > 1


def find_packing(model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]], options: SessionOptions) -> Packing:
    """Find where kernels keep weights that they pack.

    Args:
        model: an optimized graph.
        arrays: initializers for which it carries no bytes, by name; the weights in question are among them.
        options: how the session will be opened.

    Returns:
        Places of those that are packed by moving their elements and adding up channels, and no others.
    """
    found: dict[str, PackedPlace | HalfPlace] = {**find_halves(model, arrays, options)}
    weights = [name for name, array in arrays.items() if can_be_packed(array) and name not in found]
    if not weights:
        return found
    with scratch_folder() as folder:
        twins = _Twins(model, arrays, weights, options, folder)
        alike: dict[tuple[Any, ...], PackedPlace] = {}
        # one after the other: what the twins say of a weight takes several times its size
        for name in weights:
            kind = (arrays[name].shape, arrays[name].dtype, twins.groups(name))
            place = twins.confirmed(name, alike.get(kind)) or twins.place(name)
            if place is not None:
                alike[kind] = place
                found[name] = place
    give_back()
    return found


# ------------------------------------------------------------------ the twins


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A weight's block, as the twins show it.

    Attributes:
        numbers: per word of an element's width, the element that it is of, where it is of one.
        moved: which words may be.
        first: the block of the first twin.
        twin: the weight there, of the weight's own type and shape.
    """

    numbers: NDArray[np.int32]
    moved: NDArray[np.bool_]
    first: _Bytes
    twin: NDArray[Any]


class _Twins:
    """Graphs whose weights hold one digit each of their elements' numbers, floats the whole number, packed."""

    def __init__(
        self,
        model: onnx.ModelProto,
        arrays: Mapping[str, NDArray[Any]],
        weights: Collection[str],
        options: SessionOptions,
        folder: Path,
    ) -> None:
        sizes = {name: arrays[name].size for name in weights}
        # floats hold their numbers whole, whatever the digit
        in_bytes = [sizes[name] for name in weights if not _is_float(arrays[name])]
        self._model = model
        self._arrays = arrays
        self._shifts = _shifts(sizes)
        self._packed: list[PackedGraph] = []
        for digit in range(_digits_for(max(in_bytes, default=1))):
            own = folder / str(digit)
            own.mkdir()
            held = {name: self._twin(name, digit) if name in sizes else array for name, array in arrays.items()}
            self._packed.append(packed_graph(model, held, weights, options, own))
            del held

    def confirmed(self, name: str, place: PackedPlace | None) -> PackedPlace | None:
        """Return the place of a weight of the same kind if the first twin has this one there too: they mostly have."""
        found = self._packed[0].blocks.get(name)
        if place is None or not found:
            return None
        block = found[0].read(self._packed[0].path)
        return place if place.explains(block, self._twin(name, 0)) else None

    def place(self, name: str) -> PackedPlace | None:
        """Read a weight's place from its digits; None where it is not packed, or not by moving and adding up."""
        block = self._block(name)
        return None if block is None else _place(block, self.groups(name))

    def _block(self, name: str) -> _Block | None:
        """Return a weight's block; None where a twin lacks it, or they have different ones."""
        return self._block_of_floats(name) if _is_float(self._arrays[name]) else self._block_of_bytes(name)

    def _block_of_floats(self, name: str) -> _Block | None:
        found = self._packed[0].blocks.get(name)
        if not found:
            return None
        block = found[0].read(self._packed[0].path)
        if len(block) % _FLOAT_BYTES:
            return None
        # padding, which is 0, becomes the largest number there is, or one close to it
        numbers = block.view(np.uint32) - np.uint32(self._shifts[name] + 1)
        moved = numbers < self._arrays[name].size
        return _Block(
            numbers=numbers.view(np.int32),
            moved=moved,
            first=block,
            twin=self._twin(name, 0),
        )

    def _block_of_bytes(self, name: str) -> _Block | None:
        digits: list[_Bytes] = []
        for packed in self._packed:
            found = packed.blocks.get(name)
            if not found:
                return None
            digits.append(found[0].read(packed.path))
        if len({len(digit) for digit in digits}) > 1:
            return None
        numbers = np.zeros(len(digits[0]), np.int32)
        moved = np.ones(len(digits[0]), bool)
        for place, digit in enumerate(digits):
            moved &= digit > 0
            numbers += _worth(self._shifts[name], place)[digit]
        moved &= numbers < self._arrays[name].size
        return _Block(
            numbers=numbers,
            moved=moved,
            first=digits[0],
            twin=self._twin(name, 0),
        )

    def groups(self, name: str) -> int:
        """Return in how many groups of channels a weight is used."""
        groups = 1
        for node in self._model.graph.node:
            if name not in node.input:
                continue
            for attribute in node.attribute:
                if attribute.name == "group":
                    groups = max(groups, attribute.i)
        return groups

    def _twin(self, name: str, digit: int) -> NDArray[Any]:
        array = self._arrays[name]
        if _is_float(array):
            first = self._shifts[name] + 1
            numbers = np.arange(first, first + array.size, dtype=np.uint32)
            return numbers.view(array.dtype).reshape(array.shape)
        digits = _digit_bytes(array.size, self._shifts[name], digit)
        return digits.view(array.dtype).reshape(array.shape)


def _digits_for(numbers: int) -> int:
    """Return how many digits tell so many numbers apart.

    >>> _digits_for(255), _digits_for(256), _digits_for(2359296)
    (1, 2, 3)
    """
    digits = 1
    while _BASE**digits < numbers:
        digits += 1
    return digits


def _shifts(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return what is added to the digits of weights, so that no two of one size are equal: those are stored once.

    >>> _shifts({"a": 4096, "b": 4096, "c": 2048})
    {'a': 0, 'b': 1, 'c': 0}
    """
    shifts: dict[str, int] = {}
    seen: dict[int, int] = {}
    for name, size in sizes.items():
        shifts[name] = seen.get(size, 0)
        seen[size] = shifts[name] + 1
    return shifts


def _digit_bytes(count: int, shift: int, digit: int) -> _Bytes:
    """Return one digit of the numbers from 0 on, shifted, and none of them 0.

    >>> _digit_bytes(4, 252, 0).tolist(), _digit_bytes(4, 252, 1).tolist()
    ([253, 254, 255, 1], [253, 253, 253, 253])
    """
    step = _BASE**digit
    # so many different ones before they begin anew, or the weight ends
    different = min(_BASE, -(-count // step))
    digits = (np.arange(different) + shift) % _BASE + 1
    cycle = np.repeat(digits.astype(np.uint8), step)
    return np.resize(cycle, count)


def _worth(shift: int, digit: int) -> NDArray[np.int32]:
    """Return what each byte stands for that ``_digit_bytes`` gives.

    >>> _worth(0, 0)[[1, 2, 255]].tolist(), _worth(253, 1)[[254, 1]].tolist()
    ([0, 1, 254], [0, 510])
    """
    every = np.arange(1 << 8, dtype=np.int32)
    worth: NDArray[np.int32] = (every - 1 - shift) % _BASE * _BASE**digit
    return worth


def _place(block: _Block, groups: int) -> PackedPlace | None:
    """Read a place from the twins' blocks; None where the weight was not just moved and added up."""
    weight = block.twin
    orders = [False, True] if weight.ndim == _MATRIX else [False]
    for channels_last in orders:
        channels = weight.shape[-1] if channels_last else weight.shape[0]
        moved = block.moved
        if not _is_float(weight):
            if not _has_sums(block, channels_last, groups):
                continue
            moved = _without_sums(moved, channels, groups)
        positions = _positions_of(block.numbers, moved, weight.size)
        if positions is None:
            continue
        grid = positions.reshape(-1, channels).T if channels_last else positions.reshape(channels, -1)
        place = _compact(grid, channels_last, groups, block)
        if place is not None:
            return place
    return None


def _has_sums(block: _Block, channels_last: bool, groups: int) -> bool:
    """Say whether the first twin's block begins with the sums of its channels, group by group."""
    rows = by_channel(block.twin, channels_last)
    channels = len(rows)
    size = len(block.first)
    if not has_parts(size, channels, groups):
        return False
    words = block.first.view(np.int32)
    where = sum_positions(np.arange(channels), channels, groups, len(words))
    return np.array_equal(words[where], channel_sums(rows))


def _without_sums(moved: NDArray[np.bool_], channels: int, groups: int) -> NDArray[np.bool_]:
    parts = moved.reshape(groups, -1).copy()
    end = channels // groups * _SUM_BYTES
    parts[:, :end] = False
    return parts.reshape(-1)


def _positions_of(numbers: NDArray[np.int32], moved: NDArray[np.bool_], count: int) -> NDArray[np.int32] | None:
    """Return each element's position; None where one has none, or several."""
    places = np.flatnonzero(moved)
    if len(places) != count:
        return None
    found = np.full(count, -1, np.int32)
    found[numbers[places]] = places
    return None if (found < 0).any() else found


def _compact(grid: NDArray[np.int32], channels_last: bool, groups: int, block: _Block) -> PackedPlace | None:
    """Describe positions (channels, elements of a channel) by few numbers; None where they are of another kind."""
    found = compacted(grid)
    if found is None:
        return None
    return PackedPlace(
        width=block.twin.itemsize,
        channels_last=channels_last,
        groups=groups,
        size=len(block.first),
        **found._asdict(),
    )


def _is_float(array: NDArray[Any]) -> bool:
    return array.dtype == np.float32
