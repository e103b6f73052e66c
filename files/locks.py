"""Locks on files, which end with the process that holds them, however it ends."""

import fcntl
from typing import Protocol

__all__ = ["try_lock"]


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


def try_lock(file: int | _HasDescriptor) -> bool:
    """Lock an open file for this process alone, without waiting.

    The lock lasts until the file is closed.

    Returns:
        False where another process holds it.

    Raises:
        OSError: the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
