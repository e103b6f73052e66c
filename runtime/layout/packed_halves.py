"""Packed four-bit weights in a mapped file, changed half byte by half byte as the arrays they were packed from change.

All weights are looked up in one go, as in ``packed_memory``: numpy's calls would cost more than what they do.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject.formats import Undo
from ftonnx.runtime.layout.half_bytes import BITS, MASK
from ftonnx.runtime.layout.halves import HalfPlace
from ftonnx.runtime.layout.memory import Memory
from ftonnx.runtime.layout.packed_graph import PackedBlock, PackedGraph

__all__ = ["PackedHalves"]

_BOTH = np.arange(2)  # halves of a byte, the low one first
_Numbers = NDArray[np.int64]
_Bytes = NDArray[np.uint8]


class PackedHalves:
    """The blocks of four-bit weights, and where their elements lie in the file.

    Attributes:
        names: of the weights that can be followed.
    """

    def __init__(
        self,
        saved: PackedGraph,
        memory_of_file: _Bytes,
        places: Mapping[str, HalfPlace],
        memory: Memory,
        names: Collection[str],
    ) -> None:
        """Compare the blocks with the weights, which must be the original ones now.

        Args:
            saved: the graph with the file.
            memory_of_file: the file's bytes, shared with all who map it.
            places: where weights lie in their blocks.
            memory: holds the weights.
            names: of those in question.
        """
        self.names: list[str] = []
        self._bytes = memory_of_file
        self._numbers: dict[int, list[int]] = {}
        entries: list[tuple[HalfPlace, int]] = []
        contents: set[str] = set()
        for name, blocks in saved.blocks.items():
            if name not in places or name not in names:
                continue
            place = places[name]
            own = {block.content for block in blocks}
            # two weights with one block could not be flipped apart
            if not contents.isdisjoint(own) or not self._explained(blocks, place, memory.arrays[name]):
                continue
            contents |= own
            self.names.append(name)
            # an undo names no array; its words are the memory's own
            numbers = self._numbers.setdefault(id(memory.weights.arrays[name]), [])
            for block in blocks:
                numbers.append(len(entries))
                entries.append((place, block.offset))
        self._tables = _Tables.of(entries)

    def follow(self, changes: Sequence[Undo], undos: list[Undo]) -> None:
        """Change the packed weights as arrays were changed; see ``PackedMemory.follow``."""
        numbers: list[int] = []
        counts: list[int] = []
        places: list[_Numbers] = []
        after: list[_Bytes] = []
        for change in changes:
            for number in self._numbers.get(id(change.words), ()):
                numbers.append(number)
                counts.append(len(change.index))
                places.append(change.index)
                after.append(change.words[change.index])
        if not numbers:
            return
        which = np.repeat(numbers, counts)
        positions = self._tables.find(which, np.concatenate(places))
        byte = (positions // 2).reshape(-1)
        shift = (positions % 2 * BITS).astype(np.uint8)
        new = np.concatenate(after)[:, np.newaxis] >> (_BOTH * BITS).astype(np.uint8) & MASK
        # noted before anything is written: an interrupt may come in between
        undos.append(Undo(self._bytes, byte, self._bytes[byte]))
        # one byte may get both of its halves, and a half may be written twice
        np.bitwise_and.at(self._bytes, byte, ~(np.uint8(MASK) << shift).reshape(-1))
        np.bitwise_or.at(self._bytes, byte, (new << shift).reshape(-1))

    def _explained(self, blocks: Sequence[PackedBlock], place: HalfPlace, weight: NDArray[Any]) -> bool:
        return all(place.explains(block.of(self._bytes), weight) for block in blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """The places of all blocks, one behind the other; see ``HalfPlace`` for what they mean.

    Attributes:
        offset: per block, where it begins in the file, in half bytes.
        inner: per block, elements of a channel.
        channels: per block.
        column: per block, where its part of ``below`` and ``run`` begins.
        row: per block, where its part of ``steps`` begins.
        below: of all blocks.
        run: of all blocks.
        steps: of all blocks.
    """

    offset: _Numbers
    inner: _Numbers
    channels: _Numbers
    column: _Numbers
    row: _Numbers
    below: _Numbers
    run: _Numbers
    steps: _Numbers

    @classmethod
    def of(cls, entries: Sequence[tuple[HalfPlace, int]]) -> Self:
        places = [place for place, _ in entries]
        inner = _each(len(place.below) for place in places)
        return cls(
            offset=_each(2 * offset for _, offset in entries),
            inner=inner,
            channels=_each(place.steps.shape[1] for place in places),
            column=_starts(inner),
            row=_starts(_each(place.steps.size for place in places)),
            below=_joined(place.below for place in places),
            run=_joined(place.run for place in places),
            steps=_joined(place.steps for place in places),
        )

    def find(self, which: _Numbers, index: _Numbers) -> _Numbers:
        """Return where both halves of a weight's bytes lie, (bytes, 2), in half bytes of the file."""
        elements = 2 * index[:, np.newaxis] + _BOTH
        block = which[:, np.newaxis]
        channel, number = np.divmod(elements, self.inner[block])
        column = self.column[block] + number
        step = self.row[block] + self.run[column] * self.channels[block] + channel
        found: _Numbers = self.offset[block] + self.below[column] + self.steps[step]
        return found


def _each(numbers: Iterable[int]) -> _Numbers:
    return np.fromiter(numbers, np.int64)


def _starts(sizes: _Numbers) -> _Numbers:
    """Return where pieces of these sizes begin, one behind the other."""
    ends: _Numbers = np.cumsum(sizes)
    return ends - sizes


def _joined(tables: Iterable[NDArray[np.int32]]) -> _Numbers:
    flat = [table.ravel() for table in tables]
    return np.concatenate([np.zeros(0, np.int64), *flat]).astype(np.int64)
