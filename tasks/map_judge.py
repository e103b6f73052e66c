"""Counting what becomes of maps of classes: pixels that are right, that changed, and those of every class."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.arrays import bits_of, count_true, same_rows
from ftonnx.tasks.base import Counts
from ftonnx.tasks.one_output import ArrayJudge

__all__ = ["OF_BATCH", "OF_IMAGES", "PER_CLASS", "MapJudge", "class_map"]

OF_IMAGES: Final = ("n", "pixels", "correct", "area", "same", "sdc", "masked", "due")
"""Counts that do not depend on classes, in the order of the store's columns; see ``Segmentation``."""

PER_CLASS: Final = ("labels", "predicted", "hits")
"""Counts that every class has, each for all classes in turn."""

OF_BATCH: Final = ("averaged", "averages")
"""What is counted of a batch and not of its images."""

_UNIT: Final = 10**9  # in which a batch's mean is counted
_BYTE: Final = 256  # classes whose numbers fit in one


class MapJudge(ArrayJudge):
    """Compares maps of classes with golden maps and labels, image by image.

    Most runs change few images or none, so what is counted of every image without faults is held, and only images
    that a run changed are looked at again.
    """

    def __init__(
        self, golden: NDArray[Any], labels: NDArray[Any], *, names: Sequence[str], ignore: int, changed: float
    ) -> None:
        """Find the golden classes.

        Args:
            golden: scores (images, classes, height, width).
            labels: class numbers (images, height, width).
            names: of the counts, in order.
            ignore: the label of pixels without one.
            changed: the share of an image's pixels above which another class is harm.
        """
        self._names = names
        self._classes = golden.shape[1]
        self._changed = changed
        self._bits = bits_of(golden)
        # pixels without a label are of one class more
        stored = labels.reshape(len(labels), -1)
        known = stored.astype(np.int32)
        known[stored == ignore] = self._classes
        self._starts = known * self._classes
        self._labelled = np.stack([np.bincount(each, minlength=self._classes + 1) for each in known])[:, :-1]
        self._area = known.shape[1]
        self._maps = [_map_of(scores) for scores in golden]
        rows = [self._row(index, found, masked=True) for index, found in enumerate(self._maps)]
        self._rows = np.stack(rows)
        self._unchanged = self._total(self._rows)

    def crashed(self) -> Counts:
        """See ``ArrayJudge.crashed``."""
        lost = [self._row(index, None, masked=False) for index in range(len(self._maps))]
        return self._total(np.stack(lost))

    def count(self, values: NDArray[Any]) -> Counts:
        """See ``ArrayJudge.count``."""
        same = same_rows(bits_of(values), self._bits)
        if same.all():
            return self._unchanged
        rows = self._rows.copy()
        for index in np.flatnonzero(~same).tolist():
            rows[index] = self._row(index, _map_of(values[index]), masked=False)
        return self._total(rows)

    def _row(self, index: int, found: NDArray[Any] | None, *, masked: bool) -> NDArray[np.int64]:
        """Return the counts of one image, in order.

        Args:
            index: of the image.
            found: its map of classes, (pixels,); None where it has none.
            masked: its scores are the golden ones.
        """
        labels = self._labelled[index]
        predicted = np.zeros_like(labels)
        hits = np.zeros_like(labels)
        same = 0
        is_silent = False
        if found is not None:
            # one bin for each label and class
            bins = np.bincount(self._starts[index] + found, minlength=(self._classes + 1) * self._classes)
            confusion = bins.reshape(-1, self._classes)[: self._classes]
            predicted = confusion.sum(axis=0)
            hits = confusion.diagonal()
            before = self._maps[index]
            if before is not None:
                same = count_true(found == before)
                is_silent = self._area - same > self._changed * self._area
        of_image = [1, labels.sum(), hits.sum(), self._area, same, is_silent, masked, found is None]
        return np.concatenate([np.array(of_image, np.int64), labels, predicted, hits])

    def _total(self, rows: NDArray[np.int64]) -> Counts:
        """Return the counts of all images."""
        total = rows.sum(axis=0).tolist()
        if len(total) < len(self._names):
            total += self._of_batch(rows)
        return Counts(dict(zip(self._names, total, strict=True)))

    def _of_batch(self, rows: NDArray[np.int64]) -> list[int]:
        """Return the mean of the classes' accuracies over those in the batch, in billionths, and a billion."""
        hits = rows[:, -self._classes :].sum(axis=0)
        labels = self._labelled.sum(axis=0)
        is_there = labels > 0
        if not is_there.any():
            return [0, 0]
        mean = float((hits[is_there] / labels[is_there]).mean())
        return [round(mean * _UNIT), _UNIT]


def _map_of(scores: NDArray[Any]) -> NDArray[Any] | None:
    """Return an image's classes, (pixels,); None where its scores hold NaN or Inf."""
    if not np.isfinite(scores).all():
        return None
    return class_map(scores).reshape(-1)


def class_map(scores: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the class with the highest score of every pixel, of equal ones the lowest, as ``argmax`` has it.

    Class by class, which is several times faster than numpy's argmax over an axis that is not the last.

    Args:
        scores: of one image, (classes, height, width), finite.

    Returns:
        Classes (height, width), in as few bytes as their number needs.

    >>> class_map(np.array([[[1., 0., 0.]], [[1., 2., 0.]], [[0., 3., 0.]]])).tolist()
    [[0, 2, 0]]
    """
    best = scores[0].copy()
    kind = np.uint8 if len(scores) <= _BYTE else np.uint16
    classes = np.zeros(best.shape, kind)
    is_better = np.empty(best.shape, np.bool_)
    for number, own in enumerate(scores[1:], start=1):
        np.greater(own, best, out=is_better)
        # a later class has a larger number: a maximum overwrites, faster than a masked copy
        np.maximum(classes, np.multiply(is_better, kind(number)), out=classes)
        np.maximum(best, own, out=best)
    return classes
