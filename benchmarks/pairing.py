"""Comparing two pieces of work fairly on a shared machine: in turn, in one process, by the median of paired ratios."""

import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["paired"]

_WARM_UP = 2


def paired(reference: Callable[[], object], work: Callable[[], object], rounds: int) -> dict[str, Any]:
    """Return the median, lowest and highest of (time of ``work`` / time of ``reference``) over rounds.

    Within a round the two run one after the other, the order alternates; the first rounds warm up.
    """
    ratios, references = [], []
    for turn in range(rounds + _WARM_UP):
        if turn % 2:
            base, other = _seconds(reference), _seconds(work)
        else:
            other, base = _seconds(work), _seconds(reference)
        ratios.append(other / base)
        references.append(base)
    ratios, references = ratios[_WARM_UP:], references[_WARM_UP:]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "reference_ms": round(1e3 * statistics.median(references), 1),
        "n": rounds,
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
