"""The results folder of one campaign: ``campaign.json`` and ``units.sqlite``.

A unit is recorded in one transaction once it is finished, so a kill at any moment loses at most
the unit in work. One process at a time writes; readers need no lock.
"""

import fcntl
import hashlib
import json
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from ftonnx.campaign.plan import Unit
from ftonnx.campaign.task import Outcomes
from ftonnx.errors import StoreError

__all__ = ["SCHEMA_VERSION", "Record", "Store", "fingerprint"]

SCHEMA_VERSION: Final = 1
_SETTINGS: Final = "campaign.json"
_UNITS: Final = "units.sqlite"
_LOCK: Final = ".lock"
_COUNTS: Final = tuple(field.name for field in fields(Outcomes))
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS units (
    rate REAL, repeat INTEGER, batch INTEGER, {" INTEGER, ".join(_COUNTS)} INTEGER,
    n_faults INTEGER, wall_ns INTEGER, PRIMARY KEY (rate, repeat, batch)
);
CREATE TABLE IF NOT EXISTS golden (batch INTEGER PRIMARY KEY, {" INTEGER, ".join(_COUNTS)} INTEGER);
"""


class Record(NamedTuple):
    """One finished unit."""

    unit: Unit
    outcomes: Outcomes
    n_faults: int
    wall_ns: int


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return a short hash of what makes two campaigns the same."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


class Store:
    """An open results folder; a context manager.

    Attributes:
        path: the folder.
        header: the content of ``campaign.json``.
    """

    def __init__(self, path: Path, header: dict[str, Any], database: sqlite3.Connection, lock: int | None) -> None:
        self.path, self.header = path, header
        self._database, self._lock = database, lock

    @classmethod
    def create_or_resume(cls, path: Path, header: dict[str, Any]) -> Self:
        """Open ``path`` for writing.

        Args:
            path: the folder; made when missing.
            header: content for ``campaign.json``; its ``identity`` decides whether an existing
                campaign is the same one.

        Raises:
            StoreError: the folder is another campaign's, in use, damaged, or not a results folder.
        """
        made = _make_folder(path)
        lock = _take_lock(path)
        try:
            existing = _read_header(path) if (path / _SETTINGS).exists() else None
            if existing is None:
                _require_empty(path)
                _write_atomically(path / _SETTINGS, header)
            else:
                _require_same(path, existing["identity"], header["identity"])
            return cls(path, existing or header, _open_database(path / _UNITS), lock)
        except BaseException:
            os.close(lock)
            if made:
                _remove_fresh(path)
            raise

    @staticmethod
    def recorded_header(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the header of the campaign in ``path``, None where there is none yet; nothing is made.

        Raises:
            StoreError: the campaign there has another identity, or is damaged.
        """
        if not (path / _SETTINGS).exists():
            return None
        header = _read_header(path)
        _require_same(path, header["identity"], identity)
        return header

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing results folder for reading.

        Raises:
            StoreError: there is no campaign, or it is damaged.
        """
        if not (path / _SETTINGS).exists():
            raise StoreError(
                f"{path} holds no campaign (no {_SETTINGS}); name a folder made by ftonnx inject --results"
            )
        if not (path / _UNITS).exists():
            raise StoreError(f"{path} has no recorded units yet; run the campaign first")
        return cls(path, _read_header(path), _open_database(path / _UNITS), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        if self._lock is not None:
            os.close(self._lock)

    def add(self, record: Record) -> None:
        """Record one finished unit."""
        values = (*record.unit, *astuple(record.outcomes), record.n_faults, record.wall_ns)
        self._insert("units", values)

    def add_golden(self, batch: int, outcomes: Outcomes) -> None:
        """Record the fault-free outcomes of one batch."""
        self._insert("golden", (batch, *astuple(outcomes)))

    def units(self) -> dict[Unit, Record]:
        """Return all recorded units."""
        with _translated(self.path):
            rows = self._database.execute("SELECT * FROM units ORDER BY rate, repeat, batch").fetchall()
        records = (
            Record(Unit(*row[:3]), Outcomes(**dict(zip(_COUNTS, row[3:-2], strict=True))), *row[-2:]) for row in rows
        )
        return {record.unit: record for record in records}

    def golden(self) -> dict[int, Outcomes]:
        """Return the recorded fault-free outcomes per batch."""
        with _translated(self.path):
            rows = self._database.execute("SELECT * FROM golden ORDER BY batch").fetchall()
        return {row[0]: Outcomes(**dict(zip(_COUNTS, row[1:], strict=True))) for row in rows}

    def _insert(self, table: str, values: tuple[Any, ...]) -> None:
        with _translated(self.path):
            self._database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into one clear line."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"the results in {path} cannot be read or written ({error}); what was recorded is kept: "
            "free some disk space, or move a damaged folder away, and run the same command again"
        ) from error


def _make_folder(path: Path) -> bool:
    """Make the folder; say whether it is new."""
    with _translated(path):
        fresh = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
    return fresh


def _take_lock(path: Path) -> int:
    with _translated(path):
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, 200).decode(errors="replace").strip() or "another process"
        os.close(lock)
        raise StoreError(f"{path} is in use by {holder}; wait for it to end, or choose another --results") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return lock


def _require_empty(path: Path) -> None:
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in (_LOCK, f"{_SETTINGS}.tmp"))
    if others:
        raise StoreError(f"{path} is not empty and holds no campaign (it has {others[0]!r}); choose a new folder")


def _require_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if old == new:
        return
    different = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    raise StoreError(
        f"{path} belongs to another campaign: fingerprint {fingerprint(old)} there, {fingerprint(new)} here; "
        f"different: {_explain(different, old, new)}; repeat its settings or choose another --results"
    )


def _explain(keys: list[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name the differing entries, nested ones by their own keys."""
    parts = []
    for key in keys:
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            inner = [name for name in {**old[key], **new[key]} if old[key].get(name) != new[key].get(name)]
            parts += [f"{key}.{name} {old[key].get(name)} there, {new[key].get(name)} here" for name in inner]
        else:
            parts.append(f"{key} {old.get(key)} there, {new.get(key)} here")
    return ", ".join(parts)


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads((path / _SETTINGS).read_text())
        if header["schema_version"] != SCHEMA_VERSION or not isinstance(header["identity"], dict):
            raise StoreError(
                f"{path}/{_SETTINGS} has schema version {header['schema_version']}, this ftonnx reads {SCHEMA_VERSION}"
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}/{_SETTINGS} is damaged ({error!r}); move the folder away and start anew") from error
    return header


def _write_atomically(path: Path, content: Mapping[str, Any]) -> None:
    with _translated(path.parent):
        beside = path.with_name(f"{path.name}.tmp")
        with beside.open("w") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


def _open_database(path: Path) -> sqlite3.Connection:
    with _translated(path.parent):
        database = sqlite3.connect(path, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            verdict = database.execute("PRAGMA quick_check").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            database.executescript(_TABLES)
        except BaseException:
            database.close()
            raise
    return database


def _remove_fresh(path: Path) -> None:
    """Remove a folder that this process has just made and could not use."""
    for name in (_LOCK, _SETTINGS, f"{_SETTINGS}.tmp", _UNITS, f"{_UNITS}-wal", f"{_UNITS}-shm"):
        (path / name).unlink(missing_ok=True)
    path.rmdir()
