"""Batches that someone else makes: checked, limited, and re-batched to the size asked for."""

import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.checks import check_finite, checked_labels
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import DataError, Interrupted, UsageError, describe

__all__ = ["StreamDataset", "as_dataset"]


def as_dataset(batches: Dataset | Iterable[object], *, name: str = "batches") -> Dataset:
    """Make a data set of any iterable of ``(images, labels)`` batches; a data set is returned as it is.

    An iterator (such as a generator) is read once and kept in memory. Anything else, such as a list or a
    torch DataLoader without shuffling, is read again for every pass, and must give the same images again.

    Args:
        batches: Pairs of images ``(batch, channels, height, width)``, floats ready to be fed, and integer
            labels ``(batch,)``, in batches of any length.
        name: Name of the data set.

    Raises:
        UsageError: ``batches`` is not iterable.
        DataError: A batch is not as described, or there are no images.
    """
    return batches if isinstance(batches, Dataset) else StreamDataset(batches, name=name)


class StreamDataset(Dataset):
    """Batches from an iterable, read once on opening (for labels and fingerprint) and once per pass."""

    def __init__(self, source: Iterable[object], *, name: str, limit: int | None = None) -> None:
        if not any(hasattr(source, method) for method in ("__iter__", "__getitem__")):
            raise UsageError(f"{name}: expected an iterable of (images, labels), got {type(source).__name__}")
        kept: list[Batch] = []
        labels: list[NDArray[np.int64]] = []
        checksums: list[NDArray[np.uint32]] = []
        digest = hashlib.sha256()
        shape: tuple[int, int, int] | None = None
        for images, targets in _pieces(source, name, limit):
            shape = _same_shape(shape, images, name)
            digest.update(images.data)
            labels.append(targets)
            checksums.append(_checksums(images))
            if isinstance(source, Iterator):
                kept.append((images, targets))
        if shape is None:
            raise DataError(f"{name}: expected at least one image, got none")
        super().__init__(
            name=name,
            split=None,
            classes=None,
            preprocess=Preprocess(),
            sample_shape=shape,
            labels=np.concatenate(labels),
        )
        self._source: Iterable[object] = kept if isinstance(source, Iterator) else source
        self._checksums = np.concatenate(checksums)
        self._digest = digest.digest()

    def _pieces(self, size: int) -> Iterator[Batch]:
        done = 0
        for images, labels in _pieces(self._source, self.name, len(self)):
            stop = done + len(labels)
            if images.shape[1:] != self.sample_shape or not (
                np.array_equal(labels, self._labels[done:stop])
                and np.array_equal(_checksums(images), self._checksums[done:stop])
            ):
                raise self._changed(f"others among images {done} to {stop - 1}")
            yield images, labels
            done = stop
        if done < len(self):
            raise self._changed(f"{done}")

    def _changed(self, got: str) -> DataError:
        expected = f"the same {len(self)} images in every pass"
        return DataError(f"{self.name}: expected {expected}, got {got}; turn off shuffling and augmentation")

    def _content(self) -> bytes:
        return self._digest


def _pieces(source: Iterable[object], name: str, limit: int | None) -> Iterator[Batch]:
    """Checked copies of the non-empty batches, cut off after ``limit`` images."""
    left = sys.maxsize if limit is None else limit
    for index, batch in enumerate(source):
        images, labels = _checked(batch, f"{name}, batch {index}")
        if len(labels):
            yield images[:left], labels[:left]
        left -= len(labels)
        if left <= 0:
            return


def _checked(batch: object, where: str) -> Batch:
    """One batch as new arrays: whoever made it may reuse its buffers."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise DataError(f"{where}: expected a pair (images, labels), got {type(batch).__name__}")
    images, labels = (_array(part, where) for part in batch)
    if images.dtype.kind != "f":
        advice = "scale them yourself, as in images.astype('float32') / 255"
        raise DataError(f"{where}: expected images as floats ready to be fed, got {images.dtype}; {advice}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        expected = "images (batch, channels, height, width)"
        raise DataError(f"{where}: expected {expected}, got shape {images.shape}; reshape them")
    targets = checked_labels(labels, len(images), where)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes Inf, reported next
        pixels: NDArray[np.float32] = np.array(images, dtype=np.float32, order="C")
    check_finite(pixels, where)
    return pixels, targets


def _array(value: object, where: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except Interrupted:
        raise
    except Exception as error:  # a tensor on another device, a ragged list
        raise DataError(f"{where}: expected NumPy arrays, got {describe(error)}") from error


def _same_shape(shape: tuple[int, int, int] | None, images: NDArray[np.float32], name: str) -> tuple[int, int, int]:
    _, channels, height, width = images.shape
    if shape not in (None, (channels, height, width)):
        raise DataError(f"{name}: expected images of one shape, got {shape} and {(channels, height, width)}")
    return channels, height, width


def _checksums(images: NDArray[np.float32]) -> NDArray[np.uint32]:
    """CRC-32 of every image, ``(batch,)``."""
    return np.array([zlib.crc32(image) for image in images], np.uint32)
