"""Whether a file can be written, before the work and after it failed."""

import errno
import os
from pathlib import Path
from typing import Final

from ftonnx.errors import UsageError, message_of

__all__ = ["check_not_overwritten", "check_target", "reason_of"]

_ADVICE: Final = {
    errno.EACCES: "choose another place, or allow writing there",
    errno.EPERM: "choose another place, or allow writing there",
    errno.EROFS: "choose another place",
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some space, or choose another place",
    errno.ENOENT: "create its folder first",
    errno.ENOTDIR: "a part of its path is a file; choose another place",
    errno.EISDIR: "add the name of a file",
    errno.ENAMETOOLONG: "choose a shorter one",
}
"""What to do, by kind of error."""


def check_target(path: Path) -> None:
    """Find out before the work whether a file can be written there.

    Raises:
        UsageError: ``path`` is a folder, or its folder does not exist or cannot be written to.
    """
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{path}: expected the name of a file to write, got a folder; add a name such as model.onnx")
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}; create it first")
    if path.exists() and not path.is_file():
        # a device or a pipe: nothing is made beside it, so its folder does not matter
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the folder {folder} cannot be written to; choose another one")


def check_not_overwritten(target: Path, source: Path, what: str) -> None:
    """Raise UsageError when writing to ``target`` would overwrite ``source``, through a link or not."""
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target} is {what} itself, which is never written to; choose another name")


def reason_of(error: OSError, path: Path) -> str:
    """Return on one line why a file could not be written, and what to do.

    >>> reason_of(OSError(errno.ENOSPC, "No space left on device"), Path("a.onnx"))
    'No space left on device; free some space, or choose another place'
    >>> reason_of(OSError(errno.EIO, "Input/output error"), Path("a.onnx"))
    'Input/output error'
    """
    said = error.strerror or message_of(error)
    kind = error.errno or 0
    advice = _ADVICE.get(kind)
    folder = path.parent
    if kind == errno.ENOENT and not folder.is_dir():
        advice = f"there is no folder {folder}; create it first"
    if advice is None:
        return said
    return f"{said}; {advice}"
