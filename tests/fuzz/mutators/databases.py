"""Mutations of SQLite's files by statements, so that SQLite finds nothing wrong with them."""

import sqlite3
from contextlib import closing

from fuzz.mutators.raw import change_bytes

_JOURNAL = slice(18, 20)
"""Where a file says whether it has a log beside it, which one in memory cannot have."""

ODD_CELLS = (
    "NULL", "-1", "0", "1", "9223372036854775807", "-9223372036854775808", "1e300", "-1e-300", "9e999", "'x'", "''",
    "x'ff00'", "CAST(x'ff' AS TEXT)", "zeroblob(70000)", "'1'", "0.5", "'é'",
)  # fmt: skip
"""Values as SQL writes them."""

_OTHERWISE = (
    "DROP TABLE {table}", "DELETE FROM {table}", "ALTER TABLE {table} ADD COLUMN more", "CREATE VIEW v AS SELECT 1",
    "ALTER TABLE {table} RENAME TO other", "CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
    "ALTER TABLE {table} RENAME COLUMN {column} TO other", "CREATE INDEX i ON {table}({column})",
    "DELETE FROM {table} WHERE rowid % 2", "PRAGMA user_version=7", "CREATE TABLE more(a)",
)  # fmt: skip


def change_database(content, others, rng):
    """Return a database with cells, rows or tables changed."""
    plain = bytearray(content)
    plain[_JOURNAL] = b"\1\1"
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            database.deserialize(bytes(plain))
            for _ in range(rng.choice((1, 1, 3))):
                database.execute(statement(database, rng))
            changed = bytearray(database.serialize())
    except (sqlite3.Error, UnicodeDecodeError):
        return change_bytes(content, others, rng)
    changed[_JOURNAL] = content[_JOURNAL]
    return bytes(changed)


def statement(database, rng, *, only_cells=False):
    """Return a statement that changes something."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    table = rng.choice(tables)
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
    names = {"table": f'"{table}"', "column": f'"{rng.choice(columns)}"'}
    if not only_cells and rng.random() < 0.4:
        return rng.choice(_OTHERWISE).format_map(names)
    (count,) = database.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    row = rng.randrange(count) if count else 0
    which = f'rowid IN (SELECT rowid FROM "{table}" LIMIT 1 OFFSET {row})'
    return f"UPDATE {names['table']} SET {names['column']} = {rng.choice(ODD_CELLS)} WHERE {which}"
