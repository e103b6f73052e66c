"""Counting what becomes of maps of classes: pixels that are right, that changed, and those of every class."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.arrays import bits_of, count_true, same_rows
from ftonnx.tasks.base import Counts
from ftonnx.tasks.map_forms import MapForm
from ftonnx.tasks.one_output import ArrayJudge

__all__ = ["OF_BATCH", "OF_IMAGES", "PER_CLASS", "UNIT", "MapJudge"]

OF_IMAGES: Final = ("n", "pixels", "correct", "area", "same", "sdc", "masked", "due")
"""Counts that do not depend on classes, in the order of the store's columns; see ``Segmentation``."""

PER_CLASS: Final = ("labels", "predicted", "hits")
"""Counts that every class has, each for all classes in turn."""

OF_BATCH: Final = ("averaged", "averages", "absent")
"""What is counted of a batch and not of its images."""

UNIT: Final = 10**9
"""What a batch's mean is counted in."""


class MapJudge(ArrayJudge):
    """Compares maps of classes with golden maps and labels, image by image.

    Most runs change few images or none, so what is counted of every image without faults is held, and only images
    that a run changed are looked at again.
    """

    def __init__(
        self,
        golden: NDArray[Any],
        labels: NDArray[Any],
        *,
        form: MapForm,
        classes: int,
        names: Sequence[str],
        ignore: int,
        changed: float,
    ) -> None:
        """Find the golden classes.

        Args:
            golden: outputs of the form, with a row per image.
            labels: class numbers (images, height, width).
            form: of the outputs.
            classes: their number.
            names: of the counts, in order.
            ignore: the label of pixels without one.
            changed: the share of an image's pixels above which another class is harm.
        """
        golden = _arranged(form, golden)
        self._form = form
        self._names = names
        self._classes = classes
        self._changed = changed
        self._bits = bits_of(golden)
        # pixels without a label are of one class more
        stored = labels.reshape(len(labels), -1)
        known = stored.astype(np.int32)
        known[stored == ignore] = self._classes
        # so are those that are seen to be of no class at all
        self._starts = known * (self._classes + 1)
        self._labelled = np.stack([np.bincount(each, minlength=self._classes + 1) for each in known])[:, :-1]
        self._area = known.shape[1]
        self._maps = [self._map_of(image) for image in golden]
        rows = [self._row(index, found, masked=True) for index, found in enumerate(self._maps)]
        self._rows = np.stack(rows)
        self._unchanged = self._total(self._rows)

    def crashed(self) -> Counts:
        """See ``ArrayJudge.crashed``."""
        lost = [self._row(index, None, masked=False) for index in range(len(self._maps))]
        return self._total(np.stack(lost))

    def count(self, values: NDArray[Any]) -> Counts:
        """See ``ArrayJudge.count``."""
        values = _arranged(self._form, values)
        same = same_rows(bits_of(values), self._bits)
        if same.all():
            return self._unchanged
        rows = self._rows.copy()
        for index in np.flatnonzero(~same).tolist():
            rows[index] = self._row(index, self._map_of(values[index]), masked=False)
        return self._total(rows)

    def _row(self, index: int, found: NDArray[Any] | None, *, masked: bool) -> NDArray[np.int64]:
        """Return the counts of one image, in order.

        Args:
            index: of the image.
            found: its map of classes, (pixels,); None where it has none.
            masked: its outputs are the golden ones.
        """
        labels = self._labelled[index]
        predicted = np.zeros_like(labels)
        hits = np.zeros_like(labels)
        same = 0
        is_silent = False
        if found is not None:
            # one bin for each label and class
            bins = np.bincount(self._starts[index] + self._counted(found), minlength=(self._classes + 1) ** 2)
            confusion = bins.reshape(self._classes + 1, -1)[:-1, :-1]
            predicted = confusion.sum(axis=0)
            hits = confusion.diagonal()
            before = self._maps[index]
            if before is not None:
                same = count_true(found == before)
                is_silent = self._area - same > self._changed * self._area
        of_image = [1, labels.sum(), hits.sum(), self._area, same, is_silent, masked, found is None]
        return np.concatenate([np.array(of_image, np.int64), labels, predicted, hits])

    def _map_of(self, values: NDArray[Any]) -> NDArray[Any] | None:
        """Return an image's classes, (pixels,); None where its scores hold NaN or Inf."""
        found = self._form.seen(values)
        return None if found is None else found.reshape(-1)

    def _counted(self, found: NDArray[Any]) -> NDArray[Any]:
        """Return classes to count; a faulty network's numbers need not be classes."""
        if self._form.is_bounded:
            return found
        return np.where((found < 0) | (found > self._classes), self._classes, found)

    def _total(self, rows: NDArray[np.int64]) -> Counts:
        """Return the counts of all images."""
        total = rows.sum(axis=0).tolist()
        if len(total) < len(self._names):
            total += self._of_batch(rows)
        return Counts(dict(zip(self._names, total, strict=True)))

    def _of_batch(self, rows: NDArray[np.int64]) -> list[int]:
        """Return the mean accuracy of the classes in the batch, in billionths, a billion, and how many it lacks."""
        hits = rows[:, -self._classes :].sum(axis=0)
        labels = self._labelled.sum(axis=0)
        is_there = labels > 0
        if not is_there.any():
            return [0, 0, 0]
        mean = float((hits[is_there] / labels[is_there]).mean())
        return [round(mean * UNIT), UNIT, int((~is_there).sum())]


def _arranged(form: MapForm, values: NDArray[Any]) -> NDArray[Any]:
    arranged = form.arranged(values)
    assert arranged is not None  # the task has asked before
    return arranged
