"""``digits``: the embedded images of handwritten digits."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from ftonnx.datasets.archive import Archive, read_members
from ftonnx.datasets.arrays import ArrayDataset
from ftonnx.datasets.base import Dataset
from ftonnx.datasets.kind import DataKind
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.errors import UsageError
from ftonnx.words import near

__all__ = ["DigitsKind"]

DIGITS = Path(__file__).with_name("digits.npz")
SPLITS = ("train", "val", "test")
"""Names of the splits; the array ``split`` in digits.npz holds positions in this tuple."""

_CLASSES = 10
_HIGHEST_PIXEL = 16


@dataclass(frozen=True, slots=True)
class DigitsKind(DataKind):
    """8 x 8 gray images of 0 to 16, by default the test split and a scale of 1/16."""

    form: ClassVar[str] = "digits"
    keyword: ClassVar[str | None] = "digits"

    @classmethod
    def parse(cls, spec: str) -> Self | None:
        """See ``DataKind.parse``."""
        if spec != cls.keyword:
            return None
        return cls()

    @property
    def spec(self) -> str:
        """See ``DataKind.spec``."""
        return self.form

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        split = request.split or "test"
        default = Preprocess(scale=1 / _HIGHEST_PIXEL)
        return ArrayDataset(
            _read_split(split),
            name="digits",
            split=split,
            classes=None,
            limit=request.limit,
            resolved=request.resolve(default=default),
        )


def _read_split(split: str) -> Archive:
    # before the file is read: the names are known
    if split not in SPLITS:
        expected = ", ".join(SPLITS)
        meant = near(split, SPLITS)
        raise UsageError(f"digits: expected a split of {expected}, got {split!r}{meant}")
    stored = read_members(DIGITS, ("images", "labels", "split"))
    number = SPLITS.index(split)
    chosen = stored["split"] == number
    images = stored["images"][chosen]
    labels = stored["labels"][chosen]
    # said, since a part of a split may lack the highest class
    return Archive(images, labels.astype(np.int64), _CLASSES)
