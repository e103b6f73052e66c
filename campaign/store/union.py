"""Putting what several folders of one campaign hold into one of them, all of it or nothing."""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from ftonnx.campaign.store.checked_rows import CheckedRows, in_portions
from ftonnx.campaign.store.golden_run import GoldenRun
from ftonnx.campaign.store.seeds import Numbering
from ftonnx.campaign.store.tables import Tables
from ftonnx.errors import StoreError

__all__ = ["Taken", "Union"]

_NUMBERED: Final = {"units": "repeat", "faults": "injection"}
"""The tables that are taken in row by row, with what each seed counts from 0."""

_NOT_COMPARED: Final = "wall_ns"
"""How long a unit took is no outcome."""


class Taken(NamedTuple):
    """What a folder brought.

    Attributes:
        units: that it holds.
        other_batches: batches whose fault-free outputs differ from those of the folder that brought them first.
        other_images: their images that are taken for something else; None where the task does not say.
    """

    units: int
    other_batches: int
    other_images: int | None


class Union:
    """A transaction on one database, into which the rows of others go."""

    def __init__(
        self, database: sqlite3.Connection, tables: Tables, rows: CheckedRows, golden: dict[int, GoldenRun]
    ) -> None:
        """Begin with what is there.

        Args:
            database: in a transaction.
            tables: that it has.
            rows: its rows, whose check values are those of its campaign.
            golden: the golden runs that are recorded in it, which is kept up.
        """
        self._database = database
        self._tables = tables
        self._rows = rows
        self._golden = golden
        for table in _NUMBERED:
            database.execute(f"CREATE TEMP TABLE new_{table} AS SELECT * FROM {table} WHERE 0")

    def add(
        self, path: Path, database: sqlite3.Connection, golden: dict[int, GoldenRun], numbering: Numbering | None = None
    ) -> Taken:
        """Take in the rows of another folder; what is there already must be equal.

        Args:
            path: of the folder.
            database: its own.
            golden: its golden runs.
            numbering: of its repeats among those of several seeds; None where they keep their numbers.

        Raises:
            StoreError: a unit is recorded differently.
        """
        units = self._add("units", path, database, numbering)
        self._add("faults", path, database, numbering)
        batches, images = self._add_golden(golden)
        return Taken(units, batches, images)

    def close(self) -> None:
        """Count the rows, and leave nothing but them."""
        for table in _NUMBERED:
            self._rows.recount(table)
            self._database.execute(f"DROP TABLE temp.new_{table}")

    def _add(self, table: str, path: Path, database: sqlite3.Connection, numbering: Numbering | None) -> int:
        columns = self._tables.columns[table]
        into = f"INSERT INTO temp.new_{table} VALUES ({', '.join('?' * (len(columns) + 1))})"
        rows: Iterable[tuple[Any, ...]] = database.execute(self._tables.select(table, columns))
        if numbering is not None:
            rows = _numbered(rows, columns.index(_NUMBERED[table]), numbering)
        added = 0
        for some in in_portions(rows):
            self._database.executemany(into, self._rows.checked(table, some))
            added += len(some)
        self._require_equal(table, path, numbering)
        self._database.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM temp.new_{table}")
        self._database.execute(f"DELETE FROM temp.new_{table}")
        return added

    def _require_equal(self, table: str, path: Path, numbering: Numbering | None) -> None:
        keys = self._tables.keys[table]
        compared = [name for name in self._tables.columns[table] if name not in keys and name != _NOT_COMPARED]
        if not compared:
            return
        differs = " OR ".join(f'known."{name}" IS NOT new."{name}"' for name in compared)
        same_key = " AND ".join(f'known."{name}" = new."{name}"' for name in keys)
        listed = ", ".join(f'{side}."{name}"' for side in ("known", "new") for name in compared)
        named = ", ".join(f'new."{name}"' for name in keys)
        query = f"SELECT {named}, {listed} FROM temp.new_{table} AS new JOIN main.{table} AS known ON {same_key}"
        row = self._database.execute(f"{query} WHERE {differs} LIMIT 1").fetchone()
        if row is None:
            return
        place = dict(zip(keys, row, strict=False))
        if numbering is not None:
            # as its own folder counts
            place[_NUMBERED[table]] = numbering.origin(place[_NUMBERED[table]])
        unit = ", ".join(f"{name} {value:g}" for name, value in place.items())
        values = row[len(keys) :]
        known, new = values[: len(compared)], values[len(compared) :]
        pairs = zip(compared, known, new, strict=True)
        different = ", ".join(f"{name} {new} here, {known} before" for name, known, new in pairs if known != new)
        raise StoreError(
            f"{path} and another folder have recorded a unit differently ({unit}: {different}): they did not run the "
            "same thing, or on processors that compute differently; run one of them again"
        )

    def _add_golden(self, golden: dict[int, GoldenRun]) -> tuple[int, int | None]:
        batches = 0
        images: int | None = 0
        for batch, found in golden.items():
            known = self._golden.get(batch)
            if known is None:
                row = (batch, *self._tables.row(found.outcomes), found.digest, found.decided)
                self._rows.add("golden", [row])
                self._golden[batch] = found
            elif known.digest != found.digest:
                differ = known.images_that_differ(found)
                batches += 1
                images = None if images is None or differ is None else images + differ
        return batches, images


def _numbered(rows: Iterable[tuple[Any, ...]], column: int, numbering: Numbering) -> Iterator[tuple[Any, ...]]:
    """Yield rows with the numbers of a seed's repeats among those of several seeds.

    >>> list(_numbered([(1e-6, 2, "a")], 1, Numbering(block=3, stride=6, offset=3)))
    [(1e-06, 5, 'a')]
    """
    for row in rows:
        yield (*row[:column], numbering.of(row[column]), *row[column + 1 :])
