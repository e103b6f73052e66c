"""What the published sets of satellite images have in common: a folder per class, and lists of their splits."""

import os
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.class_names import ClassNames
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.grouped_files import Groups, open_groups
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.numbering import Rules
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.published.class_folders import FilesByClass, files_of_class_folders
from ftonnx.datasets.published.split_lists import SplitLists, chosen_files
from ftonnx.datasets.request import Request
from ftonnx.datasets.splits import USUAL_SPLIT
from ftonnx.errors import DataError, UsageError
from ftonnx.words import did_you_mean, some_of

__all__ = ["ScenesKind"]


class ScenesKind(PathKind):
    """A set of satellite images; a leaf says its name and its classes.

    Images lie in folders named after their classes, at any depth: as in the archive that its authors publish, or in a
    copy that somebody sorted. Splits are those of lists (see ``split_lists``), else folders named after them.

    Images are prepared as in the paper's tests, with AiTLAS: short side 256, centre crop 224, values from 0 to 1,
    without mean and std.

    Attributes:
        title: Its name, for messages.
        labels: Its classes, in the order of their numbers.
    """

    __slots__ = ()

    title: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    takes_splits: ClassVar[bool] = True
    default: ClassVar[Preprocess] = Preprocess(scale=1 / 255, resize=256, crop=224, channels="rgb")

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; looks for lists, and for folders."""
        return bool(self._lists(None).files) or os.path.isdir(self.path / USUAL_SPLIT)

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        if not os.path.isdir(self.path):
            raise DataError(f"{self.path}: expected the folder of {self.title}, got {_instead(self.path)}")
        split, files = self._split(request)
        warnings = []
        if split is None:
            warnings.append(f"{self.path}: there are no lists of splits; all images are taken, those of training too")
        without = [name for name, images in files.items() if not images]
        if without:
            warnings.append(f"{self.path}: a class without images stays a class: {some_of(without)}")
        groups = Groups(
            files={name: [images[key] for key in sorted(images)] for name, images in files.items()},
            rules=Rules(what="folder", root=str(self.path)),
            warnings=tuple(warnings),
        )
        return open_groups(
            groups,
            replace(request, split=split),
            name=str(self.keyword),
            side=read_side_file(self.path / "preprocess.toml"),
            known=ClassNames.of(self.labels, self.title, asked=True),
            default=self.default,
        )

    def _files(self, root: Path) -> FilesByClass:
        """All images below a folder, by class."""
        return files_of_class_folders(root, self.labels)

    def _split(self, request: Request) -> tuple[str | None, FilesByClass]:
        """The split to take, and its images."""
        lists = self._lists(request.splits)
        wanted = request.split
        if lists.files:
            split = lists.chosen(wanted)
            return split, chosen_files(lists.files[split], self._found(self.path))
        if wanted is None:
            return None, self._found(self.path)
        return wanted, self._found(self._folder_of(wanted))

    def _lists(self, given: Path | None) -> SplitLists:
        return SplitLists.found(str(self.keyword), self.path, given)

    def _folder_of(self, split: str) -> Path:
        folder = self.path / split
        if not os.path.isdir(folder):
            expected = f"{self.keyword}_{split}.csv in it or beside it, or a folder {split} in it"
            raise UsageError(f"{self.path}: expected {expected}, got neither; say where the lists are with `splits`")
        return folder

    def _found(self, root: Path) -> FilesByClass:
        files = self._files(root)
        if not any(files.values()):
            expected = f"folders named like the classes of {self.title} ({some_of(self.labels)})"
            hint = did_you_mean([f"folder:{self.path}"])
            raise DataError(f"{root}: expected {expected}, got none with images in it{hint}")
        return files


def _instead(path: Path) -> str:
    """What is there instead of a folder, and what to do, as the end of a message."""
    if path.suffix.lower() == ".zip" and os.path.isfile(path):
        return "an archive; unpack it"
    return "none; check the path"
