"""Reading small files of text from strangers: sizes before bytes, and no device is opened."""

import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["read_document"]

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
    state = os.stat(path)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(21, os.strerror(21), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(f"{path} is no plain file")
    if state.st_size > most:
        raise ValueError(f"{state.st_size:,} bytes, where at most {most:,} were expected")
    return Path(path).read_text(encoding="utf-8")
