"""The SQL of a results folder's three tables, whose columns are named by a task."""

from collections.abc import Mapping, Sequence
from typing import Any

from ftonnx.tasks import Counts, Task

__all__ = ["Tables"]


class Tables:
    """The tables of one task: ``units``, ``golden`` and ``faults``.

    A unit without counts was met and had no flip, so that it was not run.

    Attributes:
        counts: the task's names.
        columns: of every table, in order.
        create: makes them.
        insert: adds a row, by table.
        was_run: the condition for rows of units that were run.
        per_tensor_and_bit: sums up injections for each bit of each tensor that they hit.
        per_fault: lists every fault with the sums of its injection.
    """

    def __init__(self, task: Task) -> None:
        self.counts = task.counts
        self.columns: Mapping[str, tuple[str, ...]] = {
            "units": ("rate", "repeat", "batch", *task.counts, "n_faults", "wall_ns"),
            "golden": ("batch", *task.counts, "digest", "decided"),
            "faults": ("injection", "target", "element", "bit"),
        }
        counted = _listed(f"{_quoted(name)} INTEGER" for name in task.counts)
        self.create = f"""
            CREATE TABLE IF NOT EXISTS units (
                rate REAL, repeat INTEGER, batch INTEGER, {counted},
                n_faults INTEGER, wall_ns INTEGER, PRIMARY KEY (rate, repeat, batch)
            );
            CREATE TABLE IF NOT EXISTS golden (batch INTEGER PRIMARY KEY, {counted}, digest BLOB, decided BLOB);
            CREATE TABLE IF NOT EXISTS faults (
                injection INTEGER, target INTEGER, element INTEGER, bit INTEGER,
                PRIMARY KEY (injection, target, element, bit)
            ) WITHOUT ROWID;
        """
        self.insert = {}
        for table, columns in self.columns.items():
            places = _listed("?" * len(columns))
            # a unit that was not run may be run later
            verb = "INSERT OR REPLACE" if table == "units" else "INSERT"
            self.insert[table] = f"{verb} INTO {table} VALUES ({places})"
        self.was_run = f"{_quoted(task.counts[0])} IS NOT NULL"
        sums = _listed(f"SUM({_quoted(name)}) AS {_quoted(name)}" for name in task.counts)
        per_injection = f"(SELECT repeat, {sums} FROM units GROUP BY repeat) AS sums ON repeat = injection"
        self.per_tensor_and_bit = (
            f"SELECT target, bit, COUNT(DISTINCT injection), {sums} FROM faults JOIN {per_injection} "
            "GROUP BY target, bit ORDER BY target, bit"
        )
        names = _listed(f"sums.{_quoted(name)}" for name in task.counts)
        self.per_fault = (
            f"SELECT injection, target, element, bit, {names} FROM faults JOIN {per_injection} "
            "ORDER BY injection, target, element, bit"
        )

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
