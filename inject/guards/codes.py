"""Codes that guard words of stored bits: what they store beside them, and what they make of flips.

All of them are linear, so that what a decoder does depends on which bits flipped and not on what they were.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject.guards.dealing import Dealing, Place
from ftonnx.inject.guards.hsiao import CHECK_BITS, DETECTED, columns, meanings

__all__ = ["CODES", "Code", "Decoding", "Duplication", "Parity", "Secded", "Tmr"]

Numbers = NDArray[np.int64]
_NONE: Final[Numbers] = np.zeros(0, np.int64)


class Decoding(NamedTuple):
    """What a decoder makes of the words that have flips.

    Attributes:
        left: int64 (n,), data bits that are wrong afterwards, ascending; of detected words those that flipped.
        detected: int64 (n,), words whose errors are seen and not corrected, ascending.
        corrected: words that are right again.
        miscorrected: words that the decoder takes for corrected, and that are wrong.
        missed: words that are wrong, of which the decoder sees nothing.
    """

    left: Numbers
    detected: Numbers
    corrected: int
    miscorrected: int
    missed: int


class Code(ABC):
    """A way to guard words.

    Attributes:
        name: in plans.
        detects: whether some errors are only detected, so that something is to be done about them.
        copies: how many copies stand beside the data; 0 where it is check bits of words.
    """

    name: ClassVar[str]
    detects: ClassVar[bool] = True
    copies: ClassVar[int] = 0

    def check_width(self, word_bits: int) -> int:
        """Return the check bits of a word; 0 where copies are kept."""
        return 0

    def columns(self, word_bits: int) -> NDArray[np.uint8]:
        """Return the columns of the parity-check matrix, the data bits' first; none where copies are kept."""
        return np.zeros(0, np.uint8)

    @abstractmethod
    def decode(self, dealt: Dealing, data: Numbers, beside: Sequence[Numbers]) -> Decoding:
        """Decode all words that have flips.

        Args:
            dealt: how data bits make words.
            data: int64 (n,), data bits that flipped, distinct.
            beside: bits that flipped in the check bits, as they lie in memory, or in each copy.
        """


class _WithCheckBits(Code):
    """A code whose words have check bits, and whose decoder sees the errors by their syndrome."""

    @final
    def decode(self, dealt: Dealing, data: Numbers, beside: Sequence[Numbers]) -> Decoding:
        """See ``Code``."""
        (checks,) = beside
        flipped = dealt.places(data)
        own = dealt.beside(self.check_width(dealt.width)).places(checks)
        word = np.concatenate((flipped.word, own.word))
        bit = np.concatenate((flipped.bit, dealt.width + own.bit))
        words, syndromes = _syndromes(word, self.columns(dealt.width)[bit])
        meaning = self.meanings(dealt.width)[syndromes]
        repaired, exists = self._repaired(dealt, words, meaning)
        seen = syndromes != 0
        detected = words[seen & ((meaning == DETECTED) | ~exists)]
        left = np.setxor1d(data, repaired, assume_unique=True)
        wrong = np.isin(words, dealt.places(left).word)
        taken = seen & (meaning != DETECTED) & exists
        return Decoding(
            left=left,
            detected=detected,
            corrected=int((taken & ~wrong).sum()),
            miscorrected=int((taken & wrong).sum()),
            missed=int((~seen & wrong).sum()),
        )

    @staticmethod
    def _repaired(dealt: Dealing, words: Numbers, meaning: NDArray[np.int16]) -> tuple[Numbers, NDArray[np.bool_]]:
        """Return the data bits that the decoder flips, and for each word whether it has the bit that is meant."""
        is_data = (meaning != DETECTED) & (meaning < dealt.width)
        found = dealt.numbers(Place(words[is_data], meaning[is_data].astype(np.int64)))
        exists = np.ones(len(words), np.bool_)
        exists[is_data] = found >= 0
        return found[found >= 0], exists

    @abstractmethod
    def meanings(self, word_bits: int) -> NDArray[np.int16]:
        """Return what each syndrome but 0 means: the bit that the decoder flips, or ``DETECTED``."""


class Parity(_WithCheckBits):
    """One bit more, so that the number of ones is even: an odd number of flips is detected."""

    name: ClassVar[str] = "parity"

    def check_width(self, word_bits: int) -> int:
        """Return 1."""
        return 1

    def columns(self, word_bits: int) -> NDArray[np.uint8]:
        """Return ones."""
        return np.ones(word_bits + 1, np.uint8)

    def meanings(self, word_bits: int) -> NDArray[np.int16]:
        """Say that nothing can be corrected."""
        return np.full(2, DETECTED, np.int16)


class Secded(_WithCheckBits):
    """Hsiao's (39,32) or (72,64): one flip is corrected, two are detected, more may be miscorrected or missed."""

    name: ClassVar[str] = "secded"

    def check_width(self, word_bits: int) -> int:
        """Return 7 or 8."""
        return CHECK_BITS[word_bits]

    def columns(self, word_bits: int) -> NDArray[np.uint8]:
        """See ``hsiao``."""
        return columns(word_bits)

    def meanings(self, word_bits: int) -> NDArray[np.int16]:
        """See ``hsiao``."""
        return meanings(word_bits)


class Duplication(Code):
    """One copy more: words that differ are detected."""

    name: ClassVar[str] = "duplication"
    copies: ClassVar[int] = 1

    def decode(self, dealt: Dealing, data: Numbers, beside: Sequence[Numbers]) -> Decoding:
        """See ``Code``."""
        (copy,) = beside
        differing = np.setxor1d(data, copy)
        detected = np.unique(dealt.places(differing).word)
        wrong = np.unique(dealt.places(data).word)
        missed = len(np.setdiff1d(wrong, detected))
        return Decoding(np.sort(data), detected, corrected=0, miscorrected=0, missed=missed)


class Tmr(Code):
    """Two copies more, of which the majority is taken bit by bit."""

    name: ClassVar[str] = "tmr"
    detects: ClassVar[bool] = False
    copies: ClassVar[int] = 2

    def decode(self, dealt: Dealing, data: Numbers, beside: Sequence[Numbers]) -> Decoding:
        """See ``Code``."""
        bits, votes = np.unique(np.concatenate((data, *beside)), return_counts=True)
        left = bits[votes >= 2]
        words = np.unique(dealt.places(bits).word)
        wrong = np.unique(dealt.places(left).word)
        # the voters see a difference unless all three copies flipped alike
        seen = np.unique(dealt.places(bits[votes < 3]).word)
        miscorrected = len(np.intersect1d(wrong, seen))
        return Decoding(
            left=left,
            detected=_NONE,
            corrected=len(words) - len(wrong),
            miscorrected=miscorrected,
            missed=len(wrong) - miscorrected,
        )


def _syndromes(word: Numbers, column: NDArray[np.uint8]) -> tuple[Numbers, NDArray[np.uint8]]:
    """Return the distinct words, ascending, and the sum modulo 2 of the columns of each.

    >>> [found.tolist() for found in _syndromes(np.array([7, 2, 7]), np.array([3, 4, 1], np.uint8))]
    [[2, 7], [4, 2]]
    """
    if not len(word):
        return _NONE, np.zeros(0, np.uint8)
    order = np.argsort(word, kind="stable")
    words, first = np.unique(word[order], return_index=True)
    sums: NDArray[np.uint8] = np.bitwise_xor.reduceat(column[order], first)
    return words, sums


CODES: Final[Mapping[str, Code]] = {code.name: code for code in (Parity(), Secded(), Tmr(), Duplication())}
"""All of them; a new one needs a line here."""
