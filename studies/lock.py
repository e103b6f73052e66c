"""A study's folder belongs to one process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ftonnx.errors import StoreError
from ftonnx.files import reason_of, try_lock

__all__ = ["locked"]

_LOCK: Final = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it during the block.

    Raises:
        StoreError: another one is in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("ab")
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {reason_of(error, folder)}") from error
    with file:
        if not try_lock(file):
            raise StoreError(f"{folder} is in use by another process; wait for it to end")
        yield
