"""One tensor's bits behind one guard: which they are, how they make words, and what stands beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject.faults import Faults
from ftonnx.inject.formats import RawBits, Words
from ftonnx.inject.guards.chosen_bits import bits_of
from ftonnx.inject.guards.codes import CODES, Code
from ftonnx.inject.guards.dealing import Dealing
from ftonnx.inject.guards.plan import Guard, ProtectionPlan
from ftonnx.inject.target import Target

__all__ = ["CHECK", "Bank", "CheckBits"]

CHECK = "check"
"""The role of memory that a plan adds to a model's."""

_MOST_BITS = 64
_AT_ONCE = 2**16
"""Elements whose bits are looked at together, each bit as a number."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CheckBits(RawBits):
    """Bits that are no number: those of check bits and copies, which a model does not hold.

    Attributes:
        code: whose they are.
        width: bits of an element.
    """

    code: str
    width: int

    @property
    def name(self) -> str:
        """The code's."""
        return self.code

    @property
    def bits(self) -> int:
        """The width."""
        return self.width


@dataclass(frozen=True, slots=True)
class Bank:
    """The guarded bits of a tensor.

    Attributes:
        target: number of the tensor in the fault space of the model.
        guard: what guards it.
        bits: numbers of each element's guarded bits, ascending.
        dealt: how all guarded bits, element by element, make words.
        tensor: the tensor.
        beside: what is stored besides: arrays with an element for each word's check bits, or for the copied bits of
            each element.
    """

    target: int
    guard: Guard
    bits: tuple[int, ...]
    dealt: Dealing
    tensor: Target
    beside: tuple[Target, ...]

    @classmethod
    def of(cls, plan: ProtectionPlan, guard: Guard, number: int, tensor: Target) -> "Bank":
        """Put a tensor's bits behind a guard.

        Raises:
            UsageError: its elements have no such bits.
        """
        bits = bits_of(guard.bits, tensor)
        dealt = Dealing.of(tensor.elements * len(bits), plan.word_bits, plan.interleave)
        beside = tuple(_beside(CODES[guard.by], tensor, len(bits), dealt))
        return cls(number, guard, bits, dealt, tensor, beside)

    @property
    def code(self) -> Code:
        """What its words are coded by."""
        return CODES[self.guard.by]

    @property
    def guarded_bits(self) -> int:
        """Number of data bits."""
        return self.dealt.bits

    @property
    def check_bits(self) -> int:
        """Number of bits that are stored besides."""
        return sum(array.bits for array in self.beside)

    @property
    def _place_of(self) -> Numbers:
        """Which of the guarded bits each bit of an element is, (64,); -1 for others."""
        places = np.full(_MOST_BITS, -1, np.int64)
        places[list(self.bits)] = np.arange(len(self.bits))
        return places

    def guards(self, bit: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Say of which bits of elements it is the guard."""
        guarded: NDArray[np.bool_] = self._place_of[bit] >= 0
        return guarded

    def numbers(self, element: Numbers, bit: NDArray[np.uint8]) -> Numbers:
        """Return the numbers of guarded bits among all that it guards."""
        return element * len(self.bits) + self._place_of[bit]

    def numbers_beside(self, flips: Sequence[Faults]) -> list[Numbers]:
        """Return the numbers of bits that flipped in each array that is stored besides."""
        widths = [array.format.bits for array in self.beside]
        return [each.element * width + each.bit for each, width in zip(flips, widths, strict=True)]

    def places(self, numbers: Numbers) -> tuple[Numbers, NDArray[np.uint8]]:
        """Return the element and the bit of it that guarded bits are."""
        element, place = np.divmod(numbers, len(self.bits))
        return element, np.array(self.bits, np.uint8)[place]

    def elements_of(self, words: Numbers) -> Numbers:
        """Return the elements that have a bit in one of some distinct words, ascending."""
        numbers = self.dealt.of_words(words)
        return np.unique(numbers // len(self.bits))

    def stored_beside(self, words: Words) -> list[Words]:
        """Return what is stored besides without faults, as ``beside`` has it, given the tensor's words."""
        width = self.code.check_width(self.dealt.width)
        if width:
            return [self._in_memory(self._checks(words), width)]
        pieces = [_packed(ones) for _, ones in self._pieces(words)]
        copy = np.concatenate(pieces).astype(_unsigned(len(self.bits)))
        return [copy] * self.code.copies

    def _pieces(self, words: Words) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        """Yield the guarded bits of some elements at a time, (elements, bits), with the number of the first one."""
        shifts = np.array(self.bits, np.uint64)
        for start in range(0, self.tensor.elements, _AT_ONCE):
            elements = np.arange(start, min(start + _AT_ONCE, self.tensor.elements))
            codes = self.tensor.format.codes(words, elements)
            yield start, (codes[:, np.newaxis] >> shifts) & np.uint64(1)

    def _checks(self, words: Words) -> NDArray[np.uint8]:
        """Return the check bits of every word, (words,)."""
        columns = self.code.columns(self.dealt.width)
        checks = np.zeros(self.dealt.words, np.uint8)
        for start, ones in self._pieces(words):
            place = self.dealt.places(start * len(self.bits) + np.flatnonzero(ones))
            np.bitwise_xor.at(checks, place.word, columns[place.bit])
        return checks

    def _in_memory(self, checks: NDArray[np.uint8], width: int) -> Words:
        """Return check bits as they lie in memory, where words take turns, (words,)."""
        lying = self.dealt.beside(width)
        stored = np.empty(len(checks), _unsigned(width))
        for start in range(0, len(checks), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(checks))
            place = lying.places(np.arange(start * width, stop * width))
            bits = (checks[place.word] >> place.bit.astype(np.uint8)) & np.uint8(1)
            stored[start:stop] = _packed(bits.reshape(-1, width).astype(np.uint64))
        return stored


def _beside(code: Code, tensor: Target, bits: int, dealt: Dealing) -> Iterator[Target]:
    """Yield what a code stores besides a tensor, of whose elements it guards so many bits."""
    width = code.check_width(dealt.width)
    if width:
        yield _memory(tensor, code.name, code, (dealt.words,), width)
    for copy in range(code.copies):
        yield _memory(tensor, f"{code.name} {copy + 2}", code, tensor.shape, bits)


def _memory(tensor: Target, name: str, code: Code, shape: tuple[int, ...], width: int) -> Target:
    """Return memory beside a tensor as a place where bits flip."""
    return Target(
        tensor=f"{tensor.tensor} ({name})",
        role=CHECK,
        node=tensor.node,
        op_type=tensor.op_type,
        shape=shape,
        format=CheckBits(_unsigned(width), code.name, width),
    )


def _packed(ones: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return rows of bits as numbers, the first bit the least significant.

    >>> _packed(np.array([[1, 0, 1]], np.uint64)).tolist()
    [5]
    """
    shifts = np.arange(ones.shape[1], dtype=np.uint64)
    numbers: NDArray[np.uint64] = np.bitwise_or.reduce(ones << shifts, axis=1)
    return numbers


def _unsigned(width: int) -> np.dtype[Any]:
    """Return the smallest unsigned type of so many bits.

    >>> _unsigned(7), _unsigned(9)
    (dtype('uint8'), dtype('uint16'))
    """
    for bytes_ in (1, 2, 4):
        if width <= 8 * bytes_:
            return np.dtype(f"u{bytes_}")
    return np.dtype("u8")
