"""Inputs: files by their relative path, with content or as something that is no plain file."""

import enum
import os
from pathlib import Path

_SPARSE_BYTES = 3 << 30


class Odd(enum.Enum):
    """What may lie where a file is expected."""

    FOLDER = enum.auto()
    PIPE = enum.auto()
    OWN_LINK = enum.auto()
    SPARSE = enum.auto()


def read_input(folder):
    """Return the plain files below a folder, sorted: content by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.is_symlink() and path.stat().st_size < _SPARSE_BYTES
    }


def write_input(files, folder):
    """Write files into a folder, which is made."""
    Path(folder).mkdir(parents=True)
    for name, content in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)


def _write(path, content):
    if content is Odd.FOLDER:
        path.mkdir()
    elif content is Odd.PIPE:
        os.mkfifo(path)
    elif content is Odd.OWN_LINK:
        path.symlink_to(path.name)
    elif content is Odd.SPARSE:
        path.touch()
        os.truncate(path, _SPARSE_BYTES)
    else:
        path.write_bytes(content)
