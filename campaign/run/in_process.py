"""Running units in this process, and the batches that are held for it."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from ftonnx.campaign.plan.settings import Jobs
from ftonnx.campaign.run.base import Enough, Executor, Work, never
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.ledger import Ledger
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.datasets import Dataset
from ftonnx.samples import Samples

__all__ = ["HeldRunners", "InProcess"]


class OpenBatch(Protocol):
    """Does a batch's golden run."""

    def __call__(self, images: Samples, labels: NDArray[Any]) -> BatchRunner:
        """Return what runs the batch's units."""


class HeldRunners:
    """The batches' runners with their golden runs, as many as fit into a given memory."""

    def __init__(self, data: Dataset, images: int, open_batch: OpenBatch, memory: int) -> None:
        self._data = data
        self._images = images
        self._open_batch = open_batch
        self._memory = memory
        self._held: dict[int, BatchRunner] = {}

    def runners(self, wanted: Sequence[int]) -> Iterator[tuple[int, BatchRunner]]:
        """Yield the batches asked for, in order; the data are read only where one is not held."""
        if all(number in self._held for number in wanted):
            for number in wanted:
                yield number, self._held[number]
                self._keep(number, self._held[number])
            return
        numbers = set(wanted)
        for number, (images, labels) in enumerate(self._data.batches(self._images)):
            if number in numbers:
                runner = self._held.get(number) or self._open_batch(images, labels)
                yield number, runner
                self._keep(number, runner)

    def _keep(self, number: int, runner: BatchRunner) -> None:
        """Keep a runner, whose size may have changed, if it fits beside the others."""
        others = sum(each.nbytes for key, each in self._held.items() if key != number)
        if others + runner.nbytes <= self._memory:
            self._held[number] = runner
        else:
            self._held.pop(number, None)


class InProcess(Executor):
    """This process, one unit after the other."""

    def __init__(self, ledger: Ledger, runners: HeldRunners, stop: StopRequest) -> None:
        self._ledger = ledger
        self._runners = runners
        self._stop = stop

    @classmethod
    def takes(cls, jobs: Jobs) -> bool:
        """It is one process."""
        return jobs == 1

    @classmethod
    def of(cls, work: Work) -> Self:
        """Return the executor for a campaign whose batches are met once, so that none is kept."""
        return cls.keeping(work, 0)

    @classmethod
    def keeping(cls, work: Work, memory: int) -> Self:
        """Return the executor for a campaign whose batches are met again and again.

        Args:
            work: the campaign.
            memory: bytes that batches and their golden runs may take from one time to the next.
        """
        runners = HeldRunners(work.data, work.recipe.schedule.images_per_unit, work.open_batch, memory)
        return cls(work.ledger, runners, work.stop)

    def run(self, enough: Enough = never) -> bool:
        """Do what is left, batch by batch."""
        for number, runner in self._runners.runners(self._ledger.open_batches()):
            self._ledger.add_golden(number, runner.golden)
            for unit in self._ledger.units_left(number):
                self._stop.raise_if_asked(self._ledger.summary)
                record = runner.run(unit)
                self._ledger.add(record)
                if enough(record):
                    return False
        return True
