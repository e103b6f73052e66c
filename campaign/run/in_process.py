"""Running units in this process, and the batches that are held for it."""

from collections.abc import Iterator, Sequence
from typing import Self

from ftonnx.campaign.plan.settings import Jobs
from ftonnx.campaign.run.base import Enough, Executor, Work, never
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.held_runners import HeldRunners

__all__ = ["InProcess"]


class InProcess(Executor):
    """This process, one unit after the other."""

    def __init__(self, work: Work) -> None:
        """Hold no batch yet."""
        self._work = work
        self._ledger = work.ledger
        self._held = HeldRunners(work.memory)

    @classmethod
    def takes(cls, jobs: Jobs) -> bool:
        """It is one process."""
        return jobs == 1

    @classmethod
    def of(cls, work: Work) -> Self:
        """Return the executor for a campaign."""
        return cls(work)

    def __exit__(self, *_: object) -> None:
        """Let go of the batches."""
        self._held.clear()

    def run(self, enough: Enough = never) -> bool:
        """Do what is left, batch by batch."""
        try:
            return self._run(enough)
        finally:
            self._ledger.flush()

    def _run(self, enough: Enough) -> bool:
        for number, runner in self._runners(self._ledger.open_batches()):
            self._ledger.add_golden(number, runner.golden)
            for unit in self._ledger.units_left(number):
                self._work.stop.raise_if_asked(self._ledger.summary)
                record = runner.run(unit)
                self._ledger.add(record)
                if enough(record):
                    return False
        return True

    def _runners(self, wanted: Sequence[int]) -> Iterator[tuple[int, BatchRunner]]:
        """Yield the batches asked for, in order; the data are read only where one is not held."""
        size = self._work.recipe.schedule.images_per_unit
        missing = [number for number in wanted if number not in self._held]
        read = iter(self._work.data.batches(size, missing))
        for number in wanted:
            runner = self._held[number] if number in self._held else self._work.open_batch(*next(read))
            yield number, runner
            self._held.keep(number, runner)
