"""The file ``units.sqlite`` of a results folder: made, and opened once SQLite has found it whole."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from ftonnx.campaign.store.lock import translated
from ftonnx.campaign.store.tables import Tables
from ftonnx.errors import StoreError
from ftonnx.files import require_plain

__all__ = ["UNITS", "create_database", "open_database", "wait_for_disk"]

UNITS: Final = "units.sqlite"
"""Name of the file."""

_UNCHANGED: Final = "mode=ro&immutable=1"
"""Of a file that nobody writes to meanwhile."""

_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"


def create_database(path: Path, tables: Tables) -> sqlite3.Connection:
    """Make the tables in a folder without settings, where they are not there yet.

    Raises:
        StoreError: the disk does not take them, or units are recorded there.
    """
    with translated(path):
        database = _connect(path, tables.create)
        if database.execute("SELECT * FROM units").fetchone():
            database.close()
            raise StoreError(f"{path} holds units but no campaign.json; put it back, or choose another `results`")
    return database


def open_database(path: Path, tables: Tables) -> sqlite3.Connection:
    """Open the database of a campaign once SQLite has found it whole; a damaged one is not touched.

    Raises:
        StoreError: it is damaged, or holds other tables.
    """
    with translated(path):
        require_plain(path / UNITS)
        try:
            _require_sound(path, tables)
        except sqlite3.OperationalError:
            raise  # it may be whole, and the disk not
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of a message that quotes what is no text
            raise StoreError(
                f"{path / UNITS} is damaged ({error}), so that nothing in it can be relied on and nothing be repaired: "
                "move the folder away, and run the same command again"
            ) from error
        return _connect(path) if os.access(path, os.W_OK) else _connect_unchanged(path)


def wait_for_disk(database: sqlite3.Connection) -> None:
    """From now on, let every transaction end when the disk has it, and not at the next checkpoint."""
    database.execute("PRAGMA synchronous=FULL")


def _require_sound(path: Path, tables: Tables) -> None:
    """Look at a database through a connection that writes nothing.

    Raises:
        sqlite3.Error: it is damaged, or holds other tables.
    """
    mode = "mode=ro" if _has_log(path) else _UNCHANGED
    with closing(_connect_to_read(path, mode)) as database:
        database.text_factory = _text
        (page_size,) = database.execute("PRAGMA page_size").fetchone()
        if mode == _UNCHANGED and (path / UNITS).stat().st_size % page_size:
            raise sqlite3.DatabaseError("the file is cut off")
        verdict = database.execute("PRAGMA quick_check").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if database.execute(_SCHEMA).fetchall() != _schema_of(tables):
            raise sqlite3.DatabaseError("a table is missing, changed, or another program's")


def _schema_of(tables: Tables) -> Sequence[tuple[Any, ...]]:
    """Return what SQLite says of freshly made tables."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.text_factory = _text
        database.executescript(tables.create)
        return database.execute(_SCHEMA).fetchall()


def _text(content: bytes) -> str:
    """Read what may be no text any more."""
    return content.decode(errors="replace")


def _connect_unchanged(path: Path) -> sqlite3.Connection:
    """Connect in a folder that cannot be written to, where SQLite can share nothing with writers.

    Raises:
        StoreError: what was written last is still in the log, which only a folder that can be written to takes in.
    """
    if _has_log(path):
        raise StoreError(
            f"{path} is of a campaign that was not ended, and cannot be written to: copy it, and read that"
        )
    database = _connect_to_read(path, _UNCHANGED)
    database.text_factory = bytes
    return database


def _connect_to_read(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{(path / UNITS).as_uri()}?{mode}", uri=True, isolation_level=None)


def _has_log(path: Path) -> bool:
    """Say whether what was written last is still in a log beside the file."""
    return (path / f"{UNITS}-wal").exists()


def _connect(path: Path, script: str = "") -> sqlite3.Connection:
    database = sqlite3.connect(path / UNITS, isolation_level=None)
    database.text_factory = bytes  # a number that a flipped bit has turned into a text may be no text at all
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(script)
    except BaseException:
        database.close()
        raise
    return database
