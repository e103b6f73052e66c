"""Stored elements of four bits, two of which share a byte: in the file's own order, or in MatMulNBits' weights.

ONNX Runtime makes bytes for MatMulNBits of int4 weights behind DequantizeLinear. The kernel counts from zero point 8,
so signed elements get the other sign bit; that a bit is flipped is the same in both.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ftonnx.inject import Format
from ftonnx.inject.formats import Undo, Words
from ftonnx.inject.tensors import element_count, words_of

__all__ = ["BITS", "FOUR_BIT", "MASK", "HalfBytes", "elements_of", "half_bytes", "halves_of", "joined"]

BITS: Final = 4
"""Of an element."""

MASK: Final = 0xF
"""Of the low half of a byte."""

FOUR_BIT: Final = (TensorProto.INT4, TensorProto.UINT4)
"""Numbers of the types with two elements to a byte."""

_SIGN: Final = 0x8


@dataclass(frozen=True, slots=True)
class HalfBytes:
    """How four-bit elements are written in an initializer; positions there count half bytes, the low one first.

    Attributes:
        changed: the bits that are always the other way round there.
    """

    changed: int

    def widened(self, words: Words) -> Words:
        """Return the half bytes there of elements."""
        there: Words = words ^ np.uint8(self.changed)
        return there

    def narrowed(self, words: Words) -> Words:
        """Return the elements that half bytes stand for."""
        return self.widened(words)

    def is_exact(self, words: Words) -> NDArray[np.bool_]:
        """Say which half bytes stand for an element: all of them."""
        return np.ones(len(words), bool)

    def flip(self, form: Format, words: Words, positions: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """Flip bits of the elements at ``positions``, in place."""
        return form.flip(words, positions, masks)


def half_bytes(stored: int, held: int) -> HalfBytes | None:
    """Return how elements of one type are written in initializers of another; None where they are not.

    Args:
        stored: number of the type in the file, such as ``TensorProto.INT4``.
        held: number of the type in the optimized graph.
    """
    if stored not in FOUR_BIT:
        return None
    if held == stored:
        return HalfBytes(0)
    if held != TensorProto.UINT8:
        return None
    return HalfBytes(_SIGN if stored == TensorProto.INT4 else 0)


def elements_of(tensor: onnx.TensorProto, stored: int) -> Words:
    """Return an initializer's words, one for each element that it holds.

    Args:
        tensor: it.
        stored: number of the elements' type in the file; those of four bits lie in half bytes.
    """
    words = words_of(tensor)
    if stored not in FOUR_BIT:
        return words
    halves = halves_of(words)
    # the last byte of four-bit types may be part empty
    return halves[: element_count(tensor)] if tensor.data_type in FOUR_BIT else halves


def halves_of(words: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the half bytes of bytes, the low one of each first.

    >>> halves_of(np.uint8([0x21, 0x43])).tolist()
    [1, 2, 3, 4]
    """
    halves = np.empty(2 * len(words), np.uint8)
    halves[0::2] = words & MASK
    halves[1::2] = words >> BITS
    return halves


def joined(halves: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bytes of half bytes; an odd one at the end is the low half of the last.

    >>> joined(np.uint8([1, 2, 3])).tolist()
    [33, 3]
    """
    words = halves[0::2].copy()
    high = halves[1::2]
    words[: len(high)] |= high << BITS
    return words
