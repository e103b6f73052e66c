"""What is left of a campaign, batch by batch, and what is recorded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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


class _Round(NamedTuple):
    """One repeat at some rates.

    Attributes:
        repeat: its number.
        rates: some.
        only: the units of it that are asked for; None for all.
    """

    repeat: int
    rates: tuple[float, ...]
    only: frozenset[Unit] | None = None

    def units_of(self, batch: int) -> list[Unit]:
        """Return what is asked of a batch."""
        units = [Unit(rate, self.repeat, batch) for rate in self.rates]
        if self.only is None:
            return units
        return [unit for unit in units if unit in self.only]


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
        self._round: _Round | None = None
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

    def ask_for(self, repeat: int, rates: Sequence[float], most: int | None = None) -> None:
        """From now on, let one repeat at some rates be all that is to be done of each batch.

        Args:
            repeat: its number.
            rates: some.
            most: of what is not recorded, only so many units in the order of the batches; None for all.
        """
        self._round = _Round(repeat, tuple(rates))
        if most is None:
            return
        missing = [unit for number in range(self.batches) for unit in self.units_left(number)]
        if most < len(missing):
            self._round = _Round(repeat, tuple(rates), frozenset(missing[:most]))

    @property
    def asked(self) -> object:
        """What is asked for: another object after every ``ask_for``; None where everything is."""
        return self._round

    @property
    def round(self) -> int:
        """The repeat that is asked for; 0 where everything is."""
        return 0 if self._round is None else self._round.repeat

    def may_be_asked(self, unit: Unit) -> bool:
        """Say whether a unit is one of this round, or of one that may come after it."""
        asked = self._round
        if asked is None or asked.only is not None:
            return unit in self._asked_of(unit.batch)
        return unit.rate in asked.rates and asked.repeat <= unit.repeat < self._schedule.repeats

    def units_ahead(self, batch: int, repeat: int) -> tuple[Unit, ...]:
        """Return what is likely to be asked of a batch in a later round: the same rates, unless that is recorded."""
        asked = self._round
        if asked is None:
            return ()
        units = (Unit(rate, repeat, batch) for rate in asked.rates)
        return tuple(unit for unit in units if self.may_be_asked(unit) and unit not in self._done)

    def _asked_of(self, batch: int) -> Iterable[Unit]:
        if self._round is None:
            return self._schedule.units_of_batch(batch)
        return self._round.units_of(batch)

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
        if batch not in self._golden and (self._round is None or self._round.only is None):
            return True
        return any(unit not in self._done for unit in self._asked_of(batch))

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

    def flush(self) -> None:
        """Have everything on disk that is recorded."""
        self._store.flush()
