"""The lock of a results folder, which ends with the process that holds it, and what goes wrong on the disk."""

import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from ftonnx.errors import StoreError

__all__ = ["LOCK", "sign", "take_lock", "translated"]

LOCK: Final = ".lock"
"""Name of the file."""


def take_lock(path: Path) -> int:
    """Lock a folder, by a file in it, and return the file's descriptor; the lock ends with it, or with the process.

    Raises:
        StoreError: another process holds it.
    """
    with translated(path), ExitStack() as undo:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        undo.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 200).decode(errors="replace").strip() or "another process"
            raise StoreError(
                f"{path} is in use by {holder}; wait for it to end, or choose another `results`"
            ) from error
        undo.pop_all()
    return lock


def sign(path: Path, lock: int) -> None:
    """Write into the lock who holds it."""
    with translated(path):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into one clear line."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"the results in {path} cannot be read or written ({error}); what was recorded is kept: "
            "free some disk space, or move a damaged folder away, and run the same command again"
        ) from error
