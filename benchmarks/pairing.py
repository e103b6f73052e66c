"""Comparing pieces of work fairly on a shared machine: in turn, in one process, by the median of paired ratios."""

import math
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

__all__ = ["compared", "interleaved", "median_interval", "paired"]


def paired(reference: Callable[[], object], work: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Compare ``work`` with ``reference``: see ``interleaved`` and ``compared``."""
    seconds = interleaved({"reference": reference, "work": work}, rounds)
    return compared(seconds["reference"], seconds["work"])


def interleaved(
    works: Mapping[Hashable, Callable[[], object]], rounds: int, *, warm_up: int = 2
) -> dict[Any, list[float]]:
    """Return the seconds of every piece of work in every round.

    Within a round they run one after the other; the next round starts with another one, and every second round
    goes backwards, so that each follows each other about equally often. ``warm_up`` rounds go before and do not count.
    """
    seconds: dict[Any, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(-warm_up, rounds):
        start = turn // 2 % len(names)
        order = [*names[start:], *names[:start]]
        for name in order if turn % 2 else reversed(order):
            took = _seconds(works[name])
            if turn >= 0:
                seconds[name].append(took)
    return seconds


def compared(reference: Sequence[float], work: Sequence[float]) -> dict[str, Any]:
    """Return the median of the paired ratios work / reference, its 95 % interval, and the reference's median time.

    >>> compared([1.0, 1.0, 2.0], [1.1, 1.3, 2.4])
    {'ratio': 1.2, 'low': 1.1, 'high': 1.3, 'reference_ms': 1000.0, 'n': 3}
    """
    ratios = [other / base for base, other in zip(reference, work, strict=True)]
    low, high = median_interval(ratios)
    return {
        "ratio": round(statistics.median(ratios), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "reference_ms": round(1e3 * statistics.median(reference), 3),
        "n": len(ratios),
    }


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the distribution-free interval of a median between two order statistics.

    The k-th smallest and k-th largest of n values enclose the median with probability 1 - 2 P(Binomial(n, 1/2) < k);
    k is the largest that keeps the confidence. Below six values no k does, and the extremes are returned.

    >>> median_interval(range(1, 16))  # k = 4: P(Binomial(15, 1/2) < 4) = 0.0176
    (4, 12)
    >>> median_interval([3.0, 1.0, 2.0])
    (1.0, 3.0)
    """
    ordered, n = sorted(values), len(values)
    k, below = 1, 1 / 2**n
    while 2 * (below := below + math.comb(n, k) / 2**n) <= 1 - confidence:
        k += 1
    return ordered[k - 1], ordered[n - k]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
