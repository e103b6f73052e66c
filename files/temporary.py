"""Where temporary files lie: where ``tempfile`` puts them, without the file that it writes to try a folder.

A process that is killed meanwhile leaves that file, and nobody can tell later whose it was.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["settle_temporary_root", "temporary_root"]

_VARIABLES: Final = ("TMPDIR", "TEMP", "TMP")
_USUAL: Final = "/tmp"


def temporary_root() -> Path:
    """Return the folder for temporary files.

    Raises:
        OSError: no folder takes any.
    """
    settle_temporary_root()
    return Path(tempfile.gettempdir())


def settle_temporary_root() -> None:
    """Let ``tempfile`` take the first folder of those that it would try, where that takes files; else it tries all."""
    if tempfile.tempdir is not None:
        return
    named = [os.environ[name] for name in _VARIABLES if os.environ.get(name)]
    first = named[0] if named else _USUAL
    if _takes_files(first):
        tempfile.tempdir = os.path.abspath(first)


def _takes_files(folder: str) -> bool:
    """Say whether a folder can be written to and its disk has room, as far as can be told without writing."""
    try:
        disk = os.statvfs(folder)
        # for relative paths
        Path.cwd()
    except OSError:
        return False
    # some file systems do not count their files
    has_room = disk.f_bavail > 0 and (disk.f_favail > 0 or disk.f_files == 0)
    return has_room and os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
