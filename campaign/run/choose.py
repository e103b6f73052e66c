"""How many processes do the work of a campaign: one, N, or what turns out to be faster."""

import logging
import os
import statistics
from collections.abc import Callable
from typing import Final

from ftonnx.campaign.plan.settings import Jobs
from ftonnx.campaign.run.ledger import Enough
from ftonnx.campaign.run.pool import Pool
from ftonnx.campaign.store.folder import Record

__all__ = ["cores", "ideal_speedup", "threads_per_worker", "work_measured"]

_SAMPLE_UNITS: Final = 5
_SAMPLE_SECONDS: Final = 0.5
_WORTH_SECONDS: Final = 10.0  # of work left; starting processes takes a second or two
_logger: Final = logging.getLogger(__name__)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_per_worker(threads: int | None, jobs: int) -> int:
    """Return a worker's threads: the given number, else its share of the cores.

    >>> threads_per_worker(3, 8), threads_per_worker(None, 1000)
    (3, 1)
    """
    return threads or max(1, cores() // jobs)


def ideal_speedup(jobs: Jobs, threads: int | None) -> int:
    """Return how many times as fast as one process a campaign is at best; 1 where one process uses all cores.

    >>> ideal_speedup(1, 1), ideal_speedup(2, None), ideal_speedup("auto", 1)
    (1, 1, 1)
    """
    return 1 if jobs == "auto" or threads is None else max(1, min(jobs, cores() // threads))


class _Sample:
    """Collects the times of units until they are enough to tell what one takes."""

    def __init__(self, units: int) -> None:
        self._units = units
        self._seconds: list[float] = []

    def enough(self, record: Record) -> bool:
        self._seconds.append(record.wall_ns * 1e-9)
        return len(self._seconds) > self._units and sum(self._seconds) > _SAMPLE_SECONDS

    @property
    def seconds(self) -> float:
        """Median time of a unit, the first one left out."""
        return statistics.median(self._seconds[1:])


def work_measured(
    jobs: int, here: Callable[[Enough], bool], make_pool: Callable[[], Pool], left: Callable[[], int]
) -> None:
    """Do the work of a campaign where it is done faster: in this process, or in ``jobs`` others.

    Both are measured on the campaign's own units. A campaign of a few seconds stays in this process.

    Args:
        jobs: number of worker processes to compare with.
        here: does what is left in this process until told that it is enough.
        make_pool: makes the pool of workers.
        left: returns the number of units that are left.
    """
    alone, together = _Sample(_SAMPLE_UNITS), _Sample(_SAMPLE_UNITS * jobs)
    if here(alone.enough if jobs > 1 else lambda record: False):
        return
    if alone.seconds * left() > _WORTH_SECONDS:
        with make_pool() as pool:
            if pool.run(lambda record: pool.warm and together.enough(record)):
                return
            each = together.seconds / jobs
            _logger.info("a unit takes %.3g s in one process, %.3g s in %d processes", alone.seconds, each, jobs)
            if each < alone.seconds:
                pool.run()
                return
    here(lambda record: False)
