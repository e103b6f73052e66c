"""What units take, by a measurement of some at every level: patterns of few flips, or none, take less than others."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Final

from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.run.batch import BatchRunner

__all__ = ["measured_seconds", "scaled_seconds"]

_SECONDS: Final = 2.0
"""That all measurements take together, but for one unit at a level."""

_MOST_UNITS: Final = 300
"""At a level."""


def measured_seconds(runner: BatchRunner, schedule: Schedule) -> float:
    """Return the mean seconds of a unit over all levels, by units of one batch that are run and not recorded.

    Args:
        runner: of the batch.
        schedule: what the campaign runs.
    """
    levels = schedule.levels
    runner.run(Unit(levels[-1], 0, 0))  # which allocates what the others find there
    begin = time.monotonic()
    known: dict[float, float] = {}
    for level in reversed(levels):
        if time.monotonic() - begin > _SECONDS:
            break
        known[level] = _seconds_at(level, runner, schedule)
    return scaled_seconds(known, levels, schedule.bits_per_unit)


def _seconds_at(level: float, runner: BatchRunner, schedule: Schedule) -> float:
    """Return the mean seconds of a unit at one level, of the later half: earlier ones open what all of them use."""
    most = _SECONDS / len(schedule.levels)
    found: list[float] = []
    for repeat in range(min(_MOST_UNITS, schedule.repeats)):
        found.append(runner.run(Unit(level, repeat, 0)).wall_ns * 1e-9)
        if sum(found) > most:
            break
    later = found[len(found) // 2 :]
    return sum(later) / len(later)


def scaled_seconds(known: Mapping[float, float], levels: Iterable[float], bits: int) -> float:
    """Return the mean seconds of a unit over all levels, where some were measured.

    Of the others it is that of the lowest that was measured, times the share of patterns with a flip.

    Args:
        known: seconds by level, the highest ones.
        levels: all of them.
        bits: that can flip.

    >>> round(scaled_seconds({1e-3: 2.0}, [1e-9, 1e-3], bits=10**6), 3)
    1.001
    """
    lowest = min(known)
    per_flip = known[lowest] / max(_share_with_flips(lowest, bits), 1e-9)
    seconds = [known.get(level, per_flip * _share_with_flips(level, bits)) for level in levels]
    return sum(seconds) / len(seconds)


def _share_with_flips(level: float, bits: int) -> float:
    """Return the share of patterns that flip any bit."""
    return -math.expm1(-level * bits)
