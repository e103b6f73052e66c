"""Data that is held in memory once: ``.npz`` archives and the embedded digits."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.checks import MAX_CLASSES, check_finite, checked_labels, near
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request, Resolved
from ftonnx.datasets.stored import StoredDataset
from ftonnx.errors import DataError, Interrupted, UsageError, describe

__all__ = ["Archive", "ArrayDataset", "open_digits", "open_npz", "read_archive"]

DIGITS = Path(__file__).with_name("digits.npz")
SPLITS = ("train", "val", "test")
"""Names of the digits' splits; the array ``split`` in digits.npz holds positions in this tuple."""


class Archive:
    """The checked arrays of one ``.npz``, read-only.

    Attributes:
        images: ``(images, channels, height, width)``, uint8 or float32.
        labels: ``(images,)`` int64.
        classes: Number of classes where the archive says so.
    """

    def __init__(self, images: NDArray[Any], labels: NDArray[np.int64], classes: int | None) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes
        images.flags.writeable = labels.flags.writeable = False


class ArrayDataset(StoredDataset):
    """Images in memory in their stored dtype, preprocessed batch by batch."""

    def __init__(
        self,
        archive: Archive,
        *,
        name: str,
        split: str | None,
        classes: int | None,
        limit: int | None,
        resolved: Resolved,
    ) -> None:
        try:
            shape = resolved.effective.apply(archive.images[:1]).shape[1:]
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        super().__init__(
            name=name,
            split=split,
            classes=classes or archive.classes or int(archive.labels.max()) + 1,
            resolved=resolved,
            sample_shape=shape,
            labels=archive.labels[:limit],
        )
        self._archive = archive  # keeps it in the table of open archives
        self._images = archive.images[:limit]

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(
            self._archive,
            name=self.name,
            split=self.split,
            classes=self.classes,
            limit=len(self),
            resolved=resolved,
        )

    def _pieces(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            stop = start + size
            yield self.preprocess.apply(self._images[start:stop]), self._labels[start:stop].copy()

    def _content(self) -> bytes:
        digest = hashlib.sha256(f"{self._images.dtype} {self._images.shape}".encode())
        digest.update(np.ascontiguousarray(self._images).data)
        return digest.digest()


def open_digits(request: Request) -> Dataset:
    """The embedded digits: 8 x 8 gray images of 0 to 16, by default the test split and a scale of 1/16."""
    split = request.split or "test"
    if split not in SPLITS:
        got = f"{split!r}{near(split, SPLITS)}"
        raise UsageError(f"digits: expected a split of {', '.join(SPLITS)}, got {got}")
    stored = _members(DIGITS, ("images", "labels", "split"))
    chosen = stored["split"] == SPLITS.index(split)
    return ArrayDataset(
        Archive(stored["images"][chosen], stored["labels"][chosen].astype(np.int64), 10),
        name="digits",
        split=split,
        classes=None,
        limit=request.limit,
        resolved=request.resolve(default=Preprocess(scale=1 / 16)),
    )


def open_npz(path: Path, request: Request) -> Dataset:
    """A ``.npz`` file, or the file of one split (by default test) in a folder of them."""
    if os.path.isdir(path):
        split = request.split or "test"
        return _open_file(_split_file(path, split), path.resolve().name, split, request)
    if request.split is not None:
        raise UsageError(f"{path}: a single .npz has no split {request.split!r}; name a folder, or no split")
    return _open_file(path, path.stem, None, request)


def _open_file(path: Path, name: str, split: str | None, request: Request) -> Dataset:
    archive = read_archive(path)
    side = read_side_file(path.with_suffix(".toml"), path.with_name("preprocess.toml"))
    scale = 1 / 255 if archive.images.dtype == np.uint8 else 1.0
    return ArrayDataset(
        archive,
        name=name,
        split=split,
        classes=side.classes,
        limit=request.limit,
        resolved=request.resolve(side.preprocess, default=Preprocess(scale=scale)),
    )


def _split_file(folder: Path, split: str) -> Path:
    splits = sorted(path.stem for path in folder.glob("*.npz"))
    if split not in splits:
        have = ", ".join(splits) or "no .npz at all"
        raise UsageError(f"{folder}: expected a file {split}.npz, got {have}{near(split, splits)}")
    return folder / f"{split}.npz"


_OPEN: WeakValueDictionary[tuple[str, int, int], Archive] = WeakValueDictionary()


def read_archive(path: Path) -> Archive:
    """The arrays of a ``.npz``; one that is still in use is not loaded a second time.

    Raises:
        DataError: The file is missing or damaged, or its arrays are not what is expected.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a .npz file or a folder of them, got nothing; check the path")
    status = os.stat(path)
    key = (os.path.realpath(path), status.st_mtime_ns, status.st_size)
    archive = _OPEN.get(key)
    if archive is None:
        archive = _OPEN[key] = _checked(_members(path, ("images", "labels", "classes")), str(path))
    return archive


def _members(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Those arrays of ``names`` that a ``.npz`` holds; pickles are refused."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: expected a .npz archive, got another kind or a damaged one; save it again")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in names if name in archive}
    except Interrupted:
        raise
    except Exception as error:  # a hostile zip or array header fails in many ways
        raise DataError(f"{path}: expected a readable .npz, got {describe(error)}; save it again") from error


def _checked(arrays: dict[str, NDArray[Any]], where: str) -> Archive:
    for key in ("images", "labels"):
        if key not in arrays:
            raise DataError(f"{where}: expected arrays 'images' and 'labels', got no {key!r}; save it")
    images = arrays["images"]
    if images.dtype not in (np.uint8, np.float32):
        raise DataError(f"{where}: expected uint8 or float32 images, got {images.dtype}; convert with astype")
    if images.ndim != 4:
        expected = "(images, channels, height, width)"
        raise DataError(f"{where}: expected images {expected}, got shape {images.shape}; reshape them")
    if images.size == 0:
        raise DataError(f"{where}: expected at least one image and pixel, got shape {images.shape}; fill it")
    labels = checked_labels(arrays["labels"], len(images), where)
    if images.dtype == np.float32:
        check_finite(images, where)
    return Archive(images, labels, _class_count(arrays.get("classes"), where))


def _class_count(stored: NDArray[Any] | None, where: str) -> int | None:
    """Number of classes: one integer, or the length of a list of names."""
    if stored is None:
        return None
    if stored.dtype.kind in "iu" and stored.size == 1:
        count = int(stored.reshape(()))
    elif stored.dtype.kind == "U" and stored.ndim == 1:
        count = len(stored)
    else:
        count = 0
    if not 1 <= count <= MAX_CLASSES:
        got = f"{stored.dtype} of shape {stored.shape}"
        raise DataError(f"{where}: expected 'classes' as one positive integer or a list of names, got {got}")
    return count
