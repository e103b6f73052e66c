"""Which bits of a fault space upsets flip that hit several neighbours each."""

import numpy as np
from numpy.typing import NDArray

from ftonnx.environment.memory_map import MemoryMap
from ftonnx.environment.upset_shape import UpsetShape
from ftonnx.errors import UsageError
from ftonnx.inject.space import FaultSpace

__all__ = ["check_neighbours", "hit_once", "neighbours"]

_BLOCK_ROWS = 2


def check_neighbours(space: FaultSpace) -> None:
    """Refuse a space in which neighbours are missing.

    Raises:
        UsageError: bits were chosen, so that those between them are not there.
    """
    if any(target.flippable for target in space.targets):
        raise UsageError("bursts flip neighbouring bits, whichever they are: no choice of bits was expected")


def neighbours(
    space: FaultSpace, shape: UpsetShape, first: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return all positions that upsets hit, those that several hit as often.

    A burst ends where its tensor does, or that image's or run's part of an activation, or, by a map, where its row, its
    column or the space does.

    Args:
        space: the bits that can flip; by a map they lie in the memory in this order.
        shape: which bits are neighbours.
        first: the position at which each upset begins, int64 (upsets,).
        sizes: how many bits it flips, int64 (upsets,).
    """
    upset = np.repeat(np.arange(len(first)), sizes)
    flips_before = np.cumsum(sizes) - sizes
    number: NDArray[np.int64] = np.arange(len(upset)) - flips_before[upset]
    if shape.memory is not None:
        return _in_map(shape.memory, shape.along, first[upset], number, space.bits)
    target = np.searchsorted(space.starts, first, side="right") - 1
    steps = np.ones(len(space.targets), np.int64)
    if shape.along == "words":
        steps = np.array([len(each.bit_numbers) for each in space.targets], np.int64)
    lengths = np.array([each.bits for each in space.targets], np.int64)
    lengths[space.stored_targets :] //= space.scope.parts
    begun = (first - space.starts[target]) % lengths[target]
    ends = first - begun + lengths[target]
    positions: NDArray[np.int64] = first[upset] + number * steps[target][upset]
    return positions[positions < ends[upset]]


def _in_map(
    memory: MemoryMap, along: str, first: NDArray[np.int64], number: NDArray[np.int64], bits: int
) -> NDArray[np.int64]:
    """Return the positions of neighbours in a map.

    >>> memory = MemoryMap(words=2, columns=4, interleave=2)  # a row holds the bits 0 2 1 3 of two words
    >>> [_in_map(memory, along, np.array([0] * 3), np.arange(3), 99).tolist() for along in ("row", "column", "block")]
    [[0, 2, 1], [0, 4, 8], [0, 4, 2]]
    """
    row, column = memory.cells(first)
    if along == "row":
        column = column + number
    elif along == "column":
        row = row + number
    else:
        row = row + number % _BLOCK_ROWS
        column = column + number // _BLOCK_ROWS
    inside = column < memory.columns
    positions = memory.positions(row[inside], column[inside])
    return positions[positions < bits]


def hit_once(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions that are there an odd number of times, ascending: others are as they were.

    >>> hit_once(np.array([3, 1, 3, 2, 2, 2])).tolist()
    [1, 2]
    """
    distinct, times = np.unique(positions, return_counts=True)
    odd: NDArray[np.int64] = distinct[times % 2 == 1]
    return odd
