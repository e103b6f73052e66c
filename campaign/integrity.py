"""Saying whether a results folder is what was recorded, and dropping what is not."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftonnx.campaign.store.checked_rows import CheckedRows, TableState
from ftonnx.campaign.store.damage import require_whole
from ftonnx.campaign.store.database import open_database
from ftonnx.campaign.store.folder import Store
from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.header_file import write_header
from ftonnx.campaign.store.lock import sign, take_lock, translated
from ftonnx.campaign.store.repair import drop_damaged
from ftonnx.campaign.store.tables import Tables

__all__ = ["CheckedResults", "check_results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedResults:
    """What was found in a results folder.

    Attributes:
        results: the folder.
        tables: its units, golden runs and faults, as they were found.
        units: that are recorded in it now, those that were not run too.
        repaired: whether damaged rows were dropped.
    """

    results: Path
    tables: tuple[TableState, ...]
    units: int
    repaired: bool

    @property
    def is_whole(self) -> bool:
        """Whether all was found as it was recorded."""
        return all(table.is_whole for table in self.tables)

    def require_whole(self) -> None:
        """Refuse a folder that is damaged and was not repaired.

        Raises:
            StoreError: it is; the message says what is damaged, and how much is good.
        """
        if not self.repaired:
            require_whole(self.results, self.tables)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``ftonnx results check --json``."""
        return {
            "results": str(self.results),
            "whole": self.is_whole,
            "repaired": self.repaired,
            "units": self.units,
            "tables": [table.to_dict() for table in self.tables],
        }


def check_results(results: str | Path, *, repair: bool = False) -> CheckedResults:
    """Compare every row of a results folder with its check value, and every table with the number of its rows.

    Args:
        results: the folder.
        repair: drop the rows that are damaged, all at once or none, and what is of no use without them: the same
            campaign measures them again. The folder must not be in use.

    Raises:
        StoreError: there is no campaign, SQLite cannot read its database, or campaign.json is damaged; or, for
            ``repair``, the folder is in use or cannot be written.
    """
    path = Path(results).absolute()
    header = Store.header_of(path)
    with _opened(path, header, writes=repair) as (database, tables):
        rows = CheckedRows(database, tables, header)
        found = tuple(rows.state())
        repaired = repair and not all(table.is_whole for table in found)
        if repaired:
            _no_longer_ended(path, header)
            drop_damaged(database, tables, rows, header)
        ((units,),) = database.execute("SELECT COUNT(*) FROM units")
    return CheckedResults(results=path, tables=found, units=units, repaired=repaired)


@contextmanager
def _opened(path: Path, header: Header, *, writes: bool) -> Iterator[tuple[sqlite3.Connection, Tables]]:
    """Open a database that may have damaged rows, locked where it is to be written."""
    tables = Tables(header.task)
    with ExitStack() as stack:
        if writes:
            lock = take_lock(path)
            stack.callback(os.close, lock)
            sign(path, lock)
        database = stack.enter_context(closing(open_database(path, tables)))
        stack.enter_context(translated(path))
        yield database, tables


def _no_longer_ended(path: Path, header: Header) -> None:
    """Note that a campaign with an early end has to look again whether enough is known."""
    if header.stopping is not None and header.stopping.ended:
        write_header(path, replace(header, stopping=replace(header.stopping, ended=False)))
