"""How bits that lie one behind the other are dealt out to code words."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dealing", "Place"]

Numbers = NDArray[np.int64]


class Place(NamedTuple):
    """Where bits are in code words.

    Attributes:
        word: int64 (n,), its number.
        bit: int64 (n,), which of the word's bits, from 0.
    """

    word: Numbers
    bit: Numbers


@dataclass(frozen=True, slots=True)
class Dealing:
    """Words of ``width`` bits each, ``interleave`` of which take turns, so that neighbours are in different words.

    The last words, which share what is left, may be shorter.

    Attributes:
        bits: their number.
        width: bits of a word.
        interleave: words that take turns.
        words: their number.

    >>> dealt = Dealing.of(10, 4, 2)
    >>> place = dealt.places(np.arange(10))
    >>> dealt.words, place.word.tolist(), place.bit.tolist()
    (4, [0, 1, 0, 1, 0, 1, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3, 0, 0])
    """

    bits: int
    width: int
    interleave: int
    words: int

    @classmethod
    def of(cls, bits: int, width: int, interleave: int) -> "Dealing":
        """Deal out bits to as many words as they need, so that ``interleave`` neighbours are in different ones."""
        full, rest = divmod(bits, width * interleave)
        return cls(bits, width, interleave, full * interleave + min(rest, interleave))

    def beside(self, width: int) -> "Dealing":
        """Return how bits that belong to the same words lie, ``width`` of each, interleaved alike."""
        return Dealing(self.words * width, width, self.interleave, self.words)

    @property
    def _full_blocks(self) -> int:
        """Groups of words that take turns and have all their bits."""
        return self.bits // (self.width * self.interleave)

    def _taking_turns(self, block: Numbers) -> Numbers:
        """Return how many words take turns in each block; in the last one it may be fewer."""
        last = self.words - self._full_blocks * self.interleave
        return np.where(block < self._full_blocks, self.interleave, max(last, 1))

    def places(self, bits: Numbers) -> Place:
        """Return where bits are, given by their numbers."""
        size = self.width * self.interleave
        block = np.minimum(bits // size, self._full_blocks)
        words = self._taking_turns(block)
        turn, first = np.divmod(bits - block * size, words)
        return Place(block * self.interleave + first, turn)

    def numbers(self, place: Place) -> Numbers:
        """Return the numbers of bits, -1 for those that a shorter word does not have.

        >>> Dealing.of(10, 4, 2).numbers(Place(np.array([1, 3, 3]), np.array([3, 0, 1]))).tolist()
        [7, 9, -1]
        """
        block, first = np.divmod(place.word, self.interleave)
        words = self._taking_turns(block)
        found = block * (self.width * self.interleave) + first + place.bit * words
        return np.where(found < self.bits, found, -1)

    def of_words(self, words: Numbers) -> Numbers:
        """Return the numbers of all bits of some distinct words, ascending."""
        word = np.repeat(words, self.width)
        bit = np.tile(np.arange(self.width), len(words))
        found = self.numbers(Place(word, bit))
        return np.sort(found[found >= 0])
