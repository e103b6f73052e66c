"""Results folders that nobody has named: each lives as long as its process, unless it is kept for going on."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from ftonnx.campaign.store.place import OWNER
from ftonnx.files import remove_left, temporary_root, try_lock

__all__ = ["keep_results", "temporary_results"]

_PREFIX: Final = "ftonnx-results-"
_owned: Final[dict[Path, int]] = {}
"""The folders of this process, with the open file in each that it has locked."""


def temporary_results() -> Path:
    """Return a new folder, which goes with this process; remove those that killed processes have left.

    Raises:
        OSError: it cannot be made.
    """
    root = temporary_root()
    remove_left(root, _PREFIX, OWNER)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        try:
            owner = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            # another process has taken the empty folder for one that was left behind
            continue
        if _is_locked(owner, folder):
            break
        os.close(owner)
    if not _owned:
        atexit.register(_remove_owned, os.getpid())
    _owned[folder] = owner
    return folder


def keep_results(folder: Path) -> None:
    """Let a folder of this process stay, so that a campaign that was interrupted goes on in it."""
    owner = _owned.pop(folder)
    (folder / OWNER).unlink(missing_ok=True)
    os.close(owner)


def _is_locked(owner: int, folder: Path) -> bool:
    """Lock a new folder's file, and say whether nobody has taken the folder away before."""
    try:
        return try_lock(owner) and (folder / OWNER).exists()
    except OSError:
        # where the file system knows no locks, nothing is taken for what was left behind
        return True


def _remove_owned(pid: int) -> None:
    """Remove the folders of this process; not in a child that it has forked."""
    if os.getpid() != pid:
        return
    for folder, owner in _owned.items():
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)
    _owned.clear()
