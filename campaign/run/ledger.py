"""What is left of a campaign, batch by batch, and what is recorded."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ftonnx.campaign.plan.order import Order, Place, WholeRounds
from ftonnx.campaign.plan.schedule import Schedule, Unit
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.golden_run import GoldenRun
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


class _Asked(NamedTuple):
    """What is asked for: a portion at some rates.

    Attributes:
        number: of the portion.
        rates: some.
        units: of every batch that has one.
        golden: batches whose golden runs are asked for too, those with units aside.
        is_cut: not all units of the portion are asked for, and none after them will be.
    """

    number: int
    rates: tuple[float, ...]
    units: Mapping[int, Sequence[Unit]]
    golden: Collection[int]
    is_cut: bool = False

    def cut(self, units: Iterable[Unit]) -> "_Asked":
        """Return these units of it alone, and no golden run of others."""
        return self._replace(units=_by_batch(units), golden=(), is_cut=True)


def _by_batch(units: Iterable[Unit]) -> dict[int, list[Unit]]:
    found: dict[int, list[Unit]] = {}
    for unit in units:
        found.setdefault(unit.batch, []).append(unit)
    return found


class Ledger:
    """Knows what of a campaign is recorded and what is not, and records the rest."""

    def __init__(
        self,
        store: Store,
        data: Dataset,
        schedule: Schedule,
        units: int,
        progress: Callable[[int, int], None],
        order: Order | None = None,
    ) -> None:
        """Read what is recorded.

        Args:
            store: the open results folder.
            data: the data set.
            schedule: what the campaign runs.
            units: number of units that are to be done here.
            progress: called with (recorded, all) of these, now and after every unit.
            order: in which portions are asked for; repeat by repeat by default.
        """
        self._store = store
        self._data = data
        self._schedule = schedule
        self._units = units
        self._progress = progress
        self._order = order or WholeRounds(self.batches, schedule.repeats)
        self._asked: _Asked | None = None
        self._skips_quiet = False
        self._share = schedule.share(len(data))
        self._done = store.recorded()
        self._golden = store.golden()
        # a folder may hold what another part has done
        self._recorded = self._done_here() if schedule.settings.is_part else len(self._done)
        progress(self._recorded, units)

    @property
    def batches(self) -> int:
        """Number of batches in all."""
        return self._schedule.batches(len(self._data))

    @property
    def recorded(self) -> int:
        """Number of units that are recorded, of those that are to be done here."""
        return self._recorded

    @property
    def left(self) -> int:
        """Number of units that are not recorded, of those that are to be done here."""
        return self._units - self._recorded

    @property
    def summary(self) -> str:
        """How far the campaign is, for messages."""
        return f"{self._recorded} of {self._units} units are recorded in {self._store.path}"

    def ask_for(self, number: int, rates: Sequence[float], most: int | None = None) -> None:
        """From now on, let one portion at some rates be all that is to be done of each batch.

        Args:
            number: of the portion.
            rates: some.
            most: of what is not recorded, only so many units in the order of the batches; None for all.
        """
        places = self._order.portion(number)
        # at the same rates in turn on every batch, whatever the order of the places
        units = [Unit(rate, place.repeat, place.batch) for rate in rates for place in places]
        golden = range(self.batches) if self._order.every_batch else ()
        self._asked = _Asked(number, tuple(rates), _by_batch(units), golden)
        if most is None:
            return
        missing = self._missing()
        if most < len(missing):
            self._asked = self._asked.cut(missing[:most])

    def skip_quiet(self, most: int | None) -> list[Unit]:
        """Record what is asked for and has no flip, which then need not be run, and return it.

        Until ``run_quiet``, nobody runs such units ahead either.

        Args:
            most: only so many units, in the order of the batches; None for all.
        """
        self._skips_quiet = True
        quiet = [unit for unit in self._missing() if self._schedule.is_quiet(unit)]
        found = quiet[:most]
        for unit in found:
            self._store.add_quiet(unit)
            self._note(unit)
        return found

    def run_quiet(self) -> None:
        """From now on, let units without a flip be run as all others."""
        self._skips_quiet = False

    @property
    def asked_left(self) -> int:
        """Number of units that are asked for and not recorded."""
        return len(self._missing())

    def _missing(self) -> list[Unit]:
        """Return the units that are asked for and not recorded, in the order of the batches."""
        return [unit for batch in self._asked_batches() for unit in self.units_left(batch)]

    def ask_for_golden(self, batches: Collection[int]) -> None:
        """From now on, let the golden runs of some batches be all that is to be done, between two portions."""
        before = self._asked
        # workers may still be ahead
        number, rates = (0, ()) if before is None else (before.number, before.rates)
        self._asked = _Asked(number, rates, {}, frozenset(batches))

    @property
    def asked(self) -> object:
        """What is asked for: another object after every ``ask_for``; None where everything is."""
        return self._asked

    @property
    def portion(self) -> int:
        """The portion that is asked for; 0 where everything is."""
        return 0 if self._asked is None else self._asked.number

    @property
    def last_ahead(self) -> int:
        """The last portion that may be worked on by now."""
        return self.portion + self._order.most_ahead

    def may_be_asked(self, unit: Unit) -> bool:
        """Say whether a unit is one of this portion, or of one that may come after it."""
        asked = self._asked
        if asked is None or asked.is_cut:
            return unit in self._asked_of(unit.batch)
        number = self._order.portion_of(Place(unit.batch, unit.repeat))
        return unit.rate in asked.rates and number is not None and number >= asked.number

    def units_ahead(self, batch: int, number: int) -> tuple[Unit, ...]:
        """Return what is likely to be asked of a batch in a later portion: the same rates, unless that is recorded."""
        asked = self._asked
        if asked is None:
            return ()
        units = [Unit(rate, repeat, batch) for rate in asked.rates for repeat in self._order.repeats(number, batch)]
        likely = [unit for unit in units if self.may_be_asked(unit) and unit not in self._done]
        if not self._skips_quiet:
            return tuple(likely)
        return tuple(unit for unit in likely if not self._schedule.is_quiet(unit))

    def _asked_of(self, batch: int) -> Iterable[Unit]:
        if self._asked is None:
            return self._schedule.units_of_batch(batch, self._share.units_of(batch))
        return self._asked.units.get(batch, ())

    def _done_here(self) -> int:
        """Count what is recorded of this part, which may be millions of units."""
        if not self._done:
            return 0
        own = (unit for batch in self._share.batches for unit in self._asked_of(batch))
        return sum(unit in self._done for unit in own)

    def units_left(self, batch: int) -> tuple[Unit, ...]:
        """Return what is to be done of a batch and not recorded."""
        return tuple(unit for unit in self._asked_of(batch) if unit not in self._done)

    def open_batches(self) -> list[int]:
        """Return the batches with something left to do, in order."""
        return [number for number in self._asked_batches() if self._is_open(number)]

    def _asked_batches(self) -> Sequence[int]:
        """Return the batches of which anything is asked for, in order: of many, that may be few."""
        if self._asked is None:
            return self._share.batches
        return sorted(self._asked.units.keys() | self._asked.golden)

    def pending(self) -> Iterator[PendingBatch]:
        """Go through the data once and yield the batches with something left to do, one at a time."""
        numbers = self.open_batches()
        batches = self._data.batches(self._schedule.images_per_unit, numbers)
        for number, (images, labels) in zip(numbers, batches, strict=True):
            yield PendingBatch(number, images, labels, self.units_left(number))

    def _is_open(self, batch: int) -> bool:
        if batch not in self._golden and (self._asked is None or batch in self._asked.golden):
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
        self._note(record.unit)

    def _note(self, unit: Unit) -> None:
        """Take in that a unit is recorded."""
        self._done.add(unit)
        self._recorded += 1
        self._progress(self._recorded, self._units)

    def add_golden(self, batch: int, found: GoldenRun) -> None:
        """Record a batch's golden run, unless it is recorded."""
        if batch not in self._golden:
            self._store.add_golden(batch, found)
            self._golden[batch] = found.outcomes

    def flush(self) -> None:
        """Have everything on disk that is recorded."""
        self._store.flush()
