"""``folder:PATH``: one sub-folder of image files per class."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final, Literal

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.class_names import CLASS_NAME_FILES, find_class_names, read_class_names
from ftonnx.datasets.config import SideFile, read_side_file
from ftonnx.datasets.csv_listing import listed_groups
from ftonnx.datasets.grouped_files import Groups, open_groups
from ftonnx.datasets.image_files import IMAGE_SUFFIXES
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.label_file import LABEL_SUFFIXES, read_label_file
from ftonnx.datasets.listing import listing, split_files, sub_folders
from ftonnx.datasets.numbering import Rules
from ftonnx.datasets.request import Request
from ftonnx.datasets.splits import USUAL_SPLIT
from ftonnx.errors import DataError, UsageError
from ftonnx.words import did_you_mean, near, some_of

__all__ = ["FolderKind"]

_SIDE_FILE: Final = "preprocess.toml"
_ANNOTATIONS: Final = "val_annotations.txt"
"""Lies beside ``images`` in the validation split of Tiny-ImageNet, whose other splits have a folder per class."""

_CLASS_LIST: Final = "wnids.txt"
"""All classes of a data set, of which a folder may hold some; in no order that models are trained with."""

_IMAGES: Final = "images"
"""A folder of images that is named after what it holds, and not after a class."""

_SPLITS: Final = frozenset({"dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation"})
"""What folders of splits are called, where all are."""

_EXPECTED: Final = "one sub-folder of images per class"


@dataclass(frozen=True, slots=True)
class FolderKind(PathKind):
    """The sub-folders of a path, or of the split below it, are the classes; ``numbering`` says which is which.

    Files are ordered by name; hidden ones and those without the suffix of an image are left out.
    """

    form: ClassVar[str] = "folder:PATH"
    keyword: ClassVar[str | None] = "folder"

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """Any folder may hold one per class."""
        if not os.path.isdir(argument):
            return None
        return f"{cls.keyword}:{argument}"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; looks for folders called like splits, with folders in them."""
        if not os.path.isdir(self.path):
            return True  # which opening refuses, whatever split is named
        return any(folder.name in _SPLITS and sub_folders(folder) for folder in sub_folders(self.path))

    @property
    def could_have_splits(self) -> bool:
        """See ``DataKind.could_have_splits``; a folder may have one for each split."""
        return True

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        split = request.split or self._usual_split()
        request = replace(request, split=split)
        root = _root(self.path, split)
        side = read_side_file(self.path / _SIDE_FILE)
        class_names = find_class_names([root, self.path])
        annotations = root / _ANNOTATIONS
        if os.path.isfile(annotations):
            groups = _annotated_groups(annotations, side)
        else:
            groups = _folder_groups(root, side, known=[self.path / _SIDE_FILE, class_names])
        return open_groups(
            _with_class_list(groups, [root, self.path]),
            request,
            name=self.path.resolve().name,
            side=side,
            class_names=class_names,
        )

    def _usual_split(self) -> str | None:
        """The test images, where the folder holds nothing but splits; None where all of it is meant."""
        if not os.path.isdir(self.path):
            return None
        names = [folder.name for folder in sub_folders(self.path)]
        is_split = self.has_splits and _SPLITS.issuperset(names)
        return USUAL_SPLIT if is_split and USUAL_SPLIT in names else None


def _folder_groups(root: Path, side: SideFile, *, known: Sequence[Path | None]) -> Groups:
    """The images in the sub-folders of a folder; files that are ``known`` are not among those left out."""
    files = {}
    unused = []
    folders = sub_folders(root)
    names = [folder.name for folder in folders]
    if names and _SPLITS.issuperset(names):
        # also where images lie in them: nobody trains a network to tell train from test
        raise DataError(f"{root}: expected {_EXPECTED}, got splits; name a split ({', '.join(names)})")
    for folder in folders:
        entries = listing(folder)
        images, others = split_files(entries)
        inner = folder / _IMAGES
        if not images and os.path.isdir(inner):
            # the training images of Tiny-ImageNet lie a level deeper
            images, left_out = split_files(listing(inner))
            others = [entry for entry in others if entry != inner]
            others += left_out
        files[folder.name] = images
        unused += others
    beside = [entry for entry in listing(root) if not os.path.isdir(entry)]
    stray, _ = split_files(beside)
    if not any(files.values()):
        raise DataError(f"{root}: expected {_EXPECTED}, got {_instead(root, stray)}")
    if list(files) == [_IMAGES]:
        raise _flat(root, folders[0])
    unused += [entry for entry in beside if entry not in known]
    return Groups(
        files=files,
        rules=_rules("folder", root, side),
        unused=tuple(_shown(entry, root) for entry in unused),
        warnings=_warnings(root, files, stray),
    )


