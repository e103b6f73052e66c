"""Files that are either the old or the new one, never a part, whenever the process is killed.

The content goes into a file beside the target, on to the disk, and then under the target's name in one step. The
permission bits are those that a plain ``open(path, "wb")`` would have left.
"""

import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from ftonnx.errors import StoreError, UsageError
from ftonnx.files.locks import try_lock
from ftonnx.files.targets import is_wrong_place, reason_of

__all__ = ["PART", "whole_file", "write_file", "write_whole"]

PART: Final = ".part"
"""The ending of files that are being written; a kill leaves them behind, and who writes the same file removes them."""

_NAME_KEPT: Final = 40
_AS_OPEN_WOULD: Final = 0o666
"""The process's umask takes bits away, as it does for a plain open."""


def write_file(content: bytes, path: Path) -> None:
    """Write a file whole, or say in one line why it cannot be written; nothing is left behind then.

    Raises:
        UsageError: The file cannot be written under this path.
        StoreError: The disk is full, or fails.
    """
    try:
        write_whole(content, path)
    except OSError as caught:
        error = UsageError if is_wrong_place(caught) else StoreError
        raise error(f"{path} cannot be written: {reason_of(caught, path)}") from caught


def write_whole(content: bytes, path: Path, *, beside: Path | None = None) -> None:
    """Write a file whole.

    Args:
        content: All of it.
        path: The target.
        beside: The file to write first, where only one process at a time writes; a random name beside the target
            else.

    Raises:
        OSError: It cannot be written; the target is as it was.
    """
    with whole_file(path, beside=beside) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, *, beside: Path | None = None) -> Iterator[BinaryIO]:
    """Yield a file to write to, which takes the target's name when the block ends without an exception.

    Devices and pipes have no content that could be half there: they are written to directly. A link's target is
    replaced, not the link.

    Raises:
        OSError: It cannot be written; the target is as it was.
    """
    if _is_special(path):
        with open(path, "wb") as device:
            yield device
        return
    target = Path(os.path.realpath(path))
    mode = _mode_to_keep(target)
    if beside is None:
        _sweep(target)
    with _part_of(target, beside) as (file, part):
        try:
            yield file
            _to_disk(file, mode)
            os.replace(part, target)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
    _folder_to_disk(target.parent)


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _mode_to_keep(target: Path) -> int | None:
    """Return the permission bits of the file that is replaced; None where there is none.

    Raises:
        OSError: a plain open would not be allowed to write to it.
    """
    try:
        descriptor = os.open(target, os.O_WRONLY)
    except FileNotFoundError:
        return None
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


@contextmanager
def _part_of(target: Path, beside: Path | None) -> Iterator[tuple[BinaryIO, Path]]:
    """Open the file to write first, locked for as long as it is written, and yield its name too."""
    while True:
        part = beside or _random_name(target)
        with open(part, "wb", opener=_create) as file:
            if beside is not None or _is_ours(file, part):
                yield file, part
                return


def _is_ours(file: BinaryIO, part: Path) -> bool:
    """Lock a new file, and say whether nobody has taken it for one that was left behind, before it was locked."""
    with suppress(OSError):  # where the file system knows no locks, nothing is taken for that
        return try_lock(file) and part.exists()
    return True


def _sweep(target: Path) -> None:
    """Remove what processes have left that were killed while they wrote a file."""
    for part in target.parent.glob(f"{glob.escape(_beginning(target))}*{PART}"):
        # another process may remove it at the same time
        with suppress(OSError), part.open("rb") as file:
            if try_lock(file):
                part.unlink()


def _random_name(target: Path) -> Path:
    """Return a name that no other process takes."""
    return target.with_name(f"{_beginning(target)}{os.urandom(8).hex()}{PART}")


def _beginning(target: Path) -> str:
    """Return how names of parts begin; they are not too long where the target's is just short enough."""
    return f".{target.name[:_NAME_KEPT]}."


def _create(path: str, flags: int) -> int:
    return os.open(path, flags, _AS_OPEN_WOULD)


def _to_disk(file: BinaryIO, mode: int | None) -> None:
    """Put the content on the disk before the name points to it: a power cut must not leave an empty file."""
    file.flush()
    if mode is not None:
        os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    """Put the new name on the disk too, where the file system knows how; the file itself is whole either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
