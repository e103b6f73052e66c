"""Running units in this process, and the batches that are held for it."""

from collections.abc import Iterator, Sequence
from typing import Self

from ftonnx.campaign.plan.settings import LOCAL, Settings
from ftonnx.campaign.run.base import Enough, Executor, Work, never
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.held_runners import HeldRunners
from ftonnx.datasets.base import Batch

__all__ = ["InProcess"]


class InProcess(Executor):
    """This process, one unit after the other."""

    def __init__(self, work: Work) -> None:
        """Hold no batch yet."""
        self._work = work
        self._ledger = work.ledger
        self._held = HeldRunners(work.memory)

    @classmethod
    def takes(cls, settings: Settings) -> bool:
        """It is one process."""
        return settings.engine == LOCAL and settings.jobs == 1

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
            if not self._ledger.has_golden(number):
                self._ledger.add_golden(number, runner.golden_run)
            for unit in self._ledger.units_left(number):
                self._work.stop.raise_if_asked(self._ledger.summary)
                record = runner.run(unit)
                self._ledger.add(record)
                if enough(record):
                    return False
            # else it would be in memory while the next one is opened
            del runner
        return True

    def _runners(self, wanted: Sequence[int]) -> Iterator[tuple[int, BatchRunner]]:
        """Yield the batches asked for, in order; the data are read only where one is not held."""
        size = self._work.recipe.schedule.images_per_unit
        missing = [number for number in wanted if not self._is_open(number)]
        read = iter(self._work.data.batches(size, missing))
        for number in wanted:
            runner = self._runner(number, read)
            yield number, runner
            self._held.keep(number, runner)
            # what is used no more need not be in memory while the next batch is read
            del runner

    def _is_open(self, number: int) -> bool:
        return number in self._held or number in self._work.opened

    def _runner(self, number: int, read: Iterator[Batch]) -> BatchRunner:
        """Return what runs a batch's units; its golden run may have been done before."""
        if number in self._held:
            return self._held[number]
        before = self._work.opened.pop(number, None)
        return self._work.open_batch(*next(read)) if before is None else before