def _annotated_groups(annotations: Path, side: SideFile) -> Groups:
    listed = read_label_file(annotations)
    base = annotations.parent / _IMAGES
    return listed_groups(listed, listed.rows, base, _rules("label", annotations, side))


def _with_class_list(groups: Groups, folders: Sequence[Path]) -> Groups:
    """The groups, with an empty one for every other class of a list that has them all."""
    lists = [folder / _CLASS_LIST for folder in folders]
    file = next(filter(os.path.isfile, lists), None)
    if file is None:
        return groups
    listed = read_class_names(file).shown
    # else it is a list of something else
    if not groups.files.keys() <= set(listed):
        return groups
    names = sorted(listed)
    note = f", with all of {file.name}"
    if names != list(listed):
        note += ", which has them in another order"
    return replace(
        groups,
        files={name: groups.files.get(name, ()) for name in names},
        rules=replace(groups.rules, note=note),
    )


def _rules(what: Literal["folder", "label"], root: Path, side: SideFile) -> Rules:
    return Rules(what=what, root=str(root), classes=side.classes, first_label=side.first_label)


def _warnings(root: Path, files: Mapping[str, Sequence[Path]], stray: Sequence[Path]) -> tuple[str, ...]:
    found = []
    empty = [name for name, images in files.items() if not images]
    if empty:
        found.append(f"{root}: a class without images stays a class: {some_of(empty)}")
    if stray:
        names = [file.name for file in stray]
        found.append(f"{root}: {some_of(names)} beside the folders of the classes: not used")
    if len(files) == 1:
        found.append(f"{root}: one class only, {next(iter(files))}")
    return tuple(found)


def _root(path: Path, split: str | None) -> Path:
    """The folder that holds the classes."""
    if not os.path.isdir(path):
        meant = did_you_mean([f"csv:{path}"]) if _is_list(path) else "; check the path"
        raise DataError(f"{path}: expected a folder with a sub-folder per class, got none{meant}")
    if split is None:
        return path
    root = path / split
    if not os.path.isdir(root):
        have = [folder.name for folder in sub_folders(path)]
        meant = near(split, have)
        got = some_of(have) if have else "none"
        raise UsageError(f"{path}: expected a sub-folder {split} for the split, got {got}{meant}")
    return root


def _instead(root: Path, stray: Sequence[Path]) -> str:
    """What a folder holds instead of classes, and what to do, as the end of a message."""
    if stray:
        return f"{len(stray)} images directly in it; {_advice(root)}"
    nested = [folder.name for folder in sub_folders(root) if sub_folders(folder)]
    if len(nested) == 1:
        return f"no images{did_you_mean([f'folder:{root / nested[0]}'])}"
    if nested:
        return f"no images; name a split ({', '.join(nested)})"
    return f"no images; known files: {', '.join(IMAGE_SUFFIXES)}"


def _flat(root: Path, images: Path) -> DataError:
    return DataError(f"{root}: expected {_EXPECTED}, got all images in {images.name}; {_advice(images)}")


def _advice(folder: Path) -> str:
    """What to do with images that lie in no class: lists beside them are named."""
    lists = []
    for place in (folder, folder.parent):
        for entry in listing(place):
            if _is_list(entry) and entry.name not in CLASS_NAME_FILES:
                lists.append(f"csv:{entry}")
    advice = "sort them into sub-folders, or list them with their labels in a file, csv:PATH"
    return f"{advice}{did_you_mean(lists[:3])}"


def _is_list(path: Path) -> bool:
    return path.name.lower().endswith(LABEL_SUFFIXES) and os.path.isfile(path)


def _shown(entry: Path, root: Path) -> str:
    name = os.path.relpath(entry, root)
    return f"{name}/" if os.path.isdir(entry) else name
