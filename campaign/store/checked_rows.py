"""Rows with their check values: adding them, counting them, and finding those that are damaged."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.row_checks import Row, RowChecks
from ftonnx.campaign.store.row_rules import RowRules
from ftonnx.campaign.store.tables import CHECK, Tables

__all__ = ["CheckedRows", "TableState", "in_portions"]

_PORTION: Final = 20_000  # rows that are verified at once
_NAMED: Final = 100  # damaged rows


class TableState(NamedTuple):
    """What was found in one table.

    Attributes:
        table: its name.
        rows: that are there.
        damaged: how many of them are not what was recorded.
        examples: the first of these, by their columns as they are read.
        recorded: how many rows were recorded; None where their number is damaged.
        same_rows: whether those that are there are those that were recorded.
    """

    table: str
    rows: int
    damaged: int
    examples: tuple[Mapping[str, Any], ...]
    recorded: int | None
    same_rows: bool

    @property
    def is_whole(self) -> bool:
        """Whether all that was recorded is there, and nothing else."""
        return not self.damaged and self.same_rows

    @property
    def good(self) -> int:
        """How many rows are as they were recorded."""
        return self.rows - self.damaged

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, without the examples."""
        return {
            "table": self.table,
            "whole": self.is_whole,
            "good": self.good,
            "damaged": self.damaged,
            "recorded": self.recorded,
        }


class _Total(NamedTuple):
    """How many rows a table has, and the sum of their check values, modulo 2^64."""

    rows: int
    checks: int

    def plus(self, checks: NDArray[np.int64]) -> "_Total":
        return _Total(self.rows + checks.size, _wrapped(self.checks + _sum(checks)))

    def minus(self, checks: NDArray[np.int64]) -> "_Total":
        return _Total(self.rows - checks.size, _wrapped(self.checks - _sum(checks)))


