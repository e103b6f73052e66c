"""Stratified subsets: few images, every class in its share."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.errors import UsageError

__all__ = ["largest_remainder", "stratified_subset"]


def largest_remainder(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Share ``total`` seats in proportion to ``counts``; what is left over goes to the largest remainders.

    >>> largest_remainder(np.array([10, 20, 70]), 8).tolist()
    [1, 2, 5]
    """
    seats: NDArray[np.int64]
    seats, remainders = np.divmod(counts * total, counts.sum())  # whole numbers: equal remainders stay equal
    order = np.argsort(-remainders, kind="stable")  # the largest remainder first, then the first class
    seats[order[: total - seats.sum()]] += 1
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
    if np.min(seed) < 0:
        raise UsageError(f"expected a seed of 0 or more, got {seed}")
    if size >= len(data):
        return data
    return _Subset(data, _chosen(data, size, np.random.default_rng(seed)))


def _chosen(data: Dataset, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    quotas = largest_remainder(data.counts(), size)
    labels = data.labels
    drawn = [rng.choice(np.flatnonzero(labels == k), quota, replace=False) for k, quota in enumerate(quotas) if quota]
    chosen: NDArray[np.int64] = np.sort(np.concatenate(drawn))
    return chosen


class _Subset(Dataset):
    """Some images of another data set."""

    def __init__(self, parent: Dataset, chosen: NDArray[np.int64]) -> None:
        super().__init__(
            name=parent.name,
            split=parent.split,
            classes=parent.classes,
            preprocess=parent.preprocess,
            sample_shape=parent.sample_shape,
            labels=parent.labels[chosen],
        )
        self._parent = parent
        self._chosen = chosen

    def completed(self, model_metadata: Mapping[str, str] | None) -> Dataset:
        """See ``Dataset.completed``; the images stay those that were chosen."""
        parent = self._parent.completed(model_metadata)
        return self if parent is self._parent else _Subset(parent, self._chosen)

    def _pieces(self, size: int) -> Iterator[Batch]:
        done = 0
        for images, labels in self._parent.batches(size):
            low, high = np.searchsorted(self._chosen, [done, done + len(labels)])
            inside = self._chosen[low:high] - done
            yield images[inside], labels[inside]
            done += len(labels)

    def _content(self) -> bytes:
        return hashlib.sha256(self._parent.fingerprint.encode() + self._chosen.tobytes()).digest()
