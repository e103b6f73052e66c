"""Text files that give every image its label: with commas, semicolons, tabs or spaces, with a header or without."""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftonnx.datasets.listing import is_image_name
from ftonnx.datasets.text_file import read_text
from ftonnx.errors import DataError, describe

__all__ = ["LABEL_SUFFIXES", "LabelFile", "Row", "read_label_file"]

LABEL_SUFFIXES: Final = (".csv", ".tsv", ".txt")
"""What the names of such files end in, in small letters."""

_LARGEST_FILE: Final = 1 << 28
_SEPARATORS: Final = (",", "\t", ";")
_FILE_COLUMNS: Final = (
    "file", "filename", "file_name", "filepath", "file_path", "path", "image", "images", "image_name", "image_path",
    "image_file", "img", "image_id", "imageid", "fname", "name", "id",
)  # fmt: skip
_LABEL_COLUMNS: Final = (
    "label", "labels", "class_id", "class_index", "class_idx", "label_id", "category_id", "target", "y", "class",
    "class_name", "classname", "class_label", "label_name", "category", "wnid",
)  # fmt: skip
_SPLIT_COLUMNS: Final = ("split", "subset", "partition", "set")
_SOME: Final = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Attributes:
        line: Of the file, from 1.
        file: Name of the image, as it is written.
        label: As it is written.
        split: That it belongs to; empty where there are none.
    """

    line: int
    file: str
    label: str
    split: str


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What such a file says.

    Attributes:
        path: Of the file.
        rows: At least one.
        has_splits: Whether every row names a split.
    """

    path: Path
    rows: tuple[Row, ...]
    has_splits: bool

    @property
    def splits(self) -> list[str]:
        """The names of the splits, sorted."""
        return sorted({row.split for row in self.rows})


@dataclass(frozen=True, slots=True)
class _Columns:
    """Where in a row things stand, from 0."""

    file: int
    label: int
    split: int | None
    has_header: bool


def read_label_file(path: Path) -> LabelFile:
    """Read such a file.

    Raises:
        DataError: It is missing or unreadable, nobody can tell which columns hold file and label, or a row lacks one.
    """
    lines = _rows_of_text(path)
    if not lines:
        raise DataError(f"{path}: expected lines of an image file and its label, got an empty file")
    columns = _columns(lines[0][1], path)
    rows = []
    for line, cells in lines[1:] if columns.has_header else lines:
        rows.append(_row(line, cells, columns, path))
    if not rows:
        raise DataError(f"{path}: expected lines of an image file and its label, got a header only")
    return LabelFile(path, tuple(rows), columns.split is not None)


def _rows_of_text(path: Path) -> list[tuple[int, list[str]]]:
    """The cells of every line that is not blank, with its number."""
    text = _text_of(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    # of equally many, the first: a comma
    separator = max(_SEPARATORS, key=first.count)
    if separator not in first:
        return _spaced_rows(text)
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            # as a rule, a quotation mark that nothing ends
            if any(len(cell.splitlines()) > 1 for cell in stripped):
                raise DataError(
                    f"{path}: line {reader.line_num}: expected cells of one line, got more; close the quotes"
                )
            if any(stripped):
                rows.append((reader.line_num, stripped))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: expected cells of text, got {describe(error)}") from error
    return rows


def _spaced_rows(text: str) -> list[tuple[int, list[str]]]:
    """Names may hold spaces, labels may not."""
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.rsplit(maxsplit=1)
        if cells:
            rows.append((number, [cell.strip() for cell in cells]))
    return rows


def _text_of(path: Path) -> str:
    # os.path.isfile, since Path.is_file raises where a name is too long for any file
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a file of image names and labels, got none; check the path")
    return read_text(path, "image names and labels", _LARGEST_FILE)


def _columns(first: Sequence[str], path: Path) -> _Columns:
    """Find the columns by their names, or by what stands in the first row."""
    if len(first) < 2:
        raise DataError(f"{path}: expected an image file and its label on every line, got {first[0]!r}")
    names = [cell.casefold().replace(" ", "_") for cell in first]
    is_data = any(map(is_image_name, first))
    known = (*_FILE_COLUMNS, *_LABEL_COLUMNS)
    has_header = not is_data and not set(names).isdisjoint(known)
    if not has_header:
        return _columns_by_place(first, path)
    split = _named(names, _SPLIT_COLUMNS)
    file = _named(names, _FILE_COLUMNS)
    label = _named(names, _LABEL_COLUMNS)
    others = [number for number in range(len(names)) if number not in (split, file, label)]
    # of two columns, the other one
    if file is None and label is not None and len(others) == 1:
        file = others[0]
    if label is None and file is not None and len(others) == 1:
        label = others[0]
    if file is None or label is None:
        listed = ", ".join(first[:_SOME])
        raise DataError(f"{path}: expected columns named file and label, got {listed}; rename them")
    return _Columns(file, label, split, has_header=True)


def _columns_by_place(first: Sequence[str], path: Path) -> _Columns:
    if is_image_name(first[0]):
        return _Columns(0, 1, None, has_header=False)
    # the label before the file
    if len(first) == 2 and is_image_name(first[1]):
        return _Columns(1, 0, None, has_header=False)
    if len(first) == 2:
        return _Columns(0, 1, None, has_header=False)
    listed = ", ".join(first[:_SOME])
    raise DataError(f"{path}: expected columns named file and label, or an image file first, got {listed}; name them")


def _named(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    """The first column that has one of the names; earlier names win."""
    for name in wanted:
        if name in names:
            return names.index(name)
    return None


def _row(line: int, cells: Sequence[str], columns: _Columns, path: Path) -> Row:
    def cell(column: int, name: str) -> str:
        text = cells[column] if column < len(cells) else ""
        if not text:
            raise DataError(f"{path}: line {line}: expected a {name}, got none; complete or remove the line")
        return text

    split = "" if columns.split is None else cell(columns.split, "split")
    return Row(line, cell(columns.file, "file"), cell(columns.label, "label"), split)