class CheckedRows:
    """The rows of one campaign's open database.

    Every table has a total in the same database, which each transaction keeps up: rows that get lost as a whole, or
    that come back, are noticed by it.
    """

    def __init__(self, database: sqlite3.Connection, tables: Tables, header: Header) -> None:
        self._database = database
        self._tables = tables
        key = header.row_key
        self._checks = {table: RowChecks(key, table, types.values()) for table, types in tables.types.items()}
        self._total_checks = {
            table: RowChecks(key, f"totals of {table}", ("INTEGER", "INTEGER")) for table in tables.types
        }
        self._rules = RowRules(header, tables)
        self._quiet: set[Row] | None = None  # keys of units that were not run

    def start(self) -> None:
        """Note that nothing is recorded."""
        for table in self._tables.columns:
            self._set_total(table, _Total(0, 0))

    def add(self, table: str, rows: Sequence[Row]) -> None:
        """Add rows, in a transaction; those of units that were not run before take their place."""
        total = self._total(table)
        if table == "units":
            rows, taken_out = self._without_quiet(rows)
            total = total.minus(taken_out)
        checks = self._checks[table].of(rows)
        self._database.executemany(self._tables.insert[table], with_checks(rows, checks))
        self._set_total(table, total.plus(checks))

    def checked(self, table: str, rows: Sequence[Row]) -> Iterator[Row]:
        """Return rows with their check values."""
        return with_checks(rows, self._checks[table].of(rows))

    def recount(self, table: str) -> None:
        """Count the rows that are there, in a transaction, after some were added or taken out."""
        total = _Total(0, 0)
        for some in in_portions(self._database.execute(f'SELECT "{CHECK}" FROM {table}')):
            total = total.plus(np.array(some, np.int64).reshape(-1))
        self._set_total(table, total)

    def state(self) -> list[TableState]:
        """Compare everything that is there with its check values, the schedule and the totals."""
        self._database.execute("BEGIN")  # all of it is of the same moment, also where another process writes
        try:
            self._rules.know_golden(row for some in self.good("golden") for row in some)
            return [self._state_of(table) for table in self._tables.columns]
        finally:
            self._database.execute("COMMIT")

    def good(self, table: str) -> Iterator[list[Row]]:
        """Yield the rows that are as they were recorded, with their check values, some at a time."""
        for rows, _, is_good in self._verified(table):
            yield [row for row, good in zip(rows, is_good.tolist(), strict=True) if good]

    def _state_of(self, table: str) -> TableState:
        found = _Total(0, 0)
        damaged = 0
        examples: list[Mapping[str, Any]] = []
        for rows, checks, is_good in self._verified(table):
            found = found.plus(checks)
            if is_good.all():
                continue
            damaged += int((~is_good).sum())
            for number in np.flatnonzero(~is_good)[: _NAMED - len(examples)]:
                examples.append(dict(zip(self._tables.columns[table], rows[number], strict=False)))
        recorded = self._recorded_total(table)
        return TableState(
            table=table,
            rows=found.rows,
            damaged=damaged,
            examples=tuple(examples),
            recorded=None if recorded is None else recorded.rows,
            same_rows=recorded == found,
        )

    def _verified(self, table: str) -> Iterator[tuple[list[Row], NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield rows, the check values that they should have, and which of them are good, some at a time."""
        columns = (*self._tables.columns[table], CHECK)
        for rows in in_portions(self._database.execute(self._tables.select(table, columns))):
            values, checks, is_good = self._checks[table].verified(rows)
            yield rows, checks, is_good & self._rules.keep(table, values)

    def _without_quiet(self, rows: Sequence[Row]) -> tuple[Sequence[Row], NDArray[np.int64]]:
        """Take units that were not run out of the way of their successors; return these, and the check values gone."""
        width = len(self._tables.keys["units"])
        quiet = self._known_quiet()
        quiet.update(row[:width] for row in rows if row[width] is None)
        if not quiet:
            return rows, np.zeros(0, np.int64)
        last = {row[:width]: row for row in rows}
        gone: list[Row] = []
        for key in quiet.intersection(last):
            found = self._database.execute(self._tables.find_quiet, key).fetchall()
            if found:
                self._database.execute(self._tables.drop_unit, key)
                gone += found
        return [*last.values()], np.array(gone, np.int64).reshape(-1)

    def _known_quiet(self) -> set[Row]:
        if self._quiet is None:
            names = self._tables.keys["units"]
            query = f"{self._tables.select('units', names)} WHERE NOT {self._tables.was_run}"
            self._quiet = set(self._database.execute(query))
        return self._quiet

    def _total(self, table: str) -> _Total:
        """Return what is recorded of a table.

        Raises:
            sqlite3.DatabaseError: it is damaged.
        """
        found = self._recorded_total(table)
        if found is None:
            raise sqlite3.DatabaseError(f"the number of rows in table {table} is damaged")
        return found

    def _recorded_total(self, table: str) -> _Total | None:
        """Return the same; None where it is damaged."""
        query = f'SELECT rows, checks, "{CHECK}" FROM totals WHERE of_table = ?'
        found = self._database.execute(query, (table,)).fetchall()
        if not found or not self._total_checks[table].verified(found).is_good.all():
            return None
        return _Total._make(found[0][:-1])

    def _set_total(self, table: str, total: _Total) -> None:
        (check,) = self._total_checks[table].of([total]).tolist()
        self._database.execute("INSERT OR REPLACE INTO totals VALUES (?, ?, ?, ?)", (table, *total, check))


def with_checks(rows: Sequence[Row], checks: NDArray[np.int64]) -> Iterator[Row]:
    """Yield rows with their check values behind."""
    for row, check in zip(rows, checks.tolist(), strict=True):
        yield (*row, check)


def in_portions(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield lists of rows.

    >>> [len(some) for some in in_portions(range(50_000))]
    [20000, 20000, 10000]
    """
    left = iter(rows)
    while some := list(islice(left, _PORTION)):
        yield some


def _sum(checks: NDArray[np.int64]) -> int:
    return int(checks.sum())  # wraps, as it should


def _wrapped(number: int) -> int:
    """Return a number modulo 2^64, as a signed one.

    >>> _wrapped(2**63), _wrapped(-1)
    (-9223372036854775808, -1)
    """
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
