"""Positions of a packed weight's elements, described by few numbers."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Steps", "compacted"]

_MOST_RUNS: Final = 64  # of elements with equal steps between channels; beyond, a map is as large as the weight


class Steps(NamedTuple):
    """The k-th element of channel c lies at ``below[k] + steps[run[k], c]``.

    Attributes:
        below: positions of channel 0's elements.
        run: per element of a channel, which row of ``steps`` applies.
        steps: (runs, channels) distances from channel 0.
    """

    below: NDArray[np.int32]
    run: NDArray[np.int32]
    steps: NDArray[np.int32]


def compacted(grid: NDArray[np.int32]) -> Steps | None:
    """Describe positions (channels, elements of a channel); None where they are of another kind.

    >>> compacted(np.int32([[0, 1, 8], [2, 3, 9]])).steps.tolist()
    [[0, 1], [0, 2]]
    """
    from_first = grid - grid[:1]
    # equal columns have equal products with random numbers, and others hardly ever
    factors = np.random.default_rng(0).integers(1, 2**31, len(grid))
    codes = factors @ from_first
    _, first, run = np.unique(codes, return_index=True, return_inverse=True)
    if len(first) > _MOST_RUNS:
        return None
    steps = np.ascontiguousarray(from_first[:, first].T)
    below = grid[0].copy()
    if not np.array_equal(steps[run].T + below, grid):
        return None
    return Steps(below, run.astype(np.int32), steps)
