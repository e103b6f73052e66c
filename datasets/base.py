"""What every data set is: a base class that does the bookkeeping, with two methods left to the leaves."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import check_finite
from ftonnx.datasets.labelling import Labelling
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import DataError, UsageError
from ftonnx.samples import Samples, Shape, joined, part_of

__all__ = ["Batch", "Dataset", "rebatch"]

Batch = tuple[Samples, NDArray[Any]]
"""What a model is fed, one row per sample (images are ``(batch, channels, height, width)`` float32), and its labels.

Labels are class numbers ``(batch,)`` int64; of other tasks ``(batch, ...)``, int64 or float64.
"""


def rebatch(pieces: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cut pieces of any length into batches of ``size`` images; the last may be shorter.

    >>> pieces = [(np.zeros((n, 1, 1, 1), np.float32), np.arange(n)) for n in (2, 0, 3)]
    >>> [labels.tolist() for _, labels in rebatch(pieces, 4)]
    [[0, 1, 0, 1], [2]]
    """
    parts: list[Batch] = []
    room = size
    for images, labels in pieces:
        start = 0
        while start < len(labels):
            stop = start + room
            parts.append((part_of(images, slice(start, stop)), labels[start:stop]))
            taken = len(parts[-1][1])
            start += taken
            room -= taken
            # given out as soon as it is full, so that at most one batch is held
            if room == 0:
                yield _joined(parts)
                parts = []
                room = size
        # what was given out may be gone while the next piece is read
        del images, labels
    if parts:
        yield _joined(parts)


def _joined(parts: list[Batch]) -> Batch:
    # a piece that fills the batch is handed on as it is: concatenating would copy it
    if len(parts) == 1:
        return parts[0]
    images = [part[0] for part in parts]
    labels = [part[1] for part in parts]
    return joined(images), np.concatenate(labels)


