"""What is left of a campaign, batch by batch, and what is recorded."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.datasets import Dataset
from ftonnx.samples import Samples
from ftonnx.tasks import Counts

__all__ = ["Ledger", "PendingBatch"]


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
        self._asked_of: Callable[[int], Iterator[Unit]] = schedule.units_of_batch
        self._done = store.recorded()
        self._golden = store.golden()
        progress(len(self._done), units)

    @property
    def batches(self) -> int:
        """Number of batches in all."""
        return self._schedule.batches(len(self._data))

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

    def ask_for(self, repeat: int, rates: Sequence[float]) -> None:
        """From now on, let one repeat at some rates be all that is to be done of each batch."""
        self._asked_of = lambda batch: (Unit(rate, repeat, batch) for rate in rates)

    def units_left(self, batch: int) -> tuple[Unit, ...]:
        """Return what is to be done of a batch and not recorded."""
        return tuple(unit for unit in self._asked_of(batch) if unit not in self._done)

    def open_batches(self) -> list[int]:
        """Return the batches with something left to do, in order."""
        return [number for number in range(self.batches) if self._is_open(number)]

    def pending(self) -> Iterator[PendingBatch]:
        """Go through the data once and yield the batches with something left to do, one at a time."""
        for number, (images, labels) in enumerate(self._data.batches(self._schedule.images_per_unit)):
            if self._is_open(number):
                yield PendingBatch(number, images, labels, self.units_left(number))

    def _is_open(self, batch: int) -> bool:
        return batch not in self._golden or any(unit not in self._done for unit in self._asked_of(batch))

    def has_golden(self, batch: int) -> bool:
        """Say whether a batch's fault-free outcomes are recorded."""
        return batch in self._golden

    def golden(self, batch: int) -> Counts:
        """Return a batch's fault-free outcomes, which are recorded."""
        return self._golden[batch]

    def add(self, record: Record) -> None:
        """Record a finished unit."""
        self._store.add(record)
        self._done.add(record.unit)
        self._progress(len(self._done), self._units)

    def add_golden(self, batch: int, outcomes: Counts) -> None:
        """Record a batch's fault-free outcomes, unless they are recorded."""
        if batch not in self._golden:
            self._store.add_golden(batch, outcomes)
            self._golden[batch] = outcomes
