"""Where one stored tensor's elements lie in an optimized graph.

All moves of ONNX Runtime's optimizer are separable per axis (transposes, blocks, padding), so a position is a sum of
one small table per axis.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Placement", "row_major"]

_ELEMENTS_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one tensor's elements lie in one initializer of the optimized graph.

    Attributes:
        initializer: its name there.
        shape: of the original tensor.
        base: flat position of element 0.
        tables: per axis of ``shape``, what each coordinate adds to the flat position.
    """

    initializer: str
    shape: tuple[int, ...]
    base: int
    tables: tuple[NDArray[np.int64], ...]

    @property
    def elements(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    def positions(self, elements: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the flat positions of the given flat elements.

        >>> transposed = Placement("w", (2, 3), 0, (np.array([0, 1]), np.array([0, 2, 4])))
        >>> transposed.positions(np.arange(6)).tolist()
        [0, 2, 4, 1, 3, 5]
        """
        if not self.shape:  # a scalar has no coordinates
            return np.full(len(elements), self.base, np.int64)
        first, *others = self.tables
        # runs hit a few elements of many tensors: every call of numpy's counts
        coordinates = np.unravel_index(elements, self.shape) if others else (elements,)
        total: NDArray[np.int64] = first[coordinates[0]] + self.base
        for table, coordinate in zip(others, coordinates[1:], strict=True):
            total += table[coordinate]
        return total

    def pieces(self, size: int) -> Iterator[tuple[slice, NDArray[np.int64] | slice]]:
        """Yield (elements, their flat positions) until all elements are covered, without large temporaries.

        Raises:
            ValueError: an element lies outside an initializer of ``size`` elements.

        >>> [(e.start, e.stop, p) for e, p in Placement("w", (2, 3), 4, _row_major_tables((2, 3))).pieces(10)]
        [(0, 6, slice(4, 10, None))]
        """
        self._require_inside(size)
        # most tensors are small, or stay in order; a slice costs nothing
        if self._is_row_major():
            end = self.base + self.elements
            yield slice(0, self.elements), slice(self.base, end)
        else:
            yield from self._row_blocks()

    def _row_blocks(self) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Yield some coordinates of the first axis at a time, with all that lies below them."""
        first, *others = self.tables
        # what all axes but the first add, in the order of the elements
        below = np.zeros((), np.int64)
        for table in others:
            below = below[..., np.newaxis] + table
        row = below.ravel()
        rows = max(1, _ELEMENTS_AT_ONCE // row.size)
        done = 0
        for start in range(0, len(first), rows):
            stop = start + rows
            block = first[start:stop]
            offsets = np.add.outer(block, row)
            positions = self.base + offsets.ravel()
            end = done + positions.size
            yield slice(done, end), positions
            done = end

    def _require_inside(self, size: int) -> None:
        lowest = self.base
        highest = self.base
        # Python's own integers: a forged table must not wrap around into the array
        for table in self.tables:
            lowest += int(np.min(table))
            highest += int(np.max(table))
        for position in (lowest, highest):
            if not 0 <= position < size:
                raise ValueError(f"{self.initializer!r} has {size} elements, not one at {position}")

    def _is_row_major(self) -> bool:
        ordinary = _row_major_tables(self.shape)
        return all(map(np.array_equal, self.tables, ordinary))


def row_major(name: str, shape: tuple[int, ...]) -> Placement:
    """Return the place of a tensor that kept its order, in an initializer of its own."""
    return Placement(name, shape, 0, _row_major_tables(shape))


def _row_major_tables(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    tables = []
    for axis, size in enumerate(shape):
        stride = math.prod(shape[axis + 1 :])
        coordinates = np.arange(size, dtype=np.int64)
        tables.append(coordinates * stride)
    return tuple(tables)
