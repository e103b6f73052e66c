"""Folders as they are listed: what is hidden, what systems leave behind, what is an image by its name."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ftonnx.datasets.image_files import IMAGE_SUFFIXES
from ftonnx.errors import DataError, describe

__all__ = ["image_files", "is_image_name", "listing", "split_files", "sub_folders"]

_LEFT_BEHIND: Final = frozenset({
    "__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "desktop.ini", "ehthumbs.db", "lost+found",
    "system volume information", "thumbs.db",
})  # fmt: skip
"""Names, in small letters, of what operating systems and disk stations write into any folder."""


def listing(folder: Path) -> list[Path]:
    """Entries that somebody put there, by name: neither hidden nor left behind by a system.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: expected a readable folder, got {describe(error)}") from error
    visible = [entry for entry in entries if _is_visible(entry.name)]
    # by the name's code points, so that every file system gives the same order
    visible.sort(key=_name)
    return visible


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name."""
    return [entry for entry in listing(folder) if os.path.isdir(entry)]


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, by name."""
    images, _ = split_files(listing(folder))
    return images


def split_files(entries: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Image files by their suffix, and everything else; a broken link is an image, so that reading reports it."""
    images = []
    others = []
    for entry in entries:
        # by its name first, which costs nothing
        if is_image_name(entry.name) and _is_file_or_broken_link(entry):
            images.append(entry)
        else:
            others.append(entry)
    return images, others


def is_image_name(name: str) -> bool:
    """Whether a name ends as those of images do.

    >>> is_image_name("a.JPEG"), is_image_name("a.txt"), is_image_name("png")
    (True, False, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES)


def _is_file_or_broken_link(entry: Path) -> bool:
    # neither a folder nor a pipe, which nobody may ever write to
    return os.path.isfile(entry) or not os.path.exists(entry)


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _LEFT_BEHIND


def _name(entry: Path) -> str:
    return entry.name
