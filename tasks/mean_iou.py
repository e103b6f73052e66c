"""Mean IoU: how far prediction and label are the same pixels, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.base import Columns
from ftonnx.tasks.pooled_fraction import PooledFraction

__all__ = ["MeanIou"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanIou(PooledFraction):
    """The mean over classes of the intersection of label and prediction over their union (Jaccard index).

    Classes that no pixel is labelled with are left out; seeing them costs the class that is there its pixel.

    Attributes:
        parts: of each class the counts of pixels with both label and prediction, with the label, with the prediction.

    >>> mean = MeanIou(count="right", whole="n", parts=(("b", "l", "p"), ("c", "m", "q")), label="IoU", says="overlap")
    >>> mean.of({"b": 2, "l": 3, "p": 3, "c": 3, "m": 4, "q": 3, "right": 5, "n": 7})
    0.625
    """

    parts: tuple[tuple[str, str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """See ``Fraction.names``."""
        of_parts = [name for part in self.parts for name in part]
        return self.count, self.whole, *of_parts

    def sums(self, counts: Columns) -> NDArray[np.int64]:
        """See ``PooledFraction.sums``: those of every kind, class by class."""
        kinds = zip(*self.parts, strict=True)
        return np.stack([counts[name] for kind in kinds for name in kind], axis=-1)

    def value(self, totals: NDArray[Any]) -> float:
        """See ``PooledFraction.value``."""
        both, labels, seen = totals.reshape(3, -1)
        is_there = labels > 0
        if not is_there.any():
            return 0.0
        unions = labels + seen - both
        return float((both[is_there] / unions[is_there]).mean())

    def gradient(self, totals: NDArray[Any]) -> NDArray[np.float64]:
        """See ``PooledFraction.gradient``: of a ratio I / (L + P - I)."""
        both, labels, seen = totals.reshape(3, -1)
        unions = labels + seen - both
        is_there = labels > 0
        squares = np.where(is_there, unions, 1).astype(np.float64) ** 2
        weights = is_there / (squares * max(1, is_there.sum()))
        rises = np.stack([weights * (unions + both), -weights * both, -weights * both])
        return rises.ravel()

    def worst(self, totals: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """See ``PooledFraction.worst``: one class everywhere, or none anywhere."""
        _, labels, _ = totals.reshape(3, -1)
        nothing = np.zeros_like(labels)
        found = [np.concatenate([nothing, labels, nothing])]
        for only in np.eye(len(labels), dtype=labels.dtype):
            found.append(np.concatenate([only * labels, labels, only * labels.sum()]))
        return found

    def best(self, totals: NDArray[Any]) -> NDArray[Any]:
        """See ``PooledFraction.best``."""
        _, labels, _ = totals.reshape(3, -1)
        return np.concatenate([labels, labels, labels])
