"""Batches that someone else makes: checked, limited, and re-batched to the size asked for."""

import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.checks import check_array, check_finite, checked_labels, narrow
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import DataError, Interrupted, UsageError, describe
from ftonnx.samples import Samples, Shape, arrays_of, count_of, joined, part_of, shape_of

__all__ = ["StreamDataset", "as_dataset", "is_iterable"]


def as_dataset(batches: Dataset | Iterable[object] | Mapping[str, Any], *, name: str = "batches") -> Dataset:
    """Make a data set of any iterable of ``(images, labels)`` batches; a data set is returned as it is.

    An iterator (such as a generator) is read once and kept in memory. Anything else, such as a list or a
    torch DataLoader without shuffling, is read again for every pass, and must give the same images again.

    Args:
        batches: Pairs of samples and labels, in batches of any length. Samples are an array ready to be fed, such as
            images ``(batch, channels, height, width)`` of floats, or a dict of arrays by the names of the model's
            inputs; labels are integers ``(batch,)``, or what the task takes, a row per sample.
            Or all of the data at once, as an ``.npz`` holds it: a dict of ``labels`` and ``images``, or of ``labels``
            and arrays by the names of the model's inputs.
        name: Name of the data set.

    Raises:
        UsageError: ``batches`` is not iterable.
        DataError: A batch is not as described, or there are no images.
    """
    if isinstance(batches, Dataset):
        return batches
    if isinstance(batches, Mapping):
        return StreamDataset([_whole(batches, name)], name=name)
    return StreamDataset(batches, name=name)


