"""Whether a file can be written, before the work and after it failed, and why one cannot be read."""

import errno
import os
from pathlib import Path
from typing import Final

from ftonnx.errors import UsageError, message_of

__all__ = ["check_not_overwritten", "check_target", "is_wrong_place", "reason_of", "reason_unread"]

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
    errno.ELOOP: "its links form a circle; choose another place",
    errno.EFBIG: "the file system or ulimit -f allows no file of this size; choose another place",
    errno.EMFILE: "close some files, or allow more with ulimit -n",
    errno.EIO: "the disk or the network drive fails; choose another place",
    errno.ESTALE: "the network drive is gone; mount it again, or choose another place",
}
"""What to do about a file that cannot be written, by kind of error."""

_READING_ADVICE: Final = {
    errno.EACCES: "allow reading it, and looking into its folders",
    errno.EPERM: "allow reading it, and looking into its folders",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of its path is a file; check the path",
    errno.EISDIR: "give a file in it",
    errno.ENAMETOOLONG: "check the path",
    errno.ELOOP: "its links form a circle; put the file in their place",
    errno.EMFILE: "close some files, or allow more with ulimit -n",
    errno.EIO: "the disk or the network drive fails; copy the file elsewhere, and read that",
    errno.ESTALE: "the network drive is gone; mount it again",
}
"""What to do about a file that cannot be read, by kind of error."""


_WRONG_PLACE: Final = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
"""Kinds of error that another path mends, and nothing else."""


def check_target(path: Path) -> None:
    """Find out before the work whether a file can be written there.

    Raises:
        UsageError: ``path`` is a folder, or its folder does not exist or cannot be written to.
    """
    folder = path.parent
    # unlike those of Path, these functions raise nothing where a name is too long
    if os.path.isdir(path):
        raise UsageError(f"{path}: expected the name of a file to write, got a folder; add a name such as model.onnx")
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no folder {folder}; create it first")
    if os.path.exists(path) and not os.path.isfile(path):
        # a device or a pipe: nothing is made beside it, so its folder does not matter
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: the folder {folder} cannot be written to; choose another one")


def check_not_overwritten(target: Path, source: Path, what: str) -> None:
    """Raise UsageError when writing to ``target`` would overwrite ``source``, through a link or not."""
    if os.path.exists(target) and target.samefile(source):
        raise UsageError(f"{target} is {what} itself, which is never written to; choose another name")


def is_wrong_place(error: OSError) -> bool:
    """Say whether a file cannot be written because of its path, and not of the disk.

    >>> is_wrong_place(OSError(errno.EISDIR, "Is a directory"))
    True
    >>> is_wrong_place(OSError(errno.ENOSPC, "No space left on device"))
    False
    """
    return error.errno in _WRONG_PLACE


def reason_of(error: OSError, path: Path) -> str:
    """Return on one line why a file could not be written, and what to do.

    >>> reason_of(OSError(errno.ENOSPC, "No space left on device"), Path("a.onnx"))
    'No space left on device; free some space, or choose another place'
    >>> reason_of(OSError(errno.EPIPE, "Broken pipe"), Path("a.onnx"))
    'Broken pipe'
    """
    advice = _ADVICE.get(error.errno or 0)
    folder = path.parent
    if error.errno == errno.ENOENT and not os.path.isdir(folder):
        advice = f"there is no folder {folder}; create it first"
    return _advised(error, advice)


def reason_unread(error: Exception, path: Path) -> str:
    """Return on one line why a file could not be read, and what to do.

    Args:
        error: what reading raised; of other errors than the system's, as of a wrong content, it is the message.
        path: of the file.

    >>> reason_unread(OSError(errno.EISDIR, "Is a directory"), Path("models"))
    'Is a directory; give a file in it'
    >>> reason_unread(ValueError("embedded null byte"), Path("models"))
    'embedded null byte'
    """
    if not isinstance(error, OSError):
        return message_of(error)
    advice = _READING_ADVICE.get(error.errno or 0)
    folder = path.parent
    if error.errno == errno.ENOENT and not os.path.isdir(folder):
        advice = f"there is no folder {folder}; check the path"
    return _advised(error, advice)


def _advised(error: OSError, advice: str | None) -> str:
    # the text of the whole error repeats the path
    said = error.strerror or message_of(error)
    if advice is None:
        return said
    return f"{said}; {advice}"
