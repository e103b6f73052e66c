"""A data set as a particular model takes it: channels last, or pixels as bytes."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.errors import DataError
from ftonnx.samples import Shape, mapped

__all__ = ["FedDataset", "fed_as"]


def fed_as(data: Dataset, *, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> Dataset:
    """Return images in the layout and the type that a model's only input declares; other data as they are.

    Images are put with their channels last where only that fits the declared sizes. An input of bytes gets pixels as
    they are stored, from 0 to 255, resized and cropped where that was asked for.

    Args:
        data: the data set, with its preprocessing complete.
        shape: of the input, without the batch; None for a free size.
        dtype: of the input.

    Raises:
        DataError: the input takes bytes, and the images are scaled to something else.
    """
    if isinstance(data, FedDataset) or isinstance(data.sample_shape, dict):
        return data
    channels_last = _only_fits_turned(data.sample_shape, shape)
    as_bytes = dtype == np.uint8 and len(data.sample_shape) == 3 and data.has_pixels
    if not channels_last and not as_bytes:
        return data
    if as_bytes:
        data = data.unscaled()
    return FedDataset(data, channels_last=channels_last, as_bytes=as_bytes)


def _only_fits_turned(sizes: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Say whether ``(channels, height, width)`` fits declared sizes only as ``(height, width, channels)``.

    >>> _only_fits_turned((3, 224, 224), (224, 224, 3)), _only_fits_turned((3, 224, 224), (None, None, 3))
    (True, True)
    >>> _only_fits_turned((3, 224, 224), (3, None, None)), _only_fits_turned((3, 2, 2), (None, None, None))
    (False, False)
    """
    if len(sizes) != 3 or len(declared) != 3:
        return False
    turned = (*sizes[1:], sizes[0])
    return _fits(turned, declared) and not _fits(sizes, declared)


def _fits(sizes: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    pairs = zip(sizes, declared, strict=True)
    return all(wanted in (None, size) for size, wanted in pairs)


class FedDataset(Dataset):
    """Another data set's images, turned or as bytes."""

    def __init__(self, parent: Dataset, *, channels_last: bool, as_bytes: bool) -> None:
        super().__init__(
            name=parent.name,
            split=parent.split,
            classes=parent.classes,
            preprocess=parent.preprocess,
            sample_shape=_turned(parent.sample_shape) if channels_last else parent.sample_shape,
            labels=parent.labels,
        )
        self.source = parent.source
        self.labelling = parent.labelling
        self._parent = parent
        self._channels_last = channels_last
        self._as_bytes = as_bytes

    def unreadable(self) -> list[str]:
        """See ``Dataset.unreadable``."""
        return self._parent.unreadable()

    def completed(self, model_metadata: Mapping[str, str] | None) -> Dataset:
        """See ``Dataset.completed``; the images stay as they are fed."""
        parent = self._parent.completed(model_metadata)
        if parent is self._parent:
            return self
        return FedDataset(parent, channels_last=self._channels_last, as_bytes=self._as_bytes)

    @property
    def any_order(self) -> bool:
        """See ``Dataset.any_order``."""
        return self._parent.any_order

    def _pieces(self, size: int) -> Iterator[Batch]:
        for images, labels in self._parent.batches(size):
            yield mapped(images, self._fed), labels

    def _part(self, place: slice) -> Batch:
        images, labels = self._parent._part(place)
        return mapped(images, self._fed), labels

    def _fed(self, images: NDArray[Any]) -> NDArray[Any]:
        if self._as_bytes:
            images = self._bytes(images)
        if self._channels_last:
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        return images

    def _bytes(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        low = images.min()
        high = images.max()
        if low < 0 or high > 255:
            raise DataError(f"{self.name}: the model takes bytes, 0 to 255; the images hold {low:g} to {high:g}")
        # an interpolated pixel is no whole number
        rounded: NDArray[np.uint8] = np.rint(images).astype(np.uint8)
        return rounded

    def _content(self) -> bytes:
        form = f"{self._channels_last} {self._as_bytes} {self._parent.fingerprint}"
        return form.encode()


def _turned(shape: Shape) -> Shape:
    if isinstance(shape, dict):
        return shape
    return (*shape[1:], shape[0])
