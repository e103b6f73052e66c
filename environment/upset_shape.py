"""What one upset does to a memory: how many bits it flips, and which bits are neighbours."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from ftonnx.environment.memory_map import MemoryMap
from ftonnx.environment.multiplicity import SINGLE, Multiplicity
from ftonnx.errors import UsageError
from ftonnx.words import near, text

__all__ = ["Along", "UpsetShape"]

Along = Literal["bits", "words", "row", "column", "block"]
"""Which bits are neighbours: those of an element and then of the next one; the same bit of one element after the other,
as memories lie that interleave words; or, of a map of the memory, the next cells of the row, those of the next rows in
the same column, or both by turns, so that a block of two rows is filled."""

_MAPPED: Final = ("row", "column", "block")
_WORDS: Final = {
    "bits": "neighbouring bits",
    "words": "bits at the same place of neighbouring elements",
    "row": "neighbouring cells of a row",
    "column": "neighbouring cells of a column",
    "block": "neighbouring cells of two rows",
}


@dataclass(frozen=True, slots=True, init=False)
class UpsetShape:
    """How many bits an upset flips, and where they lie.

    Attributes:
        sizes: numbers of bits, 1 to 64, with their shares of the upsets.
        along: which bits are neighbours, see ``Along``.
        memory: the map of the memory, where neighbours are told by it; None elsewhere.

    Raises:
        UsageError: a value is out of range, or there is no map where neighbours are told by one, or one elsewhere.

    >>> UpsetShape("2:0.9,4:0.1", "row", "words=32,columns=64").words
    '2 (90 %) or 4 (10 %) neighbouring cells of a row (words=32,columns=64,interleave=1)'
    """

    sizes: Multiplicity
    along: Along
    memory: MemoryMap | None

    def __init__(self, sizes: str | int = SINGLE, along: str = "bits", memory: str | None = None) -> None:
        along = text("along", along)
        if along not in get_args(Along):
            listed = ", ".join(get_args(Along))
            raise UsageError(f"neighbours along {listed} were expected, got {along!r}{near(along, get_args(Along))}")
        if (along in _MAPPED) != (memory is not None):
            raise UsageError(
                f"a map of the memory belongs to neighbours along {', '.join(_MAPPED)}: `memory=words=32,columns=512` "
                f"was expected with these, and with no other; got {along} and {memory or 'no map'}"
            )
        object.__setattr__(self, "sizes", Multiplicity.parse(sizes))
        object.__setattr__(self, "along", along)
        object.__setattr__(self, "memory", None if memory is None else MemoryMap.parse(text("memory", memory)))

    @property
    def map_text(self) -> str | None:
        """The map as it is read; None where there is none."""
        return None if self.memory is None else self.memory.text

    @property
    def words(self) -> str:
        """What a burst is."""
        mapped = "" if self.memory is None else f" ({self.memory.text})"
        return f"{self.sizes.words} {_WORDS[self.along]}{mapped}"
