"""The results folder of one campaign: ``campaign.json`` and ``units.sqlite``.

Units are recorded in transactions of what was finished within a twentieth of a second, so a kill at any
moment loses the units in work and so much of finished work at most; a longer unit has a transaction of its own.
An injection's faults are recorded with the first unit of it. One process at a time writes; readers need no lock.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.plan.settings import Settings
from ftonnx.campaign.plan.stopping import Stopping
from ftonnx.campaign.plan.unit_set import UnitSet
from ftonnx.campaign.store.checked_rows import CheckedRows
from ftonnx.campaign.store.damage import require_whole
from ftonnx.campaign.store.database import UNITS, create_database, open_database, wait_for_disk
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.campaign.store.header import Header, PartInfo
from ftonnx.campaign.store.header_file import SETTINGS, read_header, remove_part, require_same, write_header
from ftonnx.campaign.store.identity import Identity
from ftonnx.campaign.store.kept_maps import remove_maps
from ftonnx.campaign.store.lock import sign, take_lock, translated
from ftonnx.campaign.store.place import make_folder, remove_files, remove_if_empty, require_empty
from ftonnx.campaign.store.seeds import Numbering
from ftonnx.campaign.store.subject import Subject
from ftonnx.campaign.store.tables import Tables
from ftonnx.campaign.store.union import Taken, Union
from ftonnx.campaign.store.waiting import WaitingRows
from ftonnx.errors import StoreError
from ftonnx.inject import Faults
from ftonnx.tasks import Counts

__all__ = ["FaultOutcomes", "HitOutcomes", "Record", "Store"]

_ROWS: Final = 10_000
"""That are held as Python's objects at once."""


class Record(NamedTuple):
    """One finished unit; with its faults where they are an injection's, which is recorded fault by fault."""

    unit: Unit
    outcomes: Counts
    n_faults: int
    wall_ns: int
    faults: Faults | None = None


class FaultOutcomes(NamedTuple):
    """One recorded fault of an injection, and the outcomes over all batches that were run with the injection."""

    injection: int
    target: int
    element: int
    bit: int
    outcomes: Counts


class HitOutcomes(NamedTuple):
    """The injections that hit one bit number of one tensor, and the outcomes over all of them and all batches."""

    target: int
    bit: int
    injections: int
    outcomes: Counts


