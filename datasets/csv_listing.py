"""``csv:PATH``: a text file with the name of an image and its label on every line."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.class_names import find_class_names
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.grouped_files import Groups, open_groups
from ftonnx.datasets.image_files import IMAGE_SUFFIXES
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.label_file import LABEL_SUFFIXES, LabelFile, Row, read_label_file
from ftonnx.datasets.listing import image_files, sub_folders
from ftonnx.datasets.numbering import Rules
from ftonnx.datasets.request import Request
from ftonnx.errors import DataError, UsageError
from ftonnx.words import near, some_of

__all__ = ["CsvKind", "listed_groups"]

_IMAGES: Final = "images"


@dataclass(frozen=True, slots=True)
class CsvKind(PathKind):
    """Images named line by line with their labels: class numbers from 0, or names.

    Files are looked for beside the list, in ``images`` there, in the folder of the split, or in the one sub-folder that
    has the first of them.
    """

    form: ClassVar[str] = "csv:PATH"
    keyword: ClassVar[str | None] = "csv"

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """A text file is probably a list of images."""
        is_text = argument.lower().endswith(LABEL_SUFFIXES)
        if not is_text or not os.path.isfile(argument):
            return None
        return f"{cls.keyword}:{argument}"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; reads the file."""
        return read_label_file(self.path).has_splits

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        path = self.path
        listed = read_label_file(path)
        rows = _rows_of_split(listed, request.split)
        # the file of this list before the one for the whole folder
        side = read_side_file(path.with_suffix(".toml"), path.with_name("preprocess.toml"))
        rules = Rules(what="label", root=str(path), classes=side.classes, first_label=side.first_label)
        base = _base(path, rows[0], request.split)
        return open_groups(
            listed_groups(listed, rows, base, rules),
            request,
            name=path.stem,
            side=side,
            class_names=find_class_names([path.parent, base], apart_from=path),
        )


def listed_groups(listed: LabelFile, rows: Sequence[Row], base: Path, rules: Rules) -> Groups:
    """The files of some rows by their labels.

    Args:
        listed: All that the file lists, used or not.
        rows: Those to use.
        base: The folder that names of files start from.
        rules: Of the numbering.

    Raises:
        DataError: A file is missing, or is listed with several labels.
    """
    by_file: dict[Path, Row] = {}
    missing = []
    repeated = 0
    for row in rows:
        file = _found(base, row.file)
        if file is None:
            missing.append(row.file)
            continue
        before = by_file.setdefault(file, row)
        if before.label != row.label:
            got = f"{before.label!r} in line {before.line} and {row.label!r} in line {row.line}"
            raise DataError(f"{listed.path}: expected one label for {row.file}, got {got}; keep one")
        repeated += before is not row
    if missing:
        expected = f"the {len(rows)} files that it lists in {base}"
        raise DataError(f"{listed.path}: expected {expected}, got no {some_of(missing)}; remove their lines")
    # of all splits, so that they agree on what is which class
    labels = sorted({row.label for row in listed.rows})
    files: dict[str, list[Path]] = {label: [] for label in labels}
    for file, row in by_file.items():
        files[row.label].append(file)
    warnings = []
    if repeated:
        warnings.append(f"{listed.path}: {repeated} lines repeat an image with its label; it counts once")
    return Groups(
        files=files,
        rules=rules,
        unused=_unlisted(listed, by_file, base),
        warnings=tuple(warnings),
    )


def _rows_of_split(listed: LabelFile, split: str | None) -> list[Row]:
    if not listed.has_splits:
        if split is not None:
            advice = "add a column named split, or name no split"
            raise UsageError(f"{listed.path}: a list without splits has no split {split!r}; {advice}")
        return list(listed.rows)
    splits = listed.splits
    if split is None:
        # together they would mix what a model was trained on with what it was not
        raise UsageError(f"{listed.path}: expected `split` to be one of {', '.join(splits)}, got none; name one")
    rows = [row for row in listed.rows if row.split == split]
    if not rows:
        known = ", ".join(splits)
        raise UsageError(f"{listed.path}: expected a split of {known}, got {split!r}{near(split, splits)}")
    return rows


def _base(path: Path, first: Row, split: str | None) -> Path:
    """The folder in which the first file lies under its name."""
    folder = path.parent
    places = [folder, folder / _IMAGES]
    if split is not None:
        places.append(folder / split)
    for place in places:
        if _found(place, first.file) is not None:
            return place
    others = [place for place in sub_folders(folder) if _found(place, first.file) is not None]
    if len(others) == 1:
        return others[0]
    where = f"{path}: line {first.line}"
    if others:
        names = some_of([place.name for place in others])
        raise DataError(f"{where}: expected {first.file} in one folder, got {names}; write the folder before the name")
    expected = f"the image {first.file} beside the list, in {_IMAGES} or in a sub-folder"
    advice = "write names as they are seen from the list, and name its columns file and label"
    raise DataError(f"{where}: expected {expected}, got none; {advice}")


def _found(base: Path, name: str) -> Path | None:
    """The file of that name; a suffix may be left out."""
    file = base / name
    if os.path.isfile(file):
        return file
    for suffix in IMAGE_SUFFIXES:
        for written in (suffix, suffix.upper()):
            longer = base / f"{name}{written}"
            if os.path.isfile(longer):
                return longer
    return None


def _unlisted(listed: LabelFile, used: Iterable[Path], base: Path) -> tuple[str, ...]:
    """Images that lie beside those used and stand in no line."""
    known = {base / row.file for row in listed.rows}
    known.update(used)
    found = []
    for folder in sorted({file.parent for file in used}):
        for file in image_files(folder):
            if file not in known and file.with_suffix("") not in known:
                found.append(os.path.relpath(file, listed.path.parent))
    return tuple(found)
