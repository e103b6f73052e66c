"""Number formats: how the bits of a stored element are seen, and what flipping some of them does.

A tensor is stored as *words*: a flat array of unsigned integers that is the tensor's own memory.
A format flips bits of chosen elements in place and says how to put the old words back.
Bit 0 is the least significant one.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError

__all__ = ["FixedPoint", "Format", "Packed", "RawBits", "Undo", "Words", "parse_format"]

_WORDS: Final = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
Words = NDArray[Any]
"""A tensor's memory as a flat array of uint8, uint16, uint32 or uint64."""

_MAX_FIXED_BITS: Final = 53
_FLOATS: Final = {
    np.dtype(t)
    for t in (
        np.float16,
        np.float32,
        np.float64,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
    )
}
_INTEGERS: Final = {np.dtype(t) for t in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")}
_PACKED: Final = {np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4)}


@dataclass(frozen=True, slots=True)
class Undo:
    """What a flip overwrote; ``words[index] = previous`` restores it bit for bit."""

    words: Words
    index: NDArray[np.int64]
    previous: Words

    def __call__(self) -> None:
        """Put the old words back."""
        self.words[self.index] = self.previous


@dataclass(frozen=True, slots=True)
class Format(ABC):
    """How the elements of one tensor are seen as bits.

    Attributes:
        dtype: numpy type of an element (``ml_dtypes`` for bfloat16, float8 and int4).
    """

    dtype: np.dtype[Any]

    @property
    @abstractmethod
    def name(self) -> str:
        """The word for it in tables and on the command line."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits per element."""

    @property
    def known_to_numpy(self) -> bool:
        """Whether the type is numpy's own; its ``isbuiltin`` would deny that of a type that was pickled."""
        return self.dtype.type.__module__ == "numpy"

    @property
    def word(self) -> np.dtype[Any]:
        """Unsigned integer type of the words in which the tensor is stored."""
        return np.dtype(_WORDS[8 * self.dtype.itemsize])

    @abstractmethod
    def flip(self, words: Words, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """Flip, in place, the bits of ``masks[i]`` in element ``elements[i]``; elements are distinct."""

    def read(self, words: Words, elements: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of ``elements`` as a run uses them, in the tensor's type."""
        values: NDArray[Any] = words[elements].view(self.dtype)
        return values


@dataclass(frozen=True, slots=True)
class RawBits(Format):
    """The element's own bits: IEEE-style floats (``ieee``) or plain integers (``int8``, ``uint8``, ...).

    >>> weights = np.array([1.0, -2.0], np.float32)
    >>> raw, sign = RawBits(weights.dtype), np.array([1 << 31], np.uint64)
    >>> undo = raw.flip(weights.view(np.uint32), np.array([0]), sign)
    >>> weights.tolist()
    [-1.0, -2.0]
    >>> undo(); weights.tolist()
    [1.0, -2.0]
    """

    @property
    def name(self) -> str:
        """``ieee`` for floats, the type's own name for integers."""
        return "ieee" if self.dtype in _FLOATS else self.dtype.name

    @property
    def bits(self) -> int:
        """The width of the type."""
        return 8 * self.dtype.itemsize

    def flip(self, words: Words, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """XOR the masks into the words."""
        undo = Undo(words, elements, words[elements])
        words[elements] = undo.previous ^ masks.astype(words.dtype)
        return undo


@dataclass(frozen=True, slots=True)
class Packed(Format):
    """Four-bit integers, two to a byte; the even element is the low half (as ONNX stores them).

    >>> byte = np.array([0x21], np.uint8)  # elements 1 and 2
    >>> _ = Packed(np.dtype(ml_dtypes.uint4)).flip(byte, np.array([1]), np.array([0b1000], np.uint64))
    >>> hex(byte[0])
    '0xa1'
    """

    @property
    def name(self) -> str:
        """``int4`` or ``uint4``."""
        return self.dtype.name

    @property
    def bits(self) -> int:
        """Always 4."""
        return 4

    def flip(self, words: Words, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """XOR the masks into the halves of the bytes."""
        index = elements // 2
        undo = Undo(words, index, words[index])
        np.bitwise_xor.at(words, index, (masks << self._shift(elements)).astype(np.uint8))
        return undo

    def read(self, words: Words, elements: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of the chosen halves."""
        half = (words[elements // 2] >> self._shift(elements).astype(np.uint8)) & 0xF
        values: NDArray[Any] = half.view(np.dtype(np.uint8)).astype(np.int8)
        if self.dtype == np.dtype(ml_dtypes.int4):
            values = np.where(values > 7, values - 16, values).astype(np.int8)
        return values

    @staticmethod
    def _shift(elements: NDArray[np.int64]) -> NDArray[np.uint64]:
        return (4 * (elements % 2)).astype(np.uint64)


@dataclass(frozen=True, slots=True)
class FixedPoint(Format):
    """Floats seen as two's complement ``qM.N``: 1 sign, M integral and N fractional bits.

    A hit element w becomes decode(encode(w) xor mask); others keep their exact value. encode rounds
    to nearest even and saturates, NaN encodes as 0 (paper, section III-A: Q15.16).

    >>> weights = np.array([0.5, 0.5], np.float32)
    >>> q = FixedPoint(weights.dtype, integral=15, fractional=16)
    >>> _ = q.flip(weights.view(np.uint32), np.array([0, 1]), np.array([1 << 31, 1 << 16], np.uint64))
    >>> weights.tolist()
    [-32767.5, 1.5]
    """

    integral: int = field(kw_only=True)
    fractional: int = field(kw_only=True)

    @property
    def name(self) -> str:
        """``qM.N``."""
        return f"q{self.integral}.{self.fractional}"

    @property
    def bits(self) -> int:
        """1 + M + N."""
        return 1 + self.integral + self.fractional

    def encode(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the signed codes of ``values``: round to nearest even, saturate, NaN gives 0."""
        limit = 2.0 ** (self.bits - 1)
        with np.errstate(over="ignore", invalid="ignore"):  # a huge float64 becomes Inf, then saturates
            scaled = np.rint(np.ldexp(values.astype(np.float64), self.fractional))
        scaled[np.isnan(scaled)] = 0
        codes: NDArray[np.int64] = np.minimum(np.maximum(scaled, -limit), limit - 1).astype(np.int64)
        return codes

    def decode(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of signed ``codes`` in the tensor's own type, rounded once."""
        exact = np.ldexp(codes.astype(np.float64), -self.fractional)
        with np.errstate(over="ignore"):
            if not self.known_to_numpy:  # ml_dtypes goes through float32, which would round twice
                exact = _rounded_to_odd(exact)
            values: NDArray[Any] = exact.astype(self.dtype)
        return values

    def flip(self, words: Words, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """Replace each hit element by decode(encode(w) xor mask)."""
        undo = Undo(words, elements, words[elements])
        codes = self.encode(undo.previous.view(self.dtype)) ^ masks.astype(np.int64)
        sign = 1 << (self.bits - 1)
        codes = ((codes & (2 * sign - 1)) ^ sign) - sign  # sign-extend: only `bits` bits are stored
        words[elements] = self.decode(codes).view(words.dtype)
        return undo


def _rounded_to_odd(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 whose last bit is set where the value is inexact: rounding again is then harmless.

    >>> _rounded_to_odd(np.array([1.0, 1 + 2**-30])).view(np.uint32).tolist()
    [1065353216, 1065353217]
    """
    narrow: NDArray[np.float32] = values.astype(np.float32)
    codes = narrow.view(np.uint32)
    codes -= (np.abs(narrow) > np.abs(values)).astype(np.uint32)  # towards zero
    codes |= narrow != values
    return narrow


def parse_format(name: str, dtype: np.dtype[Any]) -> Format:
    """Return the format that ``name`` means for elements of ``dtype``.

    Integer tensors are always seen as their own bits; ``name`` decides for floats.

    Args:
        name: ``auto`` (= ``q15.16``), ``ieee``, or ``qM.N`` with 2 to 53 bits in all.
        dtype: element type of a stored tensor.

    Raises:
        UsageError: ``name`` is not a format, or ``dtype`` has no known bits.

    >>> parse_format("auto", np.dtype(np.float32)).name, parse_format("q7.8", np.dtype(np.int8)).name
    ('q15.16', 'int8')
    """
    fixed = _parse_fixed(name)
    if dtype in _PACKED:
        return Packed(dtype)
    if dtype in _INTEGERS:
        return RawBits(dtype)
    if dtype not in _FLOATS:
        raise UsageError(f"elements of type {dtype.name} have no known bit format; leave the tensor out with --exclude")
    if fixed is None:
        return RawBits(dtype)
    return FixedPoint(dtype, integral=fixed[0], fractional=fixed[1])


def _parse_fixed(name: str) -> tuple[int, int] | None:
    """Return (M, N) of a fixed-point name, None for ``ieee``."""
    if name == "ieee":
        return None
    match = re.fullmatch(r"q(\d{1,2})\.(\d{1,2})", "q15.16" if name == "auto" else name)
    if match is None:
        raise UsageError(f"format {name!r} is not known: use auto, ieee, or qM.N such as q15.16")
    integral, fractional = int(match[1]), int(match[2])
    if not 2 <= 1 + integral + fractional <= _MAX_FIXED_BITS:
        raise UsageError(f"format {name!r} has {1 + integral + fractional} bits: choose 2 to {_MAX_FIXED_BITS}")
    return integral, fractional
