"""Fractions that are means over parts of what is counted, such as the classes of pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.base import Columns, Fraction, per_batch

__all__ = ["MeanFraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanFraction(Fraction):
    """The mean over parts, each of which is a fraction of all images; parts of which there is nothing are left out.

    The whole of every part is the same with faults and without, so the mean is a sum of counts with weights that are
    known: that of all batches is a mean of theirs, and intervals for means hold for it.

    Attributes:
        parts: count and whole of each.

    >>> parts = (("a", "as"), ("b", "bs"))
    >>> classes = MeanFraction(count="right", whole="n", parts=parts, label="mean", says="are right")
    >>> classes.of({"a": 3, "as": 4, "b": 1, "bs": 4, "right": 4, "n": 8})
    0.5
    """

    parts: tuple[tuple[str, str], ...]

    def of(self, counts: Mapping[str, int]) -> float:
        """Return the mean of the parts' fractions in some counts."""
        shares = [counts[count] / counts[whole] for count, whole in self.parts if counts[whole]]
        return sum(shares) / len(shares) if shares else 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """See ``Fraction.names``."""
        of_parts = [name for part in self.parts for name in part]
        return self.count, self.whole, *of_parts

    def weights(self, golden: Columns) -> NDArray[Any]:
        """See ``Fraction.weights``: each part is shared out over the batches by what they have of it."""
        weights = np.zeros(len(golden[self.whole]))
        for _, whole, factor in self._present(golden):
            weights += factor * golden[whole]
        return weights

    def by_batch(self, counts: Columns, golden: Columns) -> NDArray[np.float64]:
        """See ``Fraction.by_batch``.

        >>> parts = (("a", "as"), ("b", "bs"))
        >>> classes = MeanFraction(count="right", whole="n", parts=parts, label="mean", says="are right")
        >>> golden = {"a": np.array([4, 0]), "as": np.array([4, 0]), "b": np.array([1, 3]), "bs": np.array([2, 6])}
        >>> golden |= {"right": golden["a"] + golden["b"], "n": golden["as"] + golden["bs"]}
        >>> classes.by_batch(golden, golden).tolist(), classes.weights(golden).tolist()
        ([0.9, 0.5], [0.625, 0.375])
        """
        shares = np.zeros(counts[self.count].shape)
        for count, _, factor in self._present(golden):
            shares += factor * counts[count]
        weights = self.weights(golden)
        # a batch without any of the parts weighs nothing
        divisors = np.where(weights > 0, weights, 1.0)
        # rounding may leave the ends
        values: NDArray[np.float64] = np.clip(shares / per_batch(divisors, shares), 0.0, 1.0)
        return values

    def _present(self, golden: Columns) -> list[tuple[str, str, float]]:
        """Return count and whole of the parts that there are, and what one of them adds to the mean."""
        present = [(count, whole) for count, whole in self.parts if golden[whole].any()]
        return [(count, whole, 1 / (len(present) * int(golden[whole].sum()))) for count, whole in present]
