"""The place of a results folder: made, refused where something else lies there, and cleared where it was of no use."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from ftonnx.campaign.store.database import UNITS
from ftonnx.campaign.store.header_file import SETTINGS
from ftonnx.campaign.store.lock import LOCK, translated
from ftonnx.errors import StoreError

__all__ = ["OWNER", "make_folder", "remove_files", "remove_if_empty", "require_empty"]

OWNER: Final = ".owner"
"""In a temporary folder, the file that its process locks as long as it lives."""

_BEFORE_SETTINGS: Final = (
    f"{SETTINGS}.tmp",
    UNITS,
    *(f"{UNITS}-{suffix}" for suffix in ("wal", "shm", "journal")),
    LOCK,
    OWNER,
)
"""Files of a folder whose settings are not written yet."""


def make_folder(path: Path) -> bool:
    """Make the folder; say whether it is new.

    Raises:
        StoreError: it cannot be made.
    """
    with translated(path):
        fresh = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
    return fresh


def require_empty(path: Path) -> None:
    """Refuse a place where something else lies than what a start leaves that was killed.

    Raises:
        StoreError: it does.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise StoreError(f"{path} is a file; a results folder was expected")
    with translated(path):
        others = sorted(entry.name for entry in path.iterdir() if entry.name not in _BEFORE_SETTINGS)
    if others:
        raise StoreError(f"{path} is not empty and holds no campaign (it has {others[0]!r}); choose a new folder")


def remove_files(path: Path) -> None:
    """Remove what this process has just written into a folder that it could not use."""
    for name in (SETTINGS, *_BEFORE_SETTINGS):
        (path / name).unlink(missing_ok=True)


def remove_if_empty(path: Path) -> None:
    """Remove a folder that nobody has put anything in."""
    with suppress(OSError):
        path.rmdir()
