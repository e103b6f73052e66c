"""Random streams and distinct bits, which fault models draw from."""

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.inject.faults import Faults

__all__ = ["distinct_positions", "some_faults", "unit_rng"]


def distinct_positions(bits: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``count`` distinct positions in [0, bits), sorted, every subset equally likely.

    Drawing one after the other and skipping repeats is uniform over subsets. Above half of the
    space the positions that do *not* flip are drawn, so the work stays O(count).

    >>> distinct_positions(10**11, 3, np.random.default_rng(1)).tolist()
    [14415961271, 51182162470, 95046369632]
    >>> distinct_positions(4, 4, np.random.default_rng(1)).tolist()
    [0, 1, 2, 3]
    """
    if count > bits // 2:
        kept = np.ones(bits, np.bool_)
        kept[distinct_positions(bits, bits - count, rng)] = False
        return np.flatnonzero(kept)
    chosen = np.empty(0, np.int64)
    while len(chosen) < count:
        fresh = rng.integers(bits, size=count - len(chosen), dtype=np.int64)
        chosen = np.sort(np.concatenate((chosen, fresh)))
        is_first = np.append(True, np.diff(chosen) > 0)
        chosen = chosen[is_first]  # np.unique would hash, which is slower
    return chosen


def some_faults(faults: Faults, kept: NDArray[np.bool_]) -> Faults:
    """Return those of some faults for which ``kept``, bool (n,), says so.

    >>> some_faults(Faults([0, 0], [4, 4], [1, 3]), np.array([True, False])).bit.tolist()
    [1]
    """
    return Faults.in_order(faults.target[kept], faults.element[kept], faults.bit[kept])


def unit_rng(seed: int, level: float, repeat: int, batch: int, stream: int = 0) -> np.random.Generator:
    """Return the random stream of one unit of work.

    A Philox counter generator keyed by (seed, the level's 64 bits) and started at (batch, repeat, stream):
    the stream depends on nothing else, so not on order, workers, other rates or the model variant.

    Args:
        seed: 0 to 2**64 - 1.
        level: flips per bit, such as a bit-fault rate; its float64 bits enter the key.
        repeat: 0-based repeat.
        batch: 0-based batch index.
        stream: which of the unit's streams, see ``FaultModel``.

    Raises:
        UsageError: a number is negative or does not fit into 64 bits.
    """
    if not all(0 <= number < 2**64 for number in (seed, repeat, batch, stream)):
        raise UsageError(
            f"seed, repeat and batch must be whole numbers from 0 to 2**64 - 1, got {seed}, {repeat}, {batch}"
        )
    key = np.array([seed, np.float64(level).view(np.uint64)], np.uint64)
    counter = np.array([0, stream, batch, repeat], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
