"""Stratified subsets: few images, every class in its share."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.errors import UsageError
from ftonnx.samples import Samples, joined, part_of

__all__ = ["held_out", "largest_remainder", "stratified_subset"]


def largest_remainder(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Share ``total`` seats in proportion to ``counts``; what is left over goes to the largest remainders.

    >>> largest_remainder(np.array([10, 20, 70]), 8).tolist()
    [1, 2, 5]
    """
    # whole numbers all the way: as floats, equal remainders could come out unequal
    shares = counts * total
    everyone = counts.sum()
    seats: NDArray[np.int64] = shares // everyone
    remainders = shares % everyone
    # the largest remainder first, then the first class
    order = np.argsort(-remainders, kind="stable")
    left = total - seats.sum()
    winners = order[:left]
    seats[winners] += 1
    return seats


def stratified_subset(data: Dataset, size: int, *, seed: int | Sequence[int]) -> Dataset:
    """Return ``size`` random images of ``data``, each class in its share, in their old order.

    Args:
        data: Images to draw from; all of them are taken when there are no more than ``size``.
        size: Number of images.
        seed: Of the choice.

    Raises:
        UsageError: ``size`` is below 1, or a seed below 0.
    """
    if size < 1:
        raise UsageError(f"expected a subset of at least 1 image, got {size}")
    # a seed may be several numbers
    if np.min(seed) < 0:
        raise UsageError(f"expected a seed of 0 or more, got {seed}")
    if size >= len(data):
        return data
    rng = np.random.default_rng(seed)
    chosen = _chosen(data, size, rng)
    return _Subset(data, chosen)


def held_out(data: Dataset, share: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Split images at random in two, each class in its share.

    Args:
        data: Images.
        share: Of the second part, above 0 and below 1; it has one image at least.
        seed: Of the choice.

    Returns:
        The others, and those that are held out.

    Raises:
        UsageError: ``share`` is out of range, or nothing would be left.
    """
    size = max(1, round(share * len(data)))
    if not 0 < share < 1 or size >= len(data):
        raise UsageError(f"hold_out: a share of {len(data)} images above 0 and below 1 was expected, got {share}")
    chosen = _chosen(data, size, np.random.default_rng(seed))
    rest = np.setdiff1d(np.arange(len(data)), chosen)
    return _Subset(data, rest), _Subset(data, chosen)


def _chosen(data: Dataset, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if data.classes is None:
        # no classes, no shares
        any_of_them: NDArray[np.int64] = rng.choice(len(data), size, replace=False)
        any_of_them.sort()
        return any_of_them
    quotas = largest_remainder(data.counts(), size)
    drawn = []
    for label, quota in enumerate(quotas):
        # a class without a share draws no random numbers
        if quota == 0:
            continue
        members = np.flatnonzero(data.labels == label)
        picked = rng.choice(members, quota, replace=False)
        drawn.append(picked)
    chosen: NDArray[np.int64] = np.concatenate(drawn)
    # in the old order, so that one pass over the data is enough
    chosen.sort()
    return chosen


class _Subset(Dataset):
    """Some images of another data set."""

    def __init__(self, parent: Dataset, chosen: NDArray[np.int64]) -> None:
        super().__init__(
            name=parent.name,
            split=parent.split,
            # a class may have no image here and is still one
            classes=parent.classes,
            preprocess=parent.preprocess,
            sample_shape=parent.sample_shape,
            labels=parent.labels[chosen],
        )
        self._parent = parent
        self._chosen = chosen
        self.labelling = parent.labelling

    def completed(self, model_metadata: Mapping[str, str] | None) -> Dataset:
        """See ``Dataset.completed``; the images stay those that were chosen."""
        parent = self._parent.completed(model_metadata)
        if parent is self._parent:
            return self
        return _Subset(parent, self._chosen)

    def stored(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored``."""
        return self._parent.stored(int(self._chosen[index]))

    def stored_map(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored_map``."""
        return self._parent.stored_map(int(self._chosen[index]))

    @property
    def any_order(self) -> bool:
        """See ``Dataset.any_order``."""
        return self._parent.any_order

    def _part(self, place: slice) -> Batch:
        parts: list[Samples] = []
        for index in self._chosen[place].tolist():
            images, _ = self._parent._part(slice(index, index + 1))
            parts.append(images)
        return joined(parts), self._labels[place].copy()

    def _pieces(self, size: int) -> Iterator[Batch]:
        done = 0
        for images, labels in self._parent.batches(size):
            stop = done + len(labels)
            # the chosen positions are sorted, so those in this batch stand side by side
            first = np.searchsorted(self._chosen, done)
            last = np.searchsorted(self._chosen, stop)
            positions = self._chosen[first:last]
            inside = positions - done
            yield part_of(images, inside), labels[inside]
            done = stop

    def _content(self) -> bytes:
        parent = self._parent.fingerprint
        digest = hashlib.sha256(parent.encode())
        digest.update(self._chosen.tobytes())
        return digest.digest()
