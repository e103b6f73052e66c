"""Single error correction, double error detection: Hsiao's codes (39,32) and (72,64).

Every column of the parity-check matrix has an odd number of ones (M. Y. Hsiao, IBM J. Res. Dev. 14, 1970), so that two
errors always leave a syndrome with an even number, which no single error has.
"""

import functools
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHECK_BITS", "DETECTED", "columns", "meanings"]

CHECK_BITS: Final = {32: 7, 64: 8}
"""Check bits of a word, by its data bits."""

DETECTED: Final = -1
"""What a syndrome means that no single error has."""

_LEFT_OUT: Final = (0b0000111, 0b0111000, 0b1001001)
"""Of the 35 columns of seven bits with three ones, those that (39,32) does without: no row then has two ones more."""


@functools.cache
def columns(word_bits: int) -> NDArray[np.uint8]:
    """Return the parity-check matrix by its columns, (data bits + check bits,); bit i of a column is its row i.

    First come those of the data: with three ones, ascending, and for 64 bits eight more with five ones, each the one
    before turned by a bit. Those of the check bits have one each.

    >>> [format(column, "07b") for column in columns(32)[[0, 1, 31, 32, 38]]]
    ['0001011', '0001101', '1110000', '0000001', '1000000']
    """
    checks = CHECK_BITS[word_bits]
    three = sorted(sum(1 << row for row in rows) for rows in combinations(range(checks), 3))
    data = [column for column in three if word_bits == 64 or column not in _LEFT_OUT]
    for turn in range(word_bits - len(data)):
        rows = [(turn + row) % checks for row in range(5)]
        data.append(sum(1 << row for row in rows))
    own = [1 << row for row in range(checks)]
    return np.array([*data, *own], np.uint8)


@functools.cache
def meanings(word_bits: int) -> NDArray[np.int16]:
    """Return what each syndrome means: the number of the one bit that is wrong, or ``DETECTED``.

    Syndrome 0, of which the decoder sees no error, is not told apart here.
    """
    found = np.full(1 << CHECK_BITS[word_bits], DETECTED, np.int16)
    matrix = columns(word_bits)
    found[matrix] = np.arange(len(matrix))
    return found
