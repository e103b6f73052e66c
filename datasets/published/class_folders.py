"""Folders named after classes, wherever below a path they lie."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from ftonnx.datasets.listing import image_files, sub_folders
from ftonnx.errors import DataError

__all__ = ["FilesByClass", "files_of_class_folders", "folders_of_classes"]

FilesByClass = Mapping[str, Mapping[str, Path]]
"""For every class, its images by their file names without suffixes, which differ from one publication to another."""

_DEEPEST: Final = 4
"""So many folders lie above a class at most: those of an archive, of a split, of groups of classes."""


def files_of_class_folders(root: Path, classes: Collection[str]) -> dict[str, dict[str, Path]]:
    """The images in folders named after classes, at any depth.

    Args:
        root: Where to look.
        classes: Their names.

    Returns:
        An entry for every class; empty for one without a folder.

    Raises:
        DataError: Two images of a class have the same name: they are one image in two places, or two splits.
    """
    found: dict[str, dict[str, Path]] = {name: {} for name in classes}
    for folder in folders_of_classes(root, classes):
        files = found[folder.name]
        for file in image_files(folder):
            before = files.setdefault(file.stem, file)
            if before != file:
                both = f"{os.path.relpath(before, root)} and {os.path.relpath(file, root)}"
                raise DataError(f"{root}: expected each image once, got {both}; name the folder that holds one of them")
    return found


def folders_of_classes(root: Path, classes: Collection[str]) -> Iterator[Path]:
    """Folders named after classes, by their paths; none is looked for inside another."""
    level = [root]
    for _ in range(_DEEPEST + 1):
        above = []
        for folder in level:
            for inner in sub_folders(folder):
                if inner.name in classes:
                    yield inner
                else:
                    above.append(inner)
        level = above
