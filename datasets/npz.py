"""``npz:PATH``: an archive of images and labels, or a folder with one for each split."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from ftonnx.datasets.archive import read_archive
from ftonnx.datasets.arrays import ArrayDataset
from ftonnx.datasets.base import Dataset
from ftonnx.datasets.class_names import ClassNames, find_class_names, read_class_names
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.label_file import LABEL_SUFFIXES
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.errors import DataError, UsageError
from ftonnx.samples import Samples
from ftonnx.words import near

__all__ = ["NpzKind"]

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NpzKind(PathKind):
    """A ``.npz`` file, or the file of one split (by default test) in a folder of them."""

    form: ClassVar[str] = "npz:PATH"
    keyword: ClassVar[str | None] = "npz"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; only a folder of archives has them."""
        return self.path.suffix != ".npz"

    @classmethod
    def guess(cls, argument: str) -> str | None:
        """A file is probably an archive, a folder may hold some."""
        is_other = argument.lower().endswith((".py", *LABEL_SUFFIXES))
        is_file = os.path.isfile(argument) and not is_other
        if is_file or os.path.isdir(argument):
            return f"{cls.keyword}:{argument}"
        return None

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        path = self.path
        split = request.split
        if os.path.isdir(path):
            split = split or "test"
            name = path.resolve().name
            file = _split_file(path, split)
            return _open_file(file, name, split, request)
        if split is not None:
            advice = "name a folder, or no split"
            raise UsageError(f"{path}: a single .npz has no split {split!r}; {advice}")
        return _open_file(path, path.stem, None, request)


def _open_file(path: Path, name: str, split: str | None, request: Request) -> Dataset:
    archive = read_archive(path)
    # the file of this archive before the one for the whole folder
    own_side_file = path.with_suffix(".toml")
    shared_side_file = path.with_name("preprocess.toml")
    side = read_side_file(own_side_file, shared_side_file)
    if side.first_label is not None:
        advice = "subtract it from the labels, and take it out of the TOML"
        raise DataError(f"{path}: expected labels from 0, got first_label={side.first_label}; {advice}")
    # floats are taken as they are; bytes are brought to 0 to 1
    default = Preprocess(scale=1.0)
    if _are_bytes(archive.images):
        default = Preprocess(scale=1 / 255)
    names = [side.class_names, archive.class_names]
    if archive.labels.dtype.kind == "U":
        is_asked = request.class_names is not None or any(each is not None for each in names)
        names.append(None if is_asked else _names_beside(path))
    resolved = request.resolve(side.preprocess, default=default, class_names=names)
    return ArrayDataset(
        archive,
        name=name,
        split=split,
        classes=side.classes or resolved.named_classes,
        limit=request.limit,
        resolved=resolved,
    )


def _names_beside(path: Path) -> ClassNames | None:
    """The class names in a file that nobody named but that lies there."""
    file = find_class_names([path.parent])
    if file is None:
        return None
    try:
        return read_class_names(file, asked=False)
    except DataError as error:
        _logger.warning("%s; it is left aside", error)
        return None


def _are_bytes(samples: Samples) -> bool:
    """Whether samples are images of 8-bit pixels."""
    return isinstance(samples, np.ndarray) and samples.dtype == np.uint8 and samples.ndim == 4


def _split_file(folder: Path, split: str) -> Path:
    splits = []
    for path in folder.glob("*.npz"):
        splits.append(path.stem)
    if split in splits:
        return folder / f"{split}.npz"
    # a folder is listed in any order
    splits.sort()
    have = ", ".join(splits) or "no .npz at all"
    meant = near(split, splits)
    raise UsageError(f"{folder}: expected a file {split}.npz, got {have}{meant}")
