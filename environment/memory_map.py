"""Where the bits of a memory lie: rows and columns of the physical array, with words interleaved or side by side."""

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.words import near, whole_number

__all__ = ["MemoryMap"]

_PAIR: Final = re.compile(r"\s*([a-z]+)\s*=\s*([0-9]{1,10})\s*")
_KEYS: Final = ("words", "columns", "interleave")
_MOST_COLUMNS: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMap:
    """A memory as an array of cells, which is filled row by row with words of so many bits.

    With ``interleave`` = I the words of a row come in groups of I, whose bits alternate: first bit 0 of each of them,
    then bit 1 of each. So I neighbours in a row belong to I words, as memories are laid out whose error correction
    mends one bit of a word. With 1 the words lie side by side.

    Attributes:
        words: bits of a word.
        columns: cells of a row; a multiple of ``words`` times ``interleave``.
        interleave: words whose bits alternate.

    Raises:
        UsageError: a number is out of range, or rows do not hold whole groups of words.

    >>> memory = MemoryMap.parse("words=4,columns=16,interleave=2")
    >>> positions = np.array([0, 1, 4, 15, 16])
    >>> rows, columns = memory.cells(positions)
    >>> rows.tolist(), columns.tolist()
    ([0, 0, 0, 0, 1], [0, 2, 1, 15, 0])
    >>> memory.positions(rows, columns).tolist()
    [0, 1, 4, 15, 16]
    """

    words: int
    columns: int
    interleave: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in _KEYS:
            try:
                number = whole_number(name, getattr(self, name), 1, _MOST_COLUMNS)
            except UsageError as error:
                # they are parts of one parameter
                raise UsageError(f"`memory`: {error}".replace(f"`{name}`", name)) from None
            object.__setattr__(self, name, number)
        group = self.words * self.interleave
        if self.columns % group:
            raise UsageError(
                f"`memory`: rows of whole groups of words were expected, columns as a multiple of {group}, which is "
                f"words times interleave; got {self.columns}"
            )

    @classmethod
    def parse(cls, text: str) -> "MemoryMap":
        """Read a map such as ``words=32,columns=512`` or ``words=32,columns=512,interleave=4``.

        Raises:
            UsageError: it is none.
        """
        given: dict[str, Any] = {}
        for part in text.split(","):
            pair = _PAIR.fullmatch(part)
            if pair is None:
                raise UsageError(f"a memory was expected as words=32,columns=512,interleave=4; got {text[:80]!r}")
            if pair[1] not in _KEYS or pair[1] in given:
                raise UsageError(
                    f"of a memory {', '.join(_KEYS)} were expected, each once; got {pair[1]!r}{near(pair[1], _KEYS)}"
                )
            given[pair[1]] = int(pair[2])
        missing = [name for name in ("words", "columns") if name not in given]
        if missing:
            raise UsageError(f"of a memory {missing[0]} was expected too, as in words=32,columns=512; got {text!r}")
        return cls(**given)

    @property
    def text(self) -> str:
        """The map as it is read."""
        return f"words={self.words},columns={self.columns},interleave={self.interleave}"

    def cells(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the row and the column of each bit.

        Args:
            positions: numbers of the bits in the order in which they are stored, from 0, int64 (n,).
        """
        word, bit = np.divmod(positions, self.words)
        row, place = np.divmod(word, self.columns // self.words)
        group, lane = np.divmod(place, self.interleave)
        column = (group * self.words + bit) * self.interleave + lane
        return row, column

    def positions(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the bit in each cell, see ``cells``.

        Args:
            rows: from 0, int64 (n,).
            columns: from 0 to ``columns`` - 1, int64 (n,).
        """
        pair, lane = np.divmod(columns, self.interleave)
        group, bit = np.divmod(pair, self.words)
        word = rows * (self.columns // self.words) + group * self.interleave + lane
        found: NDArray[np.int64] = word * self.words + bit
        return found
