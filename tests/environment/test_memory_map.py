"""The map of a memory, against an array that is filled cell by cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftonnx.environment import MemoryMap
from ftonnx.errors import UsageError


def filled(words, columns, interleave, rows):
    """Fill an array with the numbers of its bits: group by group, each bit of a word beside that of the next word."""
    array = np.full((rows, columns), -1)
    number = 0
    for row in range(rows):
        for group in range(0, columns, words * interleave):
            for lane in range(interleave):
                for bit in range(words):
                    array[row, group + bit * interleave + lane] = number
                    number += 1
    return array


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_bits_lie_where_a_loop_puts_them(words, interleave, groups, rows):
    """And each is found again in its cell."""
    columns = words * interleave * groups
    memory = MemoryMap(words=words, columns=columns, interleave=interleave)
    array = filled(words, columns, interleave, rows)
    row, column = memory.cells(np.arange(array.size))
    assert (array[row, column] == np.arange(array.size)).all()
    assert (memory.positions(row, column) == np.arange(array.size)).all()


@given(st.integers(0, 10**12), st.integers(2, 8))
def test_as_many_neighbours_as_interleave_belong_to_words_of_their_own(position, interleave):
    """Which is what error correction of single bits relies on, within a group of words."""
    memory = MemoryMap(words=32, columns=32 * interleave, interleave=interleave)
    row, column = memory.cells(np.array([position]))
    last = min(int(column[0]) + interleave, memory.columns)
    columns = np.arange(int(column[0]), last)
    words = memory.positions(np.repeat(row, len(columns)), columns) // 32
    assert len(set(words.tolist())) == len(columns)


def test_a_map_reads_back_what_it_writes():
    """With the interleaving that was left out."""
    memory = MemoryMap.parse("columns = 64, words=32")
    assert memory == MemoryMap(words=32, columns=64)
    assert MemoryMap.parse(memory.text) == memory


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a memory was expected as words=32"),
        ("words", "a memory was expected as words=32"),
        ("words=-8,columns=8", "a memory was expected as words=32"),
        ("words=8", "columns was expected too"),
        ("words=8,columns=8,words=8", "each once; got 'words'"),
        ("words=8,colums=8", "got 'colums'; did you mean columns"),
        ("words=0,columns=8", "from 1 to"),
        ("words=32,columns=100", "a multiple of 32"),
        ("words=32,columns=64,interleave=4", "a multiple of 128"),
    ],
)
def test_other_maps_are_refused(text, said):
    """In a line that shows how."""
    with pytest.raises(UsageError, match=said):
        MemoryMap.parse(text)
