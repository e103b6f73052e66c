"""Results folders for campaigns that were given none; those that were killed before they held a campaign go."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from ftonnx.campaign.store.header_file import SETTINGS
from ftonnx.campaign.store.lock import LOCK
from ftonnx.files import try_lock

__all__ = ["temporary_results"]

_PREFIX: Final = "ftonnx-results-"


def temporary_results() -> Path:
    """Return a new, empty folder, which stays; remove those in which processes were killed before a campaign began.

    Raises:
        OSError: it cannot be made.
    """
    root = Path(tempfile.gettempdir())
    for folder in root.glob(f"{_PREFIX}*"):
        # another process may remove it at the same time
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and not (folder / SETTINGS).exists():
                _remove_if_left(folder)
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))


def _remove_if_left(folder: Path) -> None:
    try:
        lock = (folder / LOCK).open("rb")
    except FileNotFoundError:
        # whoever has just made it makes it again where its first file is written
        folder.rmdir()
        return
    with lock:
        if try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)
