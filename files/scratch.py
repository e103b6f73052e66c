"""Temporary folders that a killed process leaves behind, and the next one that needs such a folder removes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from ftonnx.files.locks import try_lock
from ftonnx.files.temporary import temporary_root

__all__ = ["remove_left", "scratch_folder"]

_PREFIX: Final = "ftonnx-scratch-"
_NEW: Final = "ftonnx-new-"
"""Of folders that nobody has locked yet."""

_LOCK: Final = "lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for the block, and remove it afterwards.

    A file in it is locked as long as this process needs the folder. Folders of this user whose file nobody locks any
    more are removed first.

    Raises:
        OSError: it cannot be made.
    """
    root = temporary_root()
    for prefix in (_PREFIX, _NEW):
        remove_left(root, prefix, _LOCK)
    with ExitStack() as undo:
        folder = _locked(root, undo)
        # what cannot be removed now is left to the next one
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _locked(root: Path, undo: ExitStack) -> Path:
    """Make a folder that has its own name not before its lock; ``undo`` gives the lock back."""
    while True:
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=root))
        folder = root / made.name.replace(_NEW, _PREFIX, 1)
        try:
            file = undo.enter_context((made / _LOCK).open("wb"))
            if _is_locked(file.fileno()):
                made.rename(folder)
                return folder
        except FileNotFoundError:
            # another process has taken it for one that was left behind, before there was a lock
            continue
        except OSError:
            shutil.rmtree(made, ignore_errors=True)
            raise


def _is_locked(file: int) -> bool:
    """Lock a file; where the file system knows no locks, nobody takes the folder for one that was left behind."""
    try:
        return try_lock(file)
    except OSError:
        return True


def remove_left(root: Path, prefix: str, lock: str) -> None:
    """Remove folders of this user that killed processes have left.

    Args:
        root: where they lie.
        prefix: of their names.
        lock: the file in them that a process locks as long as it needs them; where it is missing, the process has just
            begun or is about to end, so that an empty folder goes and any other stays.
    """
    for folder in root.glob(f"{prefix}*"):
        # another process may remove it at the same time
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                _remove_unlocked(folder, lock)


def _remove_unlocked(folder: Path, lock: str) -> None:
    try:
        file = (folder / lock).open("rb")
    except FileNotFoundError:
        # whoever is about to lock it makes it again, or another one
        folder.rmdir()
        return
    with file:
        if try_lock(file):
            shutil.rmtree(folder, ignore_errors=True)
