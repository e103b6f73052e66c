"""A data set whose images are held in memory, in the dtype in which they were stored."""

import hashlib
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.archive import Archive
from ftonnx.datasets.base import Batch
from ftonnx.datasets.labelling import Labelling
from ftonnx.datasets.map_files import maps_like
from ftonnx.datasets.numbering import Rules, by_name
from ftonnx.datasets.request import Resolved
from ftonnx.datasets.stored import AnyOrderDataset
from ftonnx.errors import DataError
from ftonnx.samples import Shape, arrays_of, mapped, part_of, shape_of

__all__ = ["ArrayDataset"]


class ArrayDataset(AnyOrderDataset):
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
        labels = archive.labels
        labelling = None
        if labels.dtype.kind == "U":
            labels, classes, labelling = _numbered(labels, resolved, Rules(what="label", root=name, classes=classes))
        elif classes is None:
            classes = _classes_of(archive)
        super().__init__(
            name=name,
            split=split,
            classes=classes,
            resolved=resolved,
            sample_shape=_fed_shape(archive, resolved, name),
            labels=_as_fed(labels[:limit], archive, resolved),
            labelling=labelling,
        )
        # keeps it in the table of open archives
        self._archive = archive
        self._images = part_of(archive.images, slice(limit))

    def stored(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored``."""
        if not isinstance(self._images, np.ndarray):
            return super().stored(index)
        one: NDArray[Any] = self._images[index : index + 1]
        return one

    def stored_map(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored_map``."""
        if not _are_maps_of_images(self._archive):
            return super().stored_map(index)
        one: NDArray[Any] = self._archive.labels[index]
        return one

    @property
    def has_pixels(self) -> bool:
        """See ``Dataset.has_pixels``."""
        return isinstance(self._images, np.ndarray) and self._images.dtype == np.uint8 and self._images.ndim == 4

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(
            self._archive,
            name=self.name,
            split=self.split,
            classes=self.classes,
            limit=len(self),
            resolved=resolved,
        )

    def _part(self, place: slice) -> Batch:
        stored = part_of(self._images, place)
        # both are new arrays: a batch is the caller's to write to
        images = mapped(stored, self.preprocess.apply)
        return images, self._labels[place].copy()

    def _content(self) -> bytes:
        digest = hashlib.sha256()
        for array in arrays_of(self._images):
            contiguous = np.ascontiguousarray(array)
            # the same bytes can be other pixels in another dtype or shape
            header = f"{array.dtype} {array.shape}"
            digest.update(header.encode())
            digest.update(contiguous.data)
        return digest.digest()


def _numbered(labels: NDArray[Any], resolved: Resolved, rules: Rules) -> tuple[NDArray[Any], int, Labelling]:
    """Class numbers of labels that are texts, how many classes there are, and how they got their numbers."""
    # of all labels, so that a limit does not change the numbers
    names, members = np.unique(labels, return_inverse=True)
    found = by_name(names.tolist(), resolved.class_names, rules)
    numbers = np.array(found.numbers, np.int64)
    return numbers[members], found.classes, found.labelling


def _classes_of(archive: Archive) -> int | None:
    if archive.classes is not None:
        return archive.classes
    labels = archive.labels
    if labels.ndim != 1 or labels.dtype.kind != "i":
        return None
    # of all labels, so that a limit does not change the number
    return int(labels.max()) + 1


def _as_fed(labels: NDArray[Any], archive: Archive, resolved: Resolved) -> NDArray[Any]:
    """Labels; where they are maps of the images' size, resized and cropped as these are."""
    return maps_like(labels, resolved.effective) if _are_maps_of_images(archive) else labels


def _are_maps_of_images(archive: Archive) -> bool:
    labels = archive.labels
    images = archive.images
    are_maps = labels.ndim == 3 and labels.dtype.kind in "iu"
    return are_maps and isinstance(images, np.ndarray) and images.shape[2:] == labels.shape[1:]


def _fed_shape(archive: Archive, resolved: Resolved, name: str) -> Shape:
    """The shape of a sample as it is fed, found by preparing the first one."""
    first = part_of(archive.images, slice(1))
    try:
        fed = mapped(first, resolved.effective.apply)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return shape_of(fed)
