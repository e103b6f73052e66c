"""A study's folder belongs to one process at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ftonnx.errors import StoreError
from ftonnx.files import reason_of, try_lock

__all__ = ["is_read_only", "locked"]

_LOCK: Final = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Make the folder, and keep other processes out of it during the block; yield whether it can be written to.

    Where it cannot, nobody is at work in it, and it is read.

    Raises:
        StoreError: another one is in it, or it cannot be made.
    """
    if is_read_only(folder):
        yield False
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("ab")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {reason_of(error, folder)}") from error
    with file:
        if not try_lock(file):
            raise StoreError(f"{folder} is in use by another process; wait for it to end")
        yield True


def is_read_only(folder: Path) -> bool:
    """Say whether a folder is there and cannot be written to."""
    return folder.is_dir() and not os.access(folder, os.W_OK)