class Dataset(ABC):
    """A named, finite stream of labelled images that gives the same batches however often it is read.

    A leaf passes its bookkeeping to ``__init__`` and implements ``_pieces`` and ``_content``.

    Attributes:
        name: Short name, without folders.
        split: The split that was opened, None where the data has none.
        classes: Number of classes; every label is below it. None where labels are no class numbers.
        preprocess: The preprocessing in effect, resolved from all sources that are known so far.
        sample_shape: Shape of one sample as it is fed, ``(channels, height, width)`` of an image; by the names of the
            model's inputs where there are several arrays.
        source: What ``load_dataset`` was asked for, so that it can be asked again; empty for data from Python.
        labelling: The names of the classes, how they got their numbers, and what was left out.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str | None,
        classes: int | None,
        preprocess: Preprocess,
        sample_shape: Shape,
        labels: NDArray[Any],
    ) -> None:
        classes = _classes_of(labels, classes, name)
        self.name = name
        self.split = split
        self.classes = classes
        self.preprocess = preprocess
        self.sample_shape = sample_shape
        self.source: Mapping[str, Any] = {}
        self.labelling = Labelling()
        self._labels = labels

    @abstractmethod
    def _pieces(self, size: int) -> Iterator[Batch]:
        """Preprocessed images and labels in order, in pieces of any length (``size`` is a hint)."""

    def _part(self, place: slice) -> Batch:
        """Preprocessed images and labels of some places side by side; leaves that are read in any order have it."""
        raise NotImplementedError

    @abstractmethod
    def _content(self) -> bytes:
        """A SHA-256 digest over the images, before preprocessing or after it."""

    def completed(self, model_metadata: Mapping[str, str] | None) -> "Dataset":
        """Take over what a model says of the preprocessing, where nobody else has said anything.

        Everything that runs a model on a data set does this first, so a data set that was opened without a model
        is fed as one that was opened for it. Batches made by someone's own code are ready to be fed and stay as
        they are.

        Args:
            model_metadata: The model's ``metadata_props``.

        Returns:
            A new data set, the same as one opened with ``load_dataset(..., model_metadata=...)``; this one where the
            model adds nothing.

        Raises:
            DataError: The metadata is damaged, or does not fit the images.
            UsageError: What the model says contradicts what was said before.
        """
        return self

    def stored(self, index: int) -> NDArray[Any]:
        """One image as it is stored, ``(1, channels, height, width)``, before any preprocessing; in any order.

        Raises:
            DataError: The images can be read one after the other only, or this one cannot be read.
        """
        raise DataError(f"{self.name}: its images can be read one after the other only; give files or arrays")

    def stored_map(self, index: int) -> NDArray[Any]:
        """One label map as it is stored, integers ``(height, width)``, before it is resized and cropped; in any order.

        Raises:
            DataError: The labels are no maps of the images' size, or this one cannot be read.
        """
        raise DataError(f"{self.name}: label maps of the images' size were expected, got none that can be cut as these")

    @property
    def any_order(self) -> bool:
        """Whether some of the batches are read without the others; else they cost a pass up to the last of them."""
        return False

    @property
    def has_pixels(self) -> bool:
        """Whether the images are stored as 8-bit pixels, so that they can be fed unscaled."""
        return False

    def unscaled(self) -> "Dataset":
        """Return the images as pixels from 0 to 255, for a model that scales them by itself.

        Raises:
            DataError: a scale, mean or std was asked for.
        """
        raise DataError(f"{self.name}: the images are not stored as pixels")

    @property
    def class_names(self) -> tuple[str | None, ...] | None:
        """The names of the classes, None for one without a name; None where nobody knows any."""
        return self.labelling.names or None

    def unreadable(self) -> list[str]:
        """Read everything once and say what cannot be read, one line each."""
        try:
            for _ in self.batches(1):
                pass
        except DataError as error:
            # what follows in a file or a stream cannot be reached
            return [str(error)]
        return []

    @final
    def batches(self, size: int, only: Collection[int] | None = None) -> Iterator[Batch]:
        """Go through the data once, in order.

        Args:
            size: Images per batch; the last batch may be shorter.
            only: The numbers of the batches that are wanted, from 0; None for all.

        Returns:
            An iterator over samples and labels, see ``Batch``.

        Raises:
            UsageError: ``size`` is below 1.
            DataError: While iterating, when an image cannot be read or is not finite.
        """
        # here and not in the generator, whose first line runs at the first batch
        if size < 1:
            raise UsageError(f"expected a batch size of at least 1, got {size}")
        if only is not None:
            return self._some_batches(size, sorted(set(only)))
        return rebatch(self._finite_pieces(size), size)

    @final
    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over images, labels and preprocessing, whatever the batch size and the file name."""
        header = {
            "shape": self.sample_shape,
            "preprocess": self.preprocess.as_dict(),
            "images": len(self),
        }
        # sorted, so that the order of the keys in the code does not count
        text = json.dumps(header, sort_keys=True)
        digest = hashlib.sha256(text.encode())
        if not _are_classes(self._labels):
            # the same bytes can be other numbers
            digest.update(f"{self._labels.dtype} {self._labels.shape}".encode())
        # maps are large: their memory is read, not copied
        labels = np.ascontiguousarray(self._labels)
        digest.update(labels.data)
        content = self._content()
        digest.update(content)
        return digest.hexdigest()

    @final
    @property
    def labels(self) -> NDArray[Any]:
        """All labels in order, ``(images,)`` int64 where they are class numbers; a view that cannot be written to."""
        # only the view is locked: a leaf may share the array with others
        view = self._labels.view()
        view.flags.writeable = False
        return view

    @final
    def counts(self) -> NDArray[np.int64]:
        """Images per class, ``(classes,)`` int64; empty where labels are no class numbers."""
        if self.classes is None:
            return np.zeros(0, np.int64)
        counted = np.bincount(
            self._labels,
            # the highest classes may have no image
            minlength=self.classes,
        )
        return counted.astype(np.int64)

    @final
    def __len__(self) -> int:
        return len(self._labels)

    @final
    def __repr__(self) -> str:
        split = ""
        if self.split is not None:
            split = f", split={self.split!r}"
        images = len(self)
        return f"Dataset({self.name!r}{split}, images={images}, shape={self.sample_shape}, classes={self.classes})"

    def _some_batches(self, size: int, numbers: list[int]) -> Iterator[Batch]:
        if self.any_order:
            for number in numbers:
                start = number * size
                images, labels = self._part(slice(start, min(start + size, len(self))))
                check_finite(images, self._where, first=start)
                yield images, labels
            return
        wanted = set(numbers)
        for number, batch in enumerate(self.batches(size)):
            if number in wanted:
                yield batch
                wanted.remove(number)
            # what comes behind the last one need not be read
            if not wanted:
                return

    @property
    def _where(self) -> str:
        return f"{self.name} after preprocessing"

    def _finite_pieces(self, size: int) -> Iterator[Batch]:
        done = 0
        for images, labels in self._pieces(size):
            # what was finite in the file may have left float32's range on the way
            check_finite(images, self._where, first=done)
            yield images, labels
            done += len(labels)
            del images, labels


def _are_classes(labels: NDArray[Any]) -> bool:
    return labels.ndim == 1 and labels.dtype.kind in "iu"


def _classes_of(labels: NDArray[Any], classes: int | None, name: str) -> int | None:
    """Return the number of classes; None where labels are no class numbers."""
    if not _are_classes(labels):
        return None
    highest = int(labels.max())
    if classes is None:
        return highest + 1
    # a label beyond the classes would be counted nowhere
    if highest >= classes:
        raise DataError(f"{name}: expected labels below classes={classes}, got {highest}; correct either")
    return classes