class Store:
    """An open results folder; a context manager.

    Attributes:
        path: the folder.
        header: the content of ``campaign.json``.
    """

    def __init__(self, path: Path, header: Header, database: sqlite3.Connection, lock: int | None) -> None:
        self.path = path
        self.header = header
        self._database = database
        self._lock = lock
        self._tables = Tables(header.task)
        self._rows = CheckedRows(database, self._tables, header)
        self._listed: set[int] | None = None  # injections whose faults are recorded
        self._waiting = WaitingRows()

    @classmethod
    def create_or_resume(cls, path: Path, header: Header, *, durable: bool = False, begins_alike: bool = False) -> Self:
        """Open ``path`` for writing; a smaller campaign there grows to the one that is asked for.

        Args:
            path: the folder; made when missing.
            header: content for ``campaign.json``; its ``identity`` decides whether an existing
                campaign is the same one, or grows to it.
            durable: wait after every transaction until the disk has it.
            begins_alike: the images begin with the recorded ones, see ``require_same``.

        Raises:
            StoreError: the folder is another campaign's, in use, damaged, or not a results folder.
        """
        wanted = Subject.of(header)
        with ExitStack() as undo:
            cls.recorded_header(path, wanted, begins_alike=begins_alike)
            if make_folder(path):
                undo.callback(remove_if_empty, path)
            lock = take_lock(path)
            undo.callback(os.close, lock)
            remove_part(path)
            # another process may have been first, or have grown it
            existing = cls.recorded_header(path, wanted, begins_alike=begins_alike)
            used = header if existing is None else existing.grown_to(header)
            store = cls._created(path, header, lock, undo) if existing is None else cls._opened(path, used, lock)
            undo.callback(store._database.close)
            if durable:
                wait_for_disk(store._database)
            sign(path, lock)
            if used is not existing:
                if existing is not None:
                    remove_maps(path)  # they were the worst of fewer units
                write_header(path, used)  # written last: a folder with settings has a database
            undo.pop_all()
        return store

    @classmethod
    def _created(cls, path: Path, header: Header, lock: int, undo: ExitStack) -> Self:
        """Make a database that holds nothing yet in a folder without settings; ``undo`` removes what was made."""
        if not (path / UNITS).exists():  # it does where a start was killed
            undo.callback(remove_files, path)
        store = cls(path, header, create_database(path, Tables(header.task)), lock)
        with store._transaction():
            store._rows.start()
        return store

    @classmethod
    def _opened(cls, path: Path, header: Header, lock: int | None) -> Self:
        """Open a database, every row of which has to be what was recorded."""
        store = cls(path, header, open_database(path, Tables(header.task)), lock)
        with ExitStack() as undo:
            undo.callback(store._database.close)
            with translated(path):
                require_whole(path, store._rows.state())
            undo.pop_all()
        return store

    @staticmethod
    def recorded_header(path: Path, wanted: Subject, *, begins_alike: bool = False) -> Header | None:
        """Return the header of the campaign in ``path``, None where there is none yet; nothing is made.

        Raises:
            StoreError: the campaign there is another one that does not grow to the wanted, see ``require_same``, or is
                damaged, or the folder holds something else.
        """
        header = read_header(path)
        if header is None:
            require_empty(path)
        else:
            require_same(path, Subject.of(header), wanted, begins_alike=begins_alike)
        return header

    @staticmethod
    def header_of(path: Path) -> Header:
        """Return the header of the campaign in ``path``.

        Raises:
            StoreError: there is no campaign, or it is damaged.
        """
        header = read_header(path)
        if header is None:
            raise StoreError(f"{path} holds no campaign (no {SETTINGS}); name a folder that was the `results` of one")
        return header

    @staticmethod
    def recorded_settings(path: Path) -> Settings | None:
        """Return the settings of the campaign in ``path``; None where there is none yet.

        Raises:
            StoreError: it is damaged.
        """
        header = read_header(path)
        return None if header is None else header.settings

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing results folder for reading.

        Raises:
            StoreError: there is no campaign, or it is damaged.
        """
        while True:
            header = cls.header_of(path)
            try:
                return cls._opened(path, header, None)
            except StoreError:
                # rows that are beyond a campaign which has grown meanwhile are no damage
                if cls.header_of(path).identity.fingerprint == header.identity.fingerprint:
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            self._database.close()
            if self._lock is not None:
                os.close(self._lock)

    def add(self, record: Record) -> None:
        """Record one finished unit, and the faults of its injection where they are not recorded yet.

        They are on disk after a twentieth of a second of further work at the latest, or after ``flush``.
        """
        values = (*record.unit, *self._tables.row(record.outcomes), record.n_faults, record.wall_ns)
        injection = record.unit.repeat
        is_new = record.faults is not None and injection not in self._known_injections()
        self._waiting.add("units", [values])
        if record.faults is not None and is_new:
            columns = (column.tolist() for column in (record.faults.target, record.faults.element, record.faults.bit))
            self._waiting.add("faults", [(injection, *fault) for fault in zip(*columns, strict=True)])
            self._known_injections().add(injection)
        if self._waiting.are_due:
            self.flush()

    def add_quiet(self, unit: Unit) -> None:
        """Record, as ``add`` does, that a unit was met that has no flip and was not run."""
        self._waiting.add("units", [(*unit, *self._tables.no_counts, 0, 0)])
        if self._waiting.are_due:
            self.flush()

    def add_golden(self, batch: int, found: GoldenRun) -> None:
        """Record the golden run of one batch, as ``add`` does."""
        self._waiting.add("golden", [(batch, *self._tables.row(found.outcomes), found.digest, found.decided)])
        if self._waiting.are_due:
            self.flush()

    def flush(self) -> None:
        """Have everything on disk that was added.

        Raises:
            StoreError: the disk is full, or the database is damaged.
        """
        if self._waiting.rows:
            with self._transaction():
                for table, rows in self._waiting.rows.items():
                    self._rows.add(table, rows)
        self._waiting.committed()

    def recorded(self) -> UnitSet:
        """Return which units are recorded, those that were not run aside."""
        parts = self._parts(f"SELECT rate, repeat, batch FROM units WHERE {self._tables.was_run}")
        return UnitSet(self.header.batches, (Unit(*row) for rows in parts for row in rows))

    def quiet(self) -> int:
        """Return how many units were met that have no flip and were not run."""
        ((count,),) = self._query(f"SELECT COUNT(*) FROM units WHERE NOT {self._tables.was_run}")
        return int(count)

    def units(self) -> dict[Unit, Record]:
        """Return all recorded units, those that were not run aside."""
        found: dict[Unit, Record] = {}
        every = self._tables.select("units", self._tables.columns["units"])
        for row in self._query(f"{every} WHERE {self._tables.was_run} ORDER BY rate, repeat, batch"):
            unit = Unit(*row[:3])
            n_faults, wall_ns = row[-2:]
            found[unit] = Record(unit, self._tables.counts_of(row[3:-2]), n_faults, wall_ns)
        return found

    def columns(self, level: float) -> dict[str, NDArray[np.int64]]:
        """Return the recorded units of one level, sorted by batch and repeat, as one array (units,) per column."""
        names = ("repeat", "batch", *self._tables.counts, "n_faults")
        chosen = f"WHERE rate = ? AND {self._tables.was_run} ORDER BY batch, repeat"
        query = f"{self._tables.select('units', names)} {chosen}"
        parts = [np.array(rows, np.int64) for rows in self._parts(query, (level,))]
        table = np.concatenate([np.empty((0, len(names)), np.int64), *parts])
        return dict(zip(names, table.T, strict=True))

    def levels(self) -> list[float]:
        """Return the levels of which units are recorded, ascending."""
        return [row[0] for row in self._query("SELECT DISTINCT rate FROM units ORDER BY rate")]

    def set_stopping(self, stopping: Stopping | None) -> None:
        """Note in ``campaign.json`` when the campaign may end early, which readers of intervals must know."""
        self.flush()  # what it says is true of what is on disk
        if self.header.stopping != stopping:
            self.header = replace(self.header, stopping=stopping)
            write_header(self.path, self.header)

    def golden(self) -> dict[int, Counts]:
        """Return the recorded fault-free outcomes per batch."""
        return {batch: found.outcomes for batch, found in self.golden_runs().items()}

    def golden_runs(self) -> dict[int, GoldenRun]:
        """Return what is recorded of golden runs per batch."""
        rows = self._query(f"{self._tables.select('golden', self._tables.columns['golden'])} ORDER BY batch")
        return {row[0]: GoldenRun(self._tables.counts_of(row[1:-2]), *row[-2:]) for row in rows}

    def count(self) -> int:
        """Return how many units are recorded, those that were not run aside."""
        ((found,),) = self._query(f"SELECT COUNT(*) FROM units WHERE {self._tables.was_run}")
        return int(found)

    def missing(self) -> dict[int, int]:
        """Return how many units of every batch are not recorded, without those of which none is missing."""
        known = dict(self._query("SELECT batch, COUNT(*) FROM units GROUP BY batch"))
        in_all = len(self.header.levels) * self.header.patterns
        left = {batch: in_all - known.get(batch, 0) for batch in range(self.header.batches)}
        return {batch: count for batch, count in left.items() if count}

    def units_by_repeat(self) -> dict[int, int]:
        """Return how many units of every repeat are recorded."""
        return dict(self._query("SELECT repeat, COUNT(*) FROM units GROUP BY repeat"))

    @contextmanager
    def union(self) -> Iterator[Callable[[Self], Taken]]:
        """Yield what takes in all that another folder of the campaign has recorded, in one transaction.

        Raises:
            StoreError: a unit is recorded differently; then nothing of any folder is taken in.
        """
        golden = self.golden_runs()
        with self._transaction():
            union = Union(self._database, self._tables, self._rows, golden)
            yield lambda other: union.add(
                other.path, other._database, other.golden_runs(), self._numbering_of(other.header.identity)
            )
            union.close()
        self._listed = None

    def _numbering_of(self, identity: Identity) -> Numbering | None:
        """Return which numbers another folder's repeats have here; None where they keep theirs."""
        pooled = self.header.identity.pooled
        if pooled is None or identity.pooled is not None:
            return None
        return pooled.numberings[identity.settings.seed]

    def set_parts(self, parts: Sequence[PartInfo]) -> None:
        """Note in ``campaign.json`` which folders were put together here."""
        self.header = replace(self.header, parts=tuple(parts))
        write_header(self.path, self.header)

    def fault_outcomes(self) -> list[FaultOutcomes]:
        """Return every recorded fault of every injection with the injection's outcomes so far."""
        found = []
        for row in self._query(self._tables.per_fault):
            found.append(FaultOutcomes._make((*row[:4], self._tables.counts_of(row[4:]))))
        return found

    def faults(self, injection: int) -> Faults:
        """Return the recorded faults of one injection."""
        rows = self._query("SELECT target, element, bit FROM faults WHERE injection = ?", (injection,))
        return Faults(*np.array(rows, np.int64).reshape(-1, 3).T)

    def hits(self) -> list[HitOutcomes]:
        """Return the injections so far by tensor and bit; one of several faults counts for each of them."""
        found = []
        for row in self._query(self._tables.per_tensor_and_bit):
            found.append(HitOutcomes._make((*row[:3], self._tables.counts_of(row[3:]))))
        return found

    def _known_injections(self) -> set[int]:
        if self._listed is None:
            self._listed = {row[0] for row in self._query("SELECT DISTINCT injection FROM faults")}
        return self._listed

    def _query(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.flush()
        with translated(self.path):
            return self._database.execute(query, values).fetchall()

    def _parts(self, query: str, values: Sequence[Any] = ()) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of a query some at a time: those of a long campaign take a hundred times its arrays."""
        self.flush()
        with translated(self.path):
            cursor = self._database.execute(query, values)
            while rows := cursor.fetchmany(_ROWS):
                yield rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make all of a block's changes at once, or none."""
        with translated(self.path), self._database:
            self._database.execute("BEGIN")
            yield
