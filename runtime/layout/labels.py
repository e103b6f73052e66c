"""Words that tell the elements of a twin apart, by element type.

A float32 holds an element's number in its bits. A narrower float may be cast on the way, which keeps its value: its
words are positive normal numbers, one for each digit of the number, and there are as many twins as digits. Elements of
four bits have few digits, and many twins.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ftonnx.inject.formats import Words
from ftonnx.runtime.layout.casts import cast_between, fits
from ftonnx.runtime.layout.half_bytes import elements_of

__all__ = ["LABELS", "NOBODYS", "Labels"]

NOBODYS: Final = (1 << 32) - 1
"""What an element shows that shows no digit; no element has this number, nor 0, which is what padding shows."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The digits of one element type.

    Attributes:
        data_type: number of the type.
        first: the word of digit 0; the others follow it.
        base: how many digits there are.
    """

    data_type: int
    first: int
    base: int

    def digits(self, highest: int) -> int:
        """Return how many digits, and so many twins, number the elements from 1 to ``highest``.

        >>> LABELS[TensorProto.FLOAT].digits(10**6), LABELS[TensorProto.FLOAT16].digits(10**6)
        (1, 2)
        """
        count = 1
        while self.base**count <= highest:
            count += 1
        return count

    def words(self, numbers: NDArray[np.uint32], digit: int) -> NDArray[np.uint32]:
        """Return the words of one digit of each number, the lowest being digit 0.

        >>> LABELS[TensorProto.FLOAT16].words(np.array([1, 30721], np.uint32), 0).tolist()
        [1025, 1025]
        """
        if self.base > NOBODYS:  # the number is the word
            return numbers
        higher = numbers // np.uint32(self.base**digit)
        value = higher % np.uint64(self.base)
        words: NDArray[np.uint32] = (value + np.uint64(self.first)).astype(np.uint32)
        return words

    def shown(self, tensor: onnx.TensorProto) -> NDArray[np.uint32] | None:
        """Return the digit that each element of a twin's initializer shows.

        None stands for a type that can hold no label.
        """
        words = self._narrowed(tensor)
        if words is None:
            return None
        digits: NDArray[np.uint32] = words.astype(np.uint32, copy=False)
        if self.base > NOBODYS:  # the word is the number
            return digits
        digits -= np.uint32(self.first)
        # smaller words have wrapped around
        digits[digits >= self.base] = NOBODYS
        return digits

    def joined(self, lower: NDArray[np.uint32], digits: NDArray[np.uint32], digit: int) -> NDArray[np.uint32]:
        """Return numbers of which the lower digits were read before, and one more now."""
        wide = digits.astype(np.uint64) * np.uint64(self.base**digit) + lower
        known = (lower != NOBODYS) & (digits != NOBODYS) & (wide < NOBODYS)
        numbers: NDArray[np.uint32] = np.where(known, wide, NOBODYS).astype(np.uint32)
        return numbers

    def _narrowed(self, tensor: onnx.TensorProto) -> Words | None:
        """Return the words of an initializer in the labels' own type, 0 where they have none."""
        if not fits(self.data_type, tensor.data_type):
            return None
        held = elements_of(tensor, self.data_type)
        cast = cast_between(self.data_type, tensor.data_type)
        if cast is None:
            return held
        words = cast.narrowed(held)
        words[~cast.is_exact(held)] = 0
        return words


LABELS: Final = {
    labels.data_type: labels
    for labels in (
        Labels(TensorProto.FLOAT, 0, 1 << 32),
        Labels(TensorProto.FLOAT16, 0x0400, 0x7800),
        Labels(TensorProto.BFLOAT16, 0x0080, 0x7F00),
        Labels(TensorProto.FLOAT8E4M3FN, 0x08, 0x76),
        Labels(TensorProto.FLOAT8E4M3FNUZ, 0x08, 0x78),
        Labels(TensorProto.FLOAT8E5M2, 0x04, 0x78),
        Labels(TensorProto.FLOAT8E5M2FNUZ, 0x04, 0x7C),
        Labels(TensorProto.INT4, 1, 7),
        Labels(TensorProto.UINT4, 1, 7),
    )
}
"""Positive normal numbers, by element type; of float32 every word; of four bits 1 to 7."""
