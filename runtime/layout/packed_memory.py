"""Packed weights in a mapped file, changed as the arrays that they were packed from are changed.

All weights are looked up in one go: a run with few faults changes some elements of every weight, and numpy's calls
would cost more than what they do.
"""

import mmap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import message_of
from ftonnx.inject.formats import Undo
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.layout.halves import HalfPlace
from ftonnx.runtime.layout.memory import Memory
from ftonnx.runtime.layout.packed_graph import PackedBlock, PackedGraph
from ftonnx.runtime.layout.packed_halves import PackedHalves
from ftonnx.runtime.layout.packed_place import PackedPlace
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.layout.pages import CopiedPages

__all__ = ["PackedMemory"]

_SUM_BYTES: Final = 4
_LARGEST: Final = 127  # of int8
_CODES: Final = 256
_Numbers = NDArray[np.int64]


class PackedMemory:
    """The file's bytes, and where the elements of weights lie in it.

    What is written here is seen by every session that maps the file privately and has not written into its mapping.

    Attributes:
        names: of the weights that can be followed.
    """

    def __init__(self, saved: PackedGraph, packing: Packing, memory: Memory, names: Collection[str]) -> None:
        """Map the file and compare its blocks with the weights, which must be the original ones now.

        Args:
            saved: the graph with the file, which may be removed afterwards.
            packing: where weights lie in their blocks; those whose blocks are of another kind are left out.
            memory: holds the weights.
            names: of those in question.

        Raises:
            NotPossibleError: the file cannot be mapped.
        """
        self._bytes = _mapped(saved.path) if saved.blocks else np.zeros(0, np.uint8)
        whole_words = len(self._bytes) // _SUM_BYTES
        self._words = self._bytes[: whole_words * _SUM_BYTES].view(np.int32)
        halves = {name: place for name, place in packing.items() if isinstance(place, HalfPlace)}
        self._halves = PackedHalves(saved, self._bytes, halves, memory, names)
        places = {name: place for name, place in packing.items() if isinstance(place, PackedPlace)}
        found = self._followed(saved, places, {name: memory.arrays[name] for name in names})
        self.names: Collection[str] = {*found, *self._halves.names}
        # weights by the width of their elements; an undo names no array, its words are the memory's own
        self._numbers: dict[bool, dict[int, list[int]]] = {True: {}, False: {}}
        entries: dict[bool, list[_Entry]] = {True: [], False: []}
        for name, own in found.items():
            place = places[name]
            blocks = entries[place.has_sums]
            numbers = self._numbers[place.has_sums].setdefault(id(memory.weights.arrays[name]), [])
            for block in own:
                numbers.append(len(blocks))
                signed = memory.arrays[name].dtype.kind == "i"
                blocks.append(_Entry(place, block.offset, signed))
        self._tables = _Tables.of(entries[True])
        self._float_tables = _Tables.of(entries[False])
        self._pages = CopiedPages([self._bytes])
        # they were read to be compared; what a session reads is mapped by itself
        self._pages.give_back()

    def follow(self, changes: Sequence[Undo], undos: list[Undo]) -> None:
        """Change the packed weights as arrays were changed, and keep the sums of their channels right.

        Args:
            changes: what was overwritten in the arrays, which hold the new words; other arrays are passed over.
            undos: gets what puts the packed weights back, before anything is written.
        """
        self._halves.follow(changes, undos)
        self._follow_bytes(_Changed.of(changes, self._numbers[True]), undos)
        self._follow_floats(_Changed.of(changes, self._numbers[False]), undos)

    def restored(self, elements: int) -> None:
        """Note that so many elements have their original values again."""
        self._pages.restored(elements)

    def give_back(self) -> None:
        """Take the file's pages out of this process's resident set; every element has its original value."""
        self._pages.give_back()

    def _follow_bytes(self, changed: "_Changed | None", undos: list[Undo]) -> None:
        if changed is None:
            return
        positions, sums = self._tables.find(changed.which, changed.elements)
        new = self._tables.values(changed.which, changed.after)
        added = new - self._tables.values(changed.which, changed.before)
        # noted before anything is written: an interrupt may come in between
        undos.append(Undo(self._bytes, positions, self._bytes[positions]))
        undos.append(Undo(self._words, sums, self._words[sums]))
        self._bytes[positions] = changed.after
        # several elements of one channel may have changed
        np.add.at(self._words, sums, added)

    def _follow_floats(self, changed: "_Changed | None", undos: list[Undo]) -> None:
        if changed is None:
            return
        positions, _ = self._float_tables.find(changed.which, changed.elements)
        undos.append(Undo(self._words, positions, self._words[positions]))
        self._words[positions] = changed.after.view(self._words.dtype)

    def _followed(
        self, saved: PackedGraph, packing: Mapping[str, PackedPlace], arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, tuple[PackedBlock, ...]]:
        """Return the blocks of weights that lie where they should."""
        found: dict[str, tuple[PackedBlock, ...]] = {}
        contents: set[str] = set()
        for name, blocks in saved.blocks.items():
            if name not in packing or name not in arrays:
                continue
            own = {block.content for block in blocks}
            # two weights with one block could not be flipped apart
            if not contents.isdisjoint(own):
                continue
            if all(self._is_explained(block, packing[name], arrays[name]) for block in blocks):
                contents |= own
                found[name] = blocks
        return found

    def _is_explained(self, block: PackedBlock, place: PackedPlace, weight: NDArray[Any]) -> bool:
        aligned = block.offset % _SUM_BYTES == 0
        return aligned and place.explains(block.of(self._bytes), weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changed:
    """Elements of blocks that have changed; all arrays are of one length.

    Attributes:
        which: numbers of the blocks.
        elements: of their weights.
        before: the old words.
        after: the new words.
    """

    which: _Numbers
    elements: _Numbers
    before: NDArray[Any]
    after: NDArray[Any]

    @classmethod
    def of(cls, changes: Sequence[Undo], numbers: Mapping[int, Sequence[int]]) -> "_Changed | None":
        """Look up changes in arrays whose blocks have these numbers; None where there are none."""
        which: list[int] = []
        counts: list[int] = []
        elements: list[_Numbers] = []
        before: list[NDArray[Any]] = []
        after: list[NDArray[Any]] = []
        for change in changes:
            for number in numbers.get(id(change.words), ()):
                which.append(number)
                counts.append(len(change.index))
                elements.append(change.index)
                before.append(change.previous)
                after.append(change.words[change.index])
        if not which:
            return None
        return cls(
            which=np.repeat(which, counts),
            elements=np.concatenate(elements),
            before=np.concatenate(before),
            after=np.concatenate(after),
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One block in the file.

    Attributes:
        place: where its weight's elements lie in it.
        offset: where it begins in the file, in bytes.
        signed: whether its elements are signed.
    """

    place: PackedPlace
    offset: int
    signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """The places of all blocks, one behind the other; see ``PackedPlace`` for what they mean.

    Attributes:
        offset: per block, where it begins in the file, in elements of its weight.
        word: per block, where it begins in the file, in words of four bytes.
        signed: per block, whether its elements are signed.
        channels_last: per block.
        channels: per block.
        per_group: per block, channels in a group.
        group_words: per block, int32 words of a group.
        inner: per block, elements between two steps along the weight's first axis.
        column: per block, where its part of ``below`` and ``run`` begins.
        row: per block, where its part of ``steps`` begins.
        below: of all blocks.
        run: of all blocks.
        steps: of all blocks.
    """

    offset: _Numbers
    word: _Numbers
    signed: NDArray[np.bool_]
    channels_last: NDArray[np.bool_]
    channels: _Numbers
    per_group: _Numbers
    group_words: _Numbers
    inner: _Numbers
    column: _Numbers
    row: _Numbers
    below: _Numbers
    run: _Numbers
    steps: _Numbers

    @classmethod
    def of(cls, entries: Sequence[_Entry]) -> Self:
        places = [entry.place for entry in entries]
        channels_last = np.array([place.channels_last for place in places], bool)
        channels = _each(place.channels for place in places)
        below = _each(len(place.below) for place in places)
        return cls(
            offset=_each(entry.offset // entry.place.width for entry in entries),
            word=_each(entry.offset // _SUM_BYTES for entry in entries),
            signed=np.array([entry.signed for entry in entries], bool),
            channels_last=channels_last,
            channels=channels,
            per_group=_each(place.channels // place.groups for place in places),
            group_words=_each(place.size // _SUM_BYTES // place.groups for place in places),
            inner=np.where(channels_last, channels, below),
            column=_starts(below.tolist()),
            row=_starts(place.steps.size for place in places),
            below=_joined(place.below for place in places),
            run=_joined(place.run for place in places),
            steps=_joined(place.steps for place in places),
        )

    def find(self, which: _Numbers, elements: _Numbers) -> tuple[_Numbers, _Numbers]:
        """Return where elements of the numbered blocks lie, in elements, and the sums of their channels, in words."""
        outer, inner = np.divmod(elements, self.inner[which])
        last = self.channels_last[which]
        channel = np.where(last, inner, outer)
        column = self.column[which] + np.where(last, outer, inner)
        step = self.row[which] + self.run[column] * self.channels[which] + channel
        positions = self.offset[which] + self.below[column] + self.steps[step]
        per_group = self.per_group[which]
        group = channel // per_group
        within = channel - group * per_group
        sums = self.word[which] + group * self.group_words[which] + within
        return positions, sums

    def values(self, which: _Numbers, words: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return bytes as the numbers that their weights' types see in them."""
        values = words.astype(np.int32)
        negative = self.signed[which] & (words > _LARGEST)
        values[negative] -= _CODES
        return values


def _each(numbers: Iterable[int]) -> _Numbers:
    return np.fromiter(numbers, np.int64)


def _starts(sizes: Iterable[int]) -> _Numbers:
    """Return where pieces of these sizes begin, one behind the other.

    >>> _starts([3, 4, 5]).tolist()
    [0, 3, 7]
    """
    each = _each(sizes)
    ends: _Numbers = np.cumsum(each)
    return ends - each


def _joined(tables: Iterable[NDArray[np.int32]]) -> _Numbers:
    flat = [table.ravel() for table in tables]
    return np.concatenate([np.zeros(0, np.int64), *flat]).astype(np.int64)


def _mapped(path: Path) -> NDArray[np.uint8]:
    """Return a file's content, shared with all who map it.

    Raises:
        NotPossibleError: it cannot be mapped.
    """
    try:
        with path.open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), 0)
    except OSError as error:
        raise NotPossibleError(f"the packed weights cannot be mapped: {message_of(error)}") from error
    return np.frombuffer(mapping, np.uint8)
