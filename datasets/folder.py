"""``folder:PATH``: one sub-folder of image files per class, read from disk batch by batch."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.image_files import IMAGE_SUFFIXES, read_rgb
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request, Resolved
from ftonnx.datasets.stored import StoredDataset
from ftonnx.errors import DataError, UsageError, describe
from ftonnx.words import near

__all__ = ["FolderDataset", "FolderKind", "round_robin"]


@dataclass(frozen=True, slots=True)
class FolderKind(PathKind):
    """The sub-folders of a path, or of the split below it; in the order of their names they are the classes.

    Images are taken round robin: the first of every class, the second of every class, and so on, so that a
    limit keeps the classes as equal as they can be. Files are ordered by name; hidden ones and those without
    the suffix of an image are left out.
    """

    form: ClassVar[str] = "folder:PATH"
    keyword: ClassVar[str | None] = "folder"

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """Any folder may hold one per class."""
        if not os.path.isdir(argument):
            return None
        return f"{cls.keyword}:{argument}"

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        root = _root(self.path, request.split)
        groups = []
        for folder in _sub_folders(root):
            group = _image_files(folder)
            groups.append(group)
        files, labels = round_robin(groups)
        # also where there are folders, but none with images
        if not files:
            raise DataError(f"{root}: expected one sub-folder of images per class, got no images{_hint(root)}")
        side = read_side_file(self.path / "preprocess.toml")
        default = Preprocess(scale=1 / 255, channels="rgb")
        return FolderDataset(
            files[: request.limit],
            labels[: request.limit],
            name=self.path.resolve().name,
            split=request.split,
            # the file may know of classes without images here, and never takes one away
            classes=max(side.classes or 0, len(groups)),
            resolved=request.resolve(side.preprocess, default=default),
        )


def round_robin(groups: Sequence[Sequence[Path]]) -> tuple[list[Path], NDArray[np.int64]]:
    """The first of every group, the second of every group, and so on, with the groups' numbers.

    >>> files, labels = round_robin([[Path("a1"), Path("a2")], [Path("b1")]])
    >>> [file.name for file in files], labels.tolist()
    (['a1', 'b1', 'a2'], [0, 1, 0])
    """
    files = []
    labels = []
    for turn in zip_longest(*groups):
        for label, file in enumerate(turn):
            if file is None:
                # this group has come to its end
                continue
            files.append(file)
            labels.append(label)
    return files, np.array(labels, np.int64)


class FolderDataset(StoredDataset):
    """Image files, decoded and preprocessed when they are needed; one batch is in memory at a time."""

    def __init__(
        self,
        files: Sequence[Path],
        labels: NDArray[np.int64],
        *,
        name: str,
        split: str | None,
        classes: int | None,
        resolved: Resolved,
    ) -> None:
        # the first image tells the shape, before a batch is asked for
        first = _prepared(files[0], resolved.effective)
        super().__init__(
            name=name,
            split=split,
            classes=classes,
            resolved=resolved,
            sample_shape=first.shape[1:],
            labels=labels,
        )
        self._files = list(files)

    @property
    def has_pixels(self) -> bool:
        """See ``Dataset.has_pixels``; image files hold them."""
        return True

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(
            self._files,
            self._labels,
            name=self.name,
            split=self.split,
            classes=self.classes,
            resolved=resolved,
        )

    def _pieces(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            place = slice(start, start + size)
            images = []
            for file in self._files[place]:
                image = self._image(file)
                images.append(image)
            labels = self._labels[place]
            yield np.concatenate(images), labels.copy()

    def _image(self, file: Path) -> NDArray[np.float32]:
        image = _prepared(file, self.preprocess)
        shape = image.shape[1:]
        # images of one batch are one array
        if shape != self.sample_shape:
            expected = f"{self.sample_shape} like the first image"
            raise DataError(f"{file}: expected {expected}, got {shape}; give resize and crop")
        return image

    def _content(self) -> bytes:
        # over the files' own bytes: what they show is the same, and need not be decoded
        digest = hashlib.sha256()
        for file in self._files:
            content = _bytes(file)
            of_file = hashlib.sha256(content)
            digest.update(of_file.digest())
        return digest.digest()


def _prepared(file: Path, preprocess: Preprocess) -> NDArray[np.float32]:
    """One image ``(1, channels, height, width)`` as it is fed."""
    image = read_rgb(file)
    try:
        return preprocess.apply(image)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def _root(path: Path, split: str | None) -> Path:
    """The folder that holds the classes."""
    if not os.path.isdir(path):
        raise DataError(f"{path}: expected a folder with a sub-folder per class, got none; check the path")
    if split is None:
        return path
    root = path / split
    if not os.path.isdir(root):
        have = [folder.name for folder in _sub_folders(path)]
        meant = near(split, have)
        raise UsageError(f"{path}: expected a sub-folder {split} for the split{meant}")
    return root


def _listing(folder: Path) -> list[Path]:
    """Entries that are not hidden, by name."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: expected a readable folder, got {describe(error)}") from error
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    # by the name's code points, so that every file system gives the same order
    visible.sort(key=_name)
    return visible


def _name(entry: Path) -> str:
    return entry.name


def _sub_folders(folder: Path) -> list[Path]:
    return [entry for entry in _listing(folder) if os.path.isdir(entry)]


def _image_files(folder: Path) -> list[Path]:
    """Image files by their suffix; a broken link is kept, so that reading reports it."""
    files = []
    for entry in _listing(folder):
        suffix = entry.suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            continue
        is_broken_link = not os.path.exists(entry)
        if os.path.isfile(entry) or is_broken_link:
            files.append(entry)
    return files


def _hint(root: Path) -> str:
    """What to do about a folder without images, as the end of a message."""
    nested = []
    for folder in _sub_folders(root):
        if _sub_folders(folder):
            nested.append(folder.name)
    if nested:
        return f"; name a split ({', '.join(nested)})"
    suffixes = ", ".join(IMAGE_SUFFIXES)
    return f"; known files: {suffixes}"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: expected a readable image, got {describe(error)}") from error
