"""Number formats: how the bits of a stored element are seen, and what flipping some of them does.

A tensor is stored as *words*: a flat array of unsigned integers that is the tensor's own memory.
A format flips bits of chosen elements in place and says how to put the old words back.
Bit 0 is the least significant one.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError

__all__ = [
    "AUTO",
    "FORMAT_KEY",
    "FixedPoint",
    "Format",
    "Packed",
    "RawBits",
    "Undo",
    "Words",
    "check_format",
    "format_in",
    "format_note",
    "parse_format",
]

Words = NDArray[Any]
"""A tensor's memory as a flat array of uint8, uint16, uint32 or uint64."""

AUTO: Final = "auto"
"""The format that a model's metadata say, else the paper's."""

FORMAT_KEY: Final = "ftonnx.format"
"""Under what a model's ``metadata_props`` say how its device holds floats: ``ieee`` or ``qM.N``."""

_MAX_FIXED_BITS: Final = 53  # float64 holds so many exactly
_PAPER_FORMAT: Final = "q15.16"
_FIXED: Final = re.compile(r"q(\d{1,2})\.(\d{1,2})")
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
        return np.dtype(f"u{self.dtype.itemsize}")

    @abstractmethod
    def flip(self, words: Words, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """Flip, in place, the bits of ``masks[i]`` in element ``elements[i]``; elements are distinct."""

    def codes(self, words: Words, elements: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the bits of ``elements``, as many as ``bits`` says, zeros above them."""
        return words[elements].astype(np.uint64)

    def read(self, words: Words, elements: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of ``elements`` as a run uses them, in the tensor's type."""
        chosen = words[elements]
        values: NDArray[Any] = chosen.view(self.dtype)
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
        previous = words[elements]
        flips = masks.astype(words.dtype)
        words[elements] = previous ^ flips
        return Undo(words, elements, previous)


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
        previous = words[index]
        shifted = masks << self._shift(elements)
        flips = shifted.astype(np.uint8)
        # both halves of a byte may be hit, so the same index may come twice
        np.bitwise_xor.at(words, index, flips)
        return Undo(words, index, previous)

    def codes(self, words: Words, elements: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the chosen halves.

        >>> Packed(np.dtype(ml_dtypes.uint4)).codes(np.array([0x21], np.uint8), np.array([1, 0])).tolist()
        [2, 1]
        """
        bytes_hit = words[elements // 2].astype(np.uint64)
        return (bytes_hit >> self._shift(elements)) & np.uint64(0xF)

    def read(self, words: Words, elements: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of the chosen halves."""
        values: NDArray[Any] = self.codes(words, elements).astype(np.int8)
        if self.dtype == np.dtype(ml_dtypes.int4):
            # two's complement: the upper eight codes are the negative numbers
            negative = values > 7
            values = np.where(negative, values - 16, values)
        return values

    @staticmethod
    def _shift(elements: NDArray[np.int64]) -> NDArray[np.uint64]:
        odd = elements % 2
        return (4 * odd).astype(np.uint64)


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
        with _quiet():
            return self._encoded(values)

    def decode(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of signed ``codes`` in the tensor's own type, rounded once."""
        with _quiet():
            return self._decoded(codes)

    def codes(self, words: Words, elements: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return encode(w) of each element, in two's complement.

        >>> q = FixedPoint(np.dtype(np.float32), integral=3, fractional=4)
        >>> [hex(code) for code in q.codes(np.array([0.5, -0.5], np.float32).view(np.uint32), np.arange(2))]
        ['0x8', '0xf8']
        """
        values: NDArray[Any] = words[elements].view(self.dtype)
        stored: NDArray[np.uint64] = self.encode(values).view(np.uint64)
        return stored & np.uint64((1 << self.bits) - 1)

    def flip(self, words: Words, elements: NDArray[np.int64], masks: NDArray[np.uint64]) -> Undo:
        """Replace each hit element by decode(encode(w) xor mask)."""
        previous = words[elements]
        # runs flip a few elements of many tensors: every call of numpy's counts
        with _quiet():
            stored = self._encoded(previous.view(self.dtype))
            flipped = stored ^ masks.view(np.int64)
            # sign-extend: only `bits` bits are stored
            unused = 64 - self.bits
            flipped <<= unused
            flipped >>= unused
            values = self._decoded(flipped)
        words[elements] = values.view(words.dtype)
        return Undo(words, elements, previous)

    def _encoded(self, values: NDArray[Any]) -> NDArray[np.int64]:
        limit = 2.0 ** (self.bits - 1)
        scaled = values.astype(np.float64)
        # exact: a power of two; a huge float64 becomes Inf, then saturates
        scaled *= 2.0**self.fractional
        np.rint(scaled, out=scaled)
        # np.clip does the same and is slower on the few elements that faults hit
        np.maximum(scaled, -limit, out=scaled)
        np.minimum(scaled, limit - 1, out=scaled)
        scaled[np.isnan(scaled)] = 0
        codes: NDArray[np.int64] = scaled.astype(np.int64)
        return codes

    def _decoded(self, codes: NDArray[np.int64]) -> NDArray[Any]:
        exact: NDArray[Any] = codes.astype(np.float64)
        exact *= 2.0**-self.fractional
        # ml_dtypes goes through float32, which would round twice
        if not self.known_to_numpy:
            exact = _rounded_to_odd(exact)
        values: NDArray[Any] = exact.astype(self.dtype)
        return values


def _quiet() -> np.errstate:
    """Let numbers become infinite or saturate without a warning."""
    return np.errstate(over="ignore", invalid="ignore")


def _rounded_to_odd(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 whose last bit is set where the value is inexact: rounding again is then harmless.

    >>> _rounded_to_odd(np.array([1.0, 1 + 2**-30])).view(np.uint32).tolist()
    [1065353216, 1065353217]
    """
    narrow: NDArray[np.float32] = values.astype(np.float32)
    # a view: what happens to the codes happens to the numbers
    codes = narrow.view(np.uint32)
    away_from_zero = np.abs(narrow) > np.abs(values)
    # floats are ordered as their codes are: one code less is the next number towards zero
    codes -= away_from_zero.astype(np.uint32)
    inexact = narrow != values
    codes |= inexact
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
    # first of all, so that a bad name is refused for integers too
    fixed = _parse_fixed(name)
    if dtype in _PACKED:
        return Packed(dtype)
    if dtype in _INTEGERS:
        return RawBits(dtype)
    if dtype not in _FLOATS:
        raise UsageError(f"elements of type {dtype.name} have no known bit format; leave the tensor out with --exclude")
    if fixed is None:
        return RawBits(dtype)
    return FixedPoint(
        dtype,
        integral=fixed[0],
        fractional=fixed[1],
    )


def check_format(name: str) -> None:
    """Refuse what is no format in which a device holds floats; ``auto`` is none.

    Raises:
        UsageError: the name is none.
    """
    if name == AUTO:
        raise UsageError("ieee or qM.N such as q15.16 was expected as the format of a device, got auto")
    _parse_fixed(name)


def format_in(metadata: Mapping[str, str]) -> str:
    """Return the format that a model's metadata say, ``auto`` where they say none.

    Raises:
        ModelError: there is no such format.

    >>> format_in({"ftonnx.format": "ieee"}), format_in({})
    ('ieee', 'auto')
    """
    said = metadata.get(FORMAT_KEY)
    if said is None:
        return AUTO
    try:
        check_format(said)
    except UsageError as error:
        raise ModelError(f"metadata {FORMAT_KEY}: {error}") from None
    return said


def format_note(names: Collection[str]) -> str | None:
    """Say how floats are flipped, and what that says nothing of; None where no float can flip.

    Args:
        names: of the formats that occur, such as ``FaultSpace.formats``.

    >>> format_note(["ieee", "int8"])
    'floats are flipped as the IEEE numbers that they are'
    >>> format_note(["int32", "q7.8"])
    'floats are flipped as Q7.8 fixed point; a device that holds IEEE floats meets other harm: `format=ieee`'
    >>> format_note(["int8"])
    """
    if "ieee" in names:
        return "floats are flipped as the IEEE numbers that they are"
    fixed = next((name for name in names if _FIXED.fullmatch(name)), None)
    if fixed is None:
        return None
    whose = " (the paper's view)" if fixed == _PAPER_FORMAT else ""
    return (
        f"floats are flipped as {fixed.upper()} fixed point{whose}; "
        "a device that holds IEEE floats meets other harm: `format=ieee`"
    )


def _parse_fixed(name: str) -> tuple[int, int] | None:
    """Return (M, N) of a fixed-point name, None for ``ieee``."""
    if name == "ieee":
        return None
    wanted = _PAPER_FORMAT if name == AUTO else name
    match = _FIXED.fullmatch(wanted)
    if match is None:
        raise UsageError(f"format {name!r} is not known: use auto, ieee, or qM.N such as q15.16")
    integral = int(match[1])
    fractional = int(match[2])
    bits = 1 + integral + fractional
    if not 2 <= bits <= _MAX_FIXED_BITS:
        raise UsageError(f"format {name!r} has {bits} bits: choose 2 to {_MAX_FIXED_BITS}")
    return integral, fractional