def _whole(arrays: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    """All samples and all labels of a dict."""
    inputs = dict(arrays)
    labels = inputs.pop("labels", None)
    if labels is None or not inputs:
        got = ", ".join(map(str, arrays)) or "none"
        raise DataError(f"{name}: expected 'labels', and 'images' or arrays by the names of inputs; got {got}")
    return inputs.get("images", inputs), labels


def is_iterable(value: object) -> bool:
    """Whether a for loop takes it, by either of Python's two protocols; nothing is started.

    >>> is_iterable([]), is_iterable(3)
    (True, False)
    """
    iterates = hasattr(value, "__iter__")
    # a sequence by its numbers
    indexes = hasattr(value, "__getitem__")
    return iterates or indexes


class StreamDataset(Dataset):
    """Batches from an iterable, read once on opening (for labels and fingerprint) and once per pass."""

    def __init__(self, source: Iterable[object], *, name: str, limit: int | None = None) -> None:
        if not is_iterable(source):
            got = type(source).__name__
            raise UsageError(f"{name}: expected an iterable of (images, labels), got {got}")
        # an iterator cannot be started again
        reads_once = isinstance(source, Iterator)
        # read to the end once: labels and fingerprint are promised before the first batch
        kept: list[Batch] = []
        labels: list[NDArray[Any]] = []
        checksums: list[NDArray[np.uint32]] = []
        digest = hashlib.sha256()
        shape: Shape | None = None
        for images, targets in _pieces(source, name, limit):
            shape = _same_shape(shape, images, name)
            for array in arrays_of(images):
                digest.update(array.data)
            labels.append(targets)
            # small, so that a later pass can be compared without keeping the images
            checksums.append(_checksums(images))
            if reads_once:
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
        self._source: Iterable[object] = source
        if reads_once:
            self._source = kept
        self._stops = np.cumsum([len(each) for each in labels])
        self._checksums = np.concatenate(checksums)
        self._digest = digest.digest()

    def _pieces(self, size: int) -> Iterator[Batch]:
        done = 0
        for images, labels in _pieces(self._source, self.name, len(self)):
            stop = done + len(labels)
            # else counts of two passes would be of different images
            if not self._is_as_before(images, labels, slice(done, stop)):
                last = stop - 1
                raise self._changed(f"others among images {done} to {last}")
            yield images, labels
            done = stop
        # fewer images than in the first pass
        if done < len(self):
            raise self._changed(f"{done}")

    @property
    def any_order(self) -> bool:
        """See ``Dataset.any_order``; a list is, if no batch of it is empty or was left out."""
        return isinstance(self._source, list | tuple) and len(self._source) == len(self._stops)

    def _part(self, place: slice) -> Batch:
        first = int(np.searchsorted(self._stops, place.start, side="right"))
        last = int(np.searchsorted(self._stops, place.stop, side="left"))
        parts: list[Batch] = []
        for index in range(first, last + 1):
            before = int(self._stops[index - 1]) if index else 0
            start = max(place.start, before)
            stop = min(place.stop, int(self._stops[index]))
            where = f"{self.name}, batch {index}"
            rows = _rows(self._source[index], slice(start - before, stop - before), where)  # type: ignore[index]
            images, labels = _checked(rows, where)
            if not self._is_as_before(images, labels, slice(start, stop)):
                raise self._changed(f"others among images {start} to {stop - 1}")
            parts.append((images, labels))
        return joined([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])

    def _is_as_before(self, images: Samples, labels: NDArray[Any], place: slice) -> bool:
        """Say whether images and labels are those that were at this place when the data was opened."""
        if shape_of(images) != self.sample_shape:
            return False
        if not np.array_equal(labels, self._labels[place]):
            return False
        checksums = _checksums(images)
        return np.array_equal(checksums, self._checksums[place])

    def _changed(self, got: str) -> DataError:
        count = len(self)
        expected = f"the same {count} images in every pass"
        advice = "turn off shuffling and augmentation"
        return DataError(f"{self.name}: expected {expected}, got {got}; {advice}")

    def _content(self) -> bytes:
        return self._digest


def _pieces(source: Iterable[object], name: str, limit: int | None) -> Iterator[Batch]:
    """Checked copies of the non-empty batches, cut off after ``limit`` images."""
    left = sys.maxsize
    if limit is not None:
        left = limit
    for index, batch in enumerate(source):
        images, labels = _checked(batch, f"{name}, batch {index}")
        count = len(labels)
        if count:
            yield part_of(images, slice(left)), labels[:left]
        # asked before the next batch is: an endless source is fine as long as there is a limit
        left -= count
        if left <= 0:
            return


def _rows(batch: object, place: slice, where: str) -> object:
    """Some rows of a batch that was found to be a pair before."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        return batch
    samples, labels = batch
    if isinstance(samples, Mapping):
        chosen: object = {name: _array(array, where)[place] for name, array in samples.items()}
    else:
        chosen = _array(samples, where)[place]
    return chosen, _array(labels, where)[place]


def _checked(batch: object, where: str) -> Batch:
    """One batch as new arrays: whoever made it may reuse its buffers."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        got = type(batch).__name__
        raise DataError(f"{where}: expected a pair (images, labels), got {got}")
    samples = _samples(batch[0], where)
    labels = _array(batch[1], where)
    targets = checked_labels(labels, count_of(samples), where)
    if len(targets):
        for array in arrays_of(samples):
            check_array(array, where)
    check_finite(samples, where)
    return samples, targets


def _samples(given: object, where: str) -> Samples:
    """One array or several, as new ones."""
    if not isinstance(given, Mapping):
        return _copied(_array(given, where))
    if not given or not all(isinstance(name, str) for name in given):
        raise DataError(f"{where}: expected arrays by the names of the model's inputs, got {list(given)}")
    arrays = {name: _copied(_array(array, where)) for name, array in given.items()}
    lengths = {len(np.atleast_1d(array)) for array in arrays.values()}
    if len(lengths) > 1:
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(f"{where}: expected as many rows in every array, got {got}")
    return arrays


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    return np.array(narrow(array), order="C")


def _array(value: object, where: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except Interrupted:
        raise
    except Exception as error:
        # a tensor on another device, a ragged list
        raise DataError(f"{where}: expected NumPy arrays, got {describe(error)}") from error


def _same_shape(shape: Shape | None, images: Samples, name: str) -> Shape:
    found = shape_of(images)
    if shape is not None and shape != found:
        raise DataError(f"{name}: expected images of one shape, got {shape} and {found}")
    return found


def _checksums(images: Samples) -> NDArray[np.uint32]:
    """CRC-32 of every sample, ``(batch,)``."""
    sums = [0] * count_of(images)
    for array in arrays_of(images):
        for number, row in enumerate(array):
            sums[number] = zlib.crc32(row.tobytes(), sums[number])
    return np.array(sums, np.uint32)
