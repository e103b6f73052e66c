"""The SQL of a results folder's tables, whose columns are named by a task."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ftonnx.tasks import Counts, Task

__all__ = ["CHECK", "Tables"]

CHECK: Final = "check"
"""The last column of every table: the row's check value."""

_TOTALS: Final = f'totals (of_table TEXT PRIMARY KEY, rows INTEGER, checks INTEGER, "{CHECK}" INTEGER)'


class Tables:
    """The tables of one task: ``units``, ``golden``, ``faults``, and ``totals``, which says how many rows these have.

    A unit without counts was met and had no flip, so that it was not run. The keys are not stored a second time, in an
    index that could contradict the rows.

    Attributes:
        counts: the task's names.
        types: of every table's columns, by name and in order, without the check values.
        columns: their names.
        keys: the first of them, which tell rows apart.
        create: makes the tables.
        insert: adds a row with its check value, by table.
        was_run: the condition for rows of units that were run.
        find_quiet: finds the check value of a unit that was not run, by its key.
        drop_unit: takes out a unit, by its key.
        per_tensor_and_bit: sums up injections for each bit of each tensor that they hit.
        drop_partial_injections: take out the units of injections of which a fault is missing, and faults without units.
        per_fault: lists every fault with the sums of its injection.
    """

    def __init__(self, task: Task) -> None:
        self.counts = task.counts
        counted = dict.fromkeys(task.counts, "INTEGER")
        unit = {"rate": "REAL", "repeat": "INTEGER", "batch": "INTEGER"}
        self.types: Mapping[str, Mapping[str, str]] = {
            "units": unit | counted | {"n_faults": "INTEGER", "wall_ns": "INTEGER"},
            "golden": {"batch": "INTEGER"} | counted | {"digest": "BLOB", "decided": "BLOB"},
            "faults": dict.fromkeys(("injection", "target", "element", "bit"), "INTEGER"),
        }
        self.columns = {table: tuple(types) for table, types in self.types.items()}
        self.keys = {"units": tuple(unit), "golden": ("batch",), "faults": self.columns["faults"]}
        self.create = "\n".join(
            [*map(self._created, self.types), f"CREATE TABLE IF NOT EXISTS {_TOTALS} WITHOUT ROWID;"]
        )
        self.insert = {}
        for table, columns in self.columns.items():
            places = _listed("?" * (len(columns) + 1))
            self.insert[table] = f"INSERT INTO {table} VALUES ({places})"
        at_key = " AND ".join(f"{name} = ?" for name in unit)
        self.was_run = f"{_quoted(task.counts[0])} IS NOT NULL"
        self.find_quiet = f'SELECT "{CHECK}" FROM units WHERE {at_key} AND NOT {self.was_run}'
        self.drop_unit = f"DELETE FROM units WHERE {at_key}"
        sums = _listed(f"SUM({_quoted(name)}) AS {_quoted(name)}" for name in task.counts)
        per_injection = f"(SELECT repeat, {sums} FROM units GROUP BY repeat) AS sums ON repeat = injection"
        self.per_tensor_and_bit = (
            f"SELECT target, bit, COUNT(DISTINCT injection), {sums} FROM faults JOIN {per_injection} "
            "GROUP BY target, bit ORDER BY target, bit"
        )
        listed = "(SELECT injection, COUNT(*) AS listed FROM faults GROUP BY injection) ON injection = repeat"
        self.drop_partial_injections = (
            "DELETE FROM units WHERE repeat IN "
            f"(SELECT repeat FROM units LEFT JOIN {listed} WHERE n_faults <> COALESCE(listed, 0))",
            "DELETE FROM faults WHERE injection NOT IN (SELECT repeat FROM units)",
        )
        names = _listed(f"sums.{_quoted(name)}" for name in task.counts)
        self.per_fault = (
            f"SELECT injection, target, element, bit, {names} FROM faults JOIN {per_injection} "
            "ORDER BY injection, target, element, bit"
        )

    def _created(self, table: str) -> str:
        columns = _listed(f"{_quoted(name)} {kind}" for name, kind in self.types[table].items())
        key = _listed(self.keys[table])
        # a single integer is the place of its row, and rows with long values are better kept by it
        kind = "" if len(self.keys[table]) == 1 else " WITHOUT ROWID"
        return f'CREATE TABLE IF NOT EXISTS {table} ({columns}, "{CHECK}" INTEGER, PRIMARY KEY ({key})){kind};'

    def row(self, counts: Counts) -> tuple[int, ...]:
        """Return counts in the order of the columns."""
        return tuple(map(counts.__getitem__, self.counts))

    @property
    def no_counts(self) -> tuple[None, ...]:
        """The counts of a unit that was not run."""
        return (None,) * len(self.counts)

    def counts_of(self, row: Sequence[Any]) -> Counts:
        """Return the counts in a row's columns."""
        return Counts(dict(zip(self.counts, row, strict=True)))

    def select(self, table: str, columns: Sequence[str]) -> str:
        """Return a query for some columns of all rows."""
        return f"SELECT {_listed(map(_quoted, columns))} FROM {table}"


def _quoted(name: str) -> str:
    """Return a column's name that may be a word of SQL's; it is a Python identifier.

    >>> _quoted("group")
    '"group"'
    """
    return f'"{name}"'


def _listed(parts: Any) -> str:
    return ", ".join(parts)
