"""Dropping the damaged rows of a database, so that what they were can be measured again."""

import sqlite3

from ftonnx.campaign.store.checked_rows import CheckedRows
from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.tables import Tables

__all__ = ["drop_damaged"]


def drop_damaged(database: sqlite3.Connection, tables: Tables, rows: CheckedRows, header: Header) -> None:
    """Leave the good rows, and of injections those of which every fault is recorded; all at once, or nothing.

    Args:
        database: of the folder, not in a transaction.
        tables: that it has.
        rows: its rows.
        header: of the campaign.

    Raises:
        sqlite3.Error: the disk does not take it.
    """
    with database:
        database.execute("BEGIN")
        for table in tables.columns:
            _keep_good(database, tables, rows, table)
        if not header.faults.fresh_per_batch:
            for statement in tables.drop_partial_injections:
                database.execute(statement)
        for table in tables.columns:
            rows.recount(table)


def _keep_good(database: sqlite3.Connection, tables: Tables, rows: CheckedRows, table: str) -> None:
    """Write a table anew: a damaged key is not where it would be looked up."""
    database.execute(f"CREATE TEMP TABLE good AS SELECT * FROM {table} WHERE 0")
    places = ", ".join("?" * (len(tables.columns[table]) + 1))
    for some in rows.good(table):
        database.executemany(f"INSERT INTO temp.good VALUES ({places})", some)
    database.execute(f"DELETE FROM main.{table}")
    # a row that is there twice is kept once
    database.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM temp.good")
    database.execute("DROP TABLE temp.good")
