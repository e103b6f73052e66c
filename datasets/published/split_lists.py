"""Lists that say which images belong to a split: ``eurosat_test.csv`` and its like, one ``file,class`` per line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from ftonnx.datasets.label_file import read_label_file
from ftonnx.datasets.listing import listing
from ftonnx.datasets.published.class_folders import FilesByClass
from ftonnx.datasets.splits import chosen_split
from ftonnx.errors import DataError
from ftonnx.words import some_of

__all__ = ["SplitLists", "chosen_files"]

_SUFFIX: Final = ".csv"
_FOLDER: Final = "splits"


@dataclass(frozen=True, slots=True)
class SplitLists:
    """The lists of a data set's splits.

    Attributes:
        files: By the names of the splits; empty where there are no lists.
        source: Where they were found, for messages.
    """

    files: Mapping[str, Path]
    source: str

    @classmethod
    def found(cls, keyword: str, data: Path, given: Path | None) -> Self:
        """Look for lists named ``KEYWORD_SPLIT.csv``.

        Args:
            keyword: Of the data set.
            data: Its folder; lists lie in it, beside it, or in a folder ``splits`` there.
            given: Where somebody says they are: a folder, or one list.

        Raises:
            DataError: There are none where they were said to be.
        """
        if given is None:
            for place in (data, data / _FOLDER, data.parent, data.parent / _FOLDER):
                files = _lists_in(place, keyword)
                if files:
                    return cls(files, str(place))
            return cls({}, str(data))
        if os.path.isfile(given):
            return cls({_split_of(given, keyword): given}, str(given))
        files = _lists_in(given, keyword)
        if not files:
            expected = f"lists named {keyword}_train{_SUFFIX} and so on, or one list"
            raise DataError(f"{given}: expected {expected}, got none; check the path")
        return cls(files, str(given))

    def chosen(self, split: str | None) -> str:
        """The split that is meant.

        Raises:
            UsageError: There is none of that name, or none was named and nobody can tell.
        """
        return chosen_split(self.files, split, self.source)


def chosen_files(path: Path, files: FilesByClass) -> dict[str, dict[str, Path]]:
    """The files that a list names, by class; folders and suffixes are not compared.

    Raises:
        DataError: The list is damaged, or names classes or images that are not there.
    """
    chosen: dict[str, dict[str, Path]] = {name: {} for name in files}
    missing = []
    rows = read_label_file(path).rows
    for row in rows:
        if row.label not in files:
            known = some_of(list(files))
            raise DataError(f"{path}: line {row.line}: expected a class of {known}, got {row.label!r}")
        name = PurePosixPath(row.file).stem
        file = files[row.label].get(name)
        if file is None:
            missing.append(row.file)
        else:
            chosen[row.label][name] = file
    if missing:
        got = f"no {some_of(missing)}"
        raise DataError(f"{path}: expected the {len(rows)} images that it lists, got {got}; complete the data")
    return chosen


def _lists_in(folder: Path, keyword: str) -> dict[str, Path]:
    if not os.path.isdir(folder):
        return {}
    files = [entry for entry in listing(folder) if _is_list(entry, keyword)]
    return {_split_of(file, keyword): file for file in files}


def _is_list(file: Path, keyword: str) -> bool:
    name = file.name.lower()
    return name.startswith(f"{keyword}_") and name.endswith(_SUFFIX) and os.path.isfile(file)


def _split_of(file: Path, keyword: str) -> str:
    """The split that a list is named after.

    >>> _split_of(Path("eurosat_test.csv"), "eurosat"), _split_of(Path("mine.csv"), "eurosat")
    ('test', 'mine')
    """
    return file.stem.removeprefix(f"{keyword}_")
