"""Files from strangers: what they are and their sizes before their bytes, and no device is opened."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["read_document", "require_plain"]

_MOST_BYTES: Final = 2**26
"""Settings, lists and logs are smaller by far."""


def read_document(path: str | Path, most: int = _MOST_BYTES) -> str:
    """Return what a plain file holds, a text in UTF-8.

    Args:
        path: of the file, or of a link to it.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, or is something else than a plain file.
        ValueError: it is too large, or no text.
    """
    require_plain(path, most)
    return Path(path).read_text(encoding="utf-8")


def require_plain(path: str | Path, most: int | None = None) -> None:
    """Refuse what has no end, as a device or a pipe may, and what is too large, before it is opened.

    Args:
        path: of a file, or of a link to it.
        most: bytes that it may have; any number by default.

    Raises:
        OSError: it is missing, or something else than a plain file.
        ValueError: it is too large.
    """
    state = os.stat(path)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(f"{path} is no plain file")
    if most is not None and state.st_size > most:
        raise ValueError(f"{state.st_size:,} bytes, where at most {most:,} were expected")
