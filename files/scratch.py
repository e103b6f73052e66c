"""Temporary folders that a killed process leaves behind, and the next one that needs such a folder removes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ftonnx.files.locks import try_lock

__all__ = ["scratch_folder"]

_PREFIX: Final = "ftonnx-scratch-"
_LOCK: Final = "lock"
_UNLOCKED: Final = "unlocked"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for the block, and remove it afterwards.

    A file in it is locked as long as this process needs the folder. Folders of this user whose file nobody locks any
    more are removed first.
    """
    _sweep(Path(tempfile.gettempdir()))
    temporary = tempfile.TemporaryDirectory(prefix=_PREFIX)
    folder = Path(temporary.name)
    with _locked(folder), temporary:
        yield folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder / _UNLOCKED
    with path.open("wb") as file:
        # where the file system knows no locks, nobody takes the folder for one that was left behind
        with suppress(OSError):
            if try_lock(file):
                # never seen under this name without its lock
                path.rename(folder / _LOCK)
        yield


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        # another process may remove it at the same time
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    with (folder / _LOCK).open("rb") as file:
        if try_lock(file):
            shutil.rmtree(folder, ignore_errors=True)
