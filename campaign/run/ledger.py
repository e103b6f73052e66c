"""What is left of a campaign, batch by batch, and doing it in this process."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.datasets import Dataset
from ftonnx.samples import Samples
from ftonnx.tasks import Counts

__all__ = ["Enough", "Ledger", "PendingBatch", "work_here"]

Enough = Callable[[Record], bool]
"""Called with every new record; True pauses the work."""


class PendingBatch(NamedTuple):
    """A batch of images with something left to do: units, or else only its golden run."""

    number: int
    images: Samples
    labels: NDArray[Any]
    units: tuple[Unit, ...]


class Ledger:
    """Knows what of a campaign is recorded and what is not, and records the rest."""

    def __init__(
        self,
        store: Store,
        data: Dataset,
        schedule: Schedule,
        units: int,
        progress: Callable[[int, int], None],
    ) -> None:
        """Read what is recorded.

        Args:
            store: the open results folder.
            data: the data set.
            schedule: what the campaign runs.
            units: number of units in all.
            progress: called with (recorded, all) now and after every unit.
        """
        self._store = store
        self._data = data
        self._schedule = schedule
        self._units = units
        self._progress = progress
        self._done = store.recorded()
        self._golden = set(store.golden())
        progress(len(self._done), units)

    @property
    def recorded(self) -> int:
        """Number of units that are recorded."""
        return len(self._done)

    @property
    def left(self) -> int:
        """Number of units that are not recorded."""
        return self._units - len(self._done)

    @property
    def summary(self) -> str:
        """How far the campaign is, for messages."""
        return f"{len(self._done)} of {self._units} units are recorded in {self._store.path}"

    def pending(self) -> Iterator[PendingBatch]:
        """Go through the data once and yield the batches with something left to do, one at a time."""
        for number, (images, labels) in enumerate(self._data.batches(self._schedule.batch_size)):
            units = tuple(unit for unit in self._schedule.units_of_batch(number) if unit not in self._done)
            if units or number not in self._golden:
                yield PendingBatch(number, images, labels, units)

    def has_golden(self, batch: int) -> bool:
        """Say whether a batch's fault-free outcomes are recorded."""
        return batch in self._golden

    def add(self, record: Record) -> None:
        """Record a finished unit."""
        self._store.add(record)
        self._done.add(record.unit)
        self._progress(len(self._done), self._units)

    def add_golden(self, batch: int, outcomes: Counts) -> None:
        """Record a batch's fault-free outcomes, unless they are recorded."""
        if batch not in self._golden:
            self._store.add_golden(batch, outcomes)
            self._golden.add(batch)


def work_here(
    ledger: Ledger,
    open_batch: Callable[[Samples, NDArray[Any]], BatchRunner],
    stop: StopRequest,
    enough: Enough = lambda record: False,
) -> bool:
    """Do what is left, in this process; say whether everything is done.

    Raises:
        Interrupted: a signal came; every finished unit is recorded.
    """
    for batch in ledger.pending():
        runner = open_batch(batch.images, batch.labels)
        ledger.add_golden(batch.number, runner.golden)
        for unit in batch.units:
            stop.raise_if_asked(ledger.summary)
            record = runner.run(unit)
            ledger.add(record)
            if enough(record):
                return False
    return True
