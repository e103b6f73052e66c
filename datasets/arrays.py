"""A data set whose images are held in memory, in the dtype in which they were stored."""

import hashlib
from collections.abc import Iterator
from typing import Self

import numpy as np

from ftonnx.datasets.archive import Archive
from ftonnx.datasets.base import Batch
from ftonnx.datasets.request import Resolved
from ftonnx.datasets.stored import StoredDataset
from ftonnx.errors import DataError

__all__ = ["ArrayDataset"]


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
        if classes is None:
            classes = _classes_of(archive)
        super().__init__(
            name=name,
            split=split,
            classes=classes,
            resolved=resolved,
            sample_shape=_fed_shape(archive, resolved, name),
            labels=archive.labels[:limit],
        )
        # keeps it in the table of open archives
        self._archive = archive
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
            stored = self._images[start:stop]
            labels = self._labels[start:stop]
            # both are new arrays: a batch is the caller's to write to
            images = self.preprocess.apply(stored)
            yield images, labels.copy()

    def _content(self) -> bytes:
        images = np.ascontiguousarray(self._images)
        # the same bytes can be other pixels in another dtype or shape
        header = f"{images.dtype} {images.shape}"
        digest = hashlib.sha256(header.encode())
        digest.update(images.data)
        return digest.digest()


def _classes_of(archive: Archive) -> int:
    if archive.classes is not None:
        return archive.classes
    # of all labels, so that a limit does not change the number
    highest = archive.labels.max()
    return int(highest) + 1


def _fed_shape(archive: Archive, resolved: Resolved, name: str) -> tuple[int, int, int]:
    """``(channels, height, width)`` of an image as it is fed, found by preparing the first one."""
    first = archive.images[:1]
    try:
        fed = resolved.effective.apply(first)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    # one by one: a slice of a shape has no known length for the type checker
    channels = fed.shape[1]
    height = fed.shape[2]
    width = fed.shape[3]
    return channels, height, width
