"""What CIFAR-10 and CIFAR-100 have in common: three forms in which they are published."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.archive import Archive
from ftonnx.datasets.arrays import ArrayDataset
from ftonnx.datasets.base import Dataset
from ftonnx.datasets.checks import checked_labels
from ftonnx.datasets.class_names import ClassNames
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.published.hugging_face import open_tables, tables_in
from ftonnx.datasets.published.pickled import read_pickle
from ftonnx.datasets.request import Request
from ftonnx.datasets.splits import chosen_split
from ftonnx.errors import DataError, describe

__all__ = ["CifarKind"]

_PIXELS: Final = 3 * 32 * 32
_LARGEST: Final = 1 << 28

_Files = dict[str, tuple[str, ...]]
_Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


class CifarKind(PathKind):
    """Images of 32 x 32 pixels in splits train and test, by default test.

    The folder that the archive of the python version or of the binary version holds, that folder itself, or the parquet
    files of Hugging Face.

    Attributes:
        title: Its name, for messages.
        labels: Its classes, in the order of their numbers.
        python_folder: Of the python version.
        binary_folder: Of the binary version.
        python_files: Of every split.
        python_labels: The key of the labels there.
        binary_files: Of every split.
        binary_labels: Bytes before an image; the last of them is the label.
        default: The preprocessing where nobody says another: that of the networks that are published for it.
    """

    __slots__ = ()

    title: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    python_folder: ClassVar[str]
    binary_folder: ClassVar[str]
    python_files: ClassVar[_Files]
    python_labels: ClassVar[str]
    binary_files: ClassVar[_Files]
    binary_labels: ClassVar[int]
    default: ClassVar[Preprocess]

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        python = self._with_files(self.python_folder, self.python_files)
        if python is not None:
            return self._opened(python, self.python_files, self._python_part, request)
        binary = self._with_files(self.binary_folder, self.binary_files)
        if binary is not None:
            return self._opened(binary, self.binary_files, self._binary_part, request)
        if tables_in(self.path):
            return open_tables(self.path, request, name=str(self.keyword), default=self.default)
        expected = f"{self.python_folder}, {self.binary_folder} or parquet files"
        raise DataError(f"{self.path}: expected {self.title} ({expected}), got none of them{_advice(self.path)}")

    def _with_files(self, name: str, files: _Files) -> Path | None:
        """The folder that holds the files of one version, or some of them."""
        for folder in (self.path, self.path / name):
            for split in files.values():
                if os.path.isfile(folder / split[0]):
                    return folder
        return None

    def _opened(self, folder: Path, files: _Files, read: Callable[[Path], _Part], request: Request) -> Dataset:
        """One split of one version, in memory."""
        split = chosen_split(files, request.split, str(folder))
        parts = [read(file) for file in _present(folder, files[split])]
        images = np.concatenate([images for images, _ in parts])
        labels = np.concatenate([labels for _, labels in parts])
        names = ClassNames.of(self.labels, self.title, asked=True)
        side = read_side_file(folder / "preprocess.toml")
        return ArrayDataset(
            Archive(images, labels, len(self.labels)),
            name=str(self.keyword),
            split=split,
            classes=None,
            limit=request.limit,
            resolved=request.resolve(side.preprocess, default=self.default, class_names=[side.class_names, names]),
        )

    def _python_part(self, file: Path) -> _Part:
        found = read_pickle(file)
        data = found.get("data")
        labels = found.get(self.python_labels)
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS or labels is None:
            expected = f"data of {_PIXELS} bytes per image, and {self.python_labels}"
            raise DataError(f"{file}: expected {expected}, got {', '.join(map(str, found))}; download it again")
        return data.reshape(-1, 3, 32, 32), self._checked(labels, len(data), file)

    def _binary_part(self, file: Path) -> _Part:
        size = self.binary_labels + _PIXELS
        try:
            # before it is read: a stranger's file may be anything
            length = os.path.getsize(file)
            content = file.read_bytes() if length <= _LARGEST else b""
        except OSError as error:
            raise DataError(f"{file}: expected a readable file, got {describe(error)}") from error
        if not content or len(content) % size:
            raise DataError(f"{file}: expected records of {size} bytes, got {length} bytes in all; download it again")
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        images = records[:, self.binary_labels :].reshape(-1, 3, 32, 32)
        labels = records[:, self.binary_labels - 1].astype(np.int64)
        return images, self._checked(labels, len(images), file)

    def _checked(self, labels: object, count: int, file: Path) -> NDArray[np.int64]:
        try:
            array = np.asarray(labels)
        except ValueError as error:
            raise DataError(f"{file}: expected {count} labels, got {describe(error)}; download it again") from error
        checked: NDArray[np.int64] = checked_labels(array, count, str(file))
        highest = int(checked.max())
        if highest >= len(self.labels):
            raise DataError(f"{file}: expected labels below {len(self.labels)}, got {highest}; is it {self.title}?")
        return checked


def _present(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of a split, which are all there."""
    found = [folder / name for name in names]
    missing = [file.name for file in found if not os.path.isfile(file)]
    if missing:
        raise DataError(f"{folder}: expected {', '.join(names)}, got no {', '.join(missing)}; unpack all of it")
    return found


def _advice(path: Path) -> str:
    if os.path.isfile(path):
        return "; unpack the archive, and give its folder"
    return "; check the path"
