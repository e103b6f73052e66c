"""``hf:PATH``: parquet files, or a data set saved by Hugging Face's ``datasets``."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.listing import listing, sub_folders
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.published.image_tables import TableDataset, read_table
from ftonnx.datasets.request import Request
from ftonnx.datasets.splits import chosen_split
from ftonnx.errors import DataError

__all__ = ["HuggingFaceKind", "open_tables", "tables_in"]

_SUFFIXES: Final = (".parquet", ".arrow")
_SHARD: Final = re.compile(r"(?P<split>.+?)-[0-9]{5}-of-[0-9]{5}(-[0-9a-f]+)?")
_UNNAMED: Final = re.compile("[0-9]+|data|cache")
_DEEPEST: Final = 3


@dataclass(frozen=True, slots=True)
class HuggingFaceKind(PathKind):
    """A folder with tables, whose splits are told by the names of files or folders; or one file."""

    form: ClassVar[str] = "hf:PATH"
    keyword: ClassVar[str | None] = "hf"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; lists the folder."""
        return len(tables_in(self.path)) > 1

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """A table."""
        if argument.lower().endswith(_SUFFIXES) and os.path.isfile(argument):
            return f"{cls.keyword}:{argument}"
        return None

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        default = Preprocess(scale=1 / 255, channels="rgb")
        return open_tables(self.path, request, name=self.path.resolve().name, default=default)


def open_tables(path: Path, request: Request, *, name: str, default: Preprocess) -> Dataset:
    """The data set of a split's tables.

    Args:
        path: A folder with tables, or one.
        request: What was asked for.
        name: Of the data set.
        default: The preprocessing where nobody says another.

    Raises:
        UsageError: There is no such split, or several and none is named.
        DataError: There are no tables, or they cannot be read.
    """
    tables = tables_in(path)
    if not tables:
        expected = "parquet files, or a data set saved by Hugging Face's save_to_disk"
        raise DataError(f"{path}: expected {expected}, got none; check the path")
    split = chosen_split(tables, request.split, str(path))
    table = read_table(tables[split])
    folder = path if os.path.isdir(path) else path.parent
    side = read_side_file(folder / "preprocess.toml")
    resolved = request.resolve(side.preprocess, default=default, class_names=[side.class_names, table.names])
    return TableDataset(table, name=name, split=split or None, limit=request.limit, resolved=resolved)


def tables_in(path: Path) -> Mapping[str, list[Path]]:
    """The files of every split, by its name; an empty one where a single table is of no split."""
    if os.path.isfile(path) and path.suffix in _SUFFIXES:
        return {"": [path]}
    if not os.path.isdir(path):
        return {}
    found: dict[str, list[Path]] = {}
    level = [path]
    for _ in range(_DEEPEST + 1):
        for folder in level:
            for file in listing(folder):
                if file.suffix in _SUFFIXES and os.path.isfile(file):
                    found.setdefault(_split_of(file, path), []).append(file)
        level = [inner for folder in level for inner in sub_folders(folder)]
    return found


def _split_of(file: Path, root: Path) -> str:
    """The split that a file, or else its folder, is named after."""
    shard = _SHARD.fullmatch(file.stem)
    name = file.stem if shard is None else shard["split"]
    if not _UNNAMED.fullmatch(name):
        return name
    return "" if file.parent == root else file.parent.name
