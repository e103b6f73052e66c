"""What every data set is: a base class that does the bookkeeping, with two methods left to the leaves."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import check_finite
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.errors import DataError, UsageError

__all__ = ["Batch", "Dataset", "rebatch"]

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Images ``(batch, channels, height, width)`` float32, labels ``(batch,)`` int64."""


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
            part = (images[start:stop], labels[start:stop])
            parts.append(part)
            taken = len(part[1])
            start += taken
            room -= taken
            # given out as soon as it is full, so that at most one batch is held
            if room == 0:
                yield _joined(parts)
                parts = []
                room = size
    if parts:
        yield _joined(parts)


def _joined(parts: list[Batch]) -> Batch:
    # a piece that fills the batch is handed on as it is: concatenating would copy it
    if len(parts) == 1:
        return parts[0]
    images = [part[0] for part in parts]
    labels = [part[1] for part in parts]
    return np.concatenate(images), np.concatenate(labels)


class Dataset(ABC):
    """A named, finite stream of labelled images that gives the same batches however often it is read.

    A leaf passes its bookkeeping to ``__init__`` and implements ``_pieces`` and ``_content``.

    Attributes:
        name: Short name, without folders.
        split: The split that was opened, None where the data has none.
        classes: Number of classes; every label is below it.
        preprocess: The preprocessing in effect, resolved from all sources that are known so far.
        sample_shape: ``(channels, height, width)`` of one image as it is fed.
        source: What ``load_dataset`` was asked for, so that it can be asked again; empty for data from Python.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str | None,
        classes: int | None,
        preprocess: Preprocess,
        sample_shape: tuple[int, int, int],
        labels: NDArray[np.int64],
    ) -> None:
        highest = int(labels.max())
        if classes is None:
            classes = highest + 1
        # a label beyond the classes would be counted nowhere
        if highest >= classes:
            raise DataError(f"{name}: expected labels below classes={classes}, got {highest}; correct either")
        self.name = name
        self.split = split
        self.classes = classes
        self.preprocess = preprocess
        self.sample_shape = sample_shape
        self.source: Mapping[str, Any] = {}
        self._labels = labels

    @abstractmethod
    def _pieces(self, size: int) -> Iterator[Batch]:
        """Preprocessed images and labels in order, in pieces of any length (``size`` is a hint)."""

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

    @final
    def batches(self, size: int) -> Iterator[Batch]:
        """Go through the data once, in order.

        Args:
            size: Images per batch; the last batch may be shorter.

        Returns:
            An iterator over images ``(batch, channels, height, width)`` float32, labels ``(batch,)`` int64.

        Raises:
            UsageError: ``size`` is below 1.
            DataError: While iterating, when an image cannot be read or is not finite.
        """
        # here and not in the generator, whose first line runs at the first batch
        if size < 1:
            raise UsageError(f"expected a batch size of at least 1, got {size}")
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
        labels = self._labels.tobytes()
        digest.update(labels)
        content = self._content()
        digest.update(content)
        return digest.hexdigest()

    @final
    @property
    def labels(self) -> NDArray[np.int64]:
        """All labels in order, ``(images,)`` int64; a view that cannot be written to."""
        # only the view is locked: a leaf may share the array with others
        view = self._labels.view()
        view.flags.writeable = False
        return view

    @final
    def counts(self) -> NDArray[np.int64]:
        """Images per class, ``(classes,)`` int64."""
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

    def _finite_pieces(self, size: int) -> Iterator[Batch]:
        where = f"{self.name} after preprocessing"
        done = 0
        for images, labels in self._pieces(size):
            # what was finite in the file may have left float32's range on the way
            check_finite(images, where, first=done)
            yield images, labels
            done += len(labels)
