"""Fractions of sums over all batches that are no means of the batches' own, such as intersections over unions."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.base import Columns, Fraction

__all__ = ["PooledFraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledFraction(Fraction):
    """A smooth function of sums of counts over all batches.

    It has no value for each batch that would add up, so a task cannot be led by it (``headline``, ``harm``).
    """

    @abstractmethod
    def sums(self, counts: Columns) -> NDArray[np.int64]:
        """Return the counts that it depends on, the last axis in their order, the others as the counts have them."""

    @abstractmethod
    def value(self, totals: NDArray[Any]) -> float:
        """Return the fraction, given the sums over all batches, (counts,)."""

    @abstractmethod
    def gradient(self, totals: NDArray[Any]) -> NDArray[np.float64]:
        """Return by how much the fraction rises with each of the sums, (counts,)."""

    @abstractmethod
    def worst(self, totals: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Return the sums if every run did all the harm there may be, in each way, given those without faults."""

    @abstractmethod
    def best(self, totals: NDArray[Any]) -> NDArray[Any]:
        """Return the sums if all was right, given those without faults."""

    def of(self, counts: Mapping[str, int]) -> float:
        """Return the fraction in some counts."""
        return self.value(self.sums({name: np.array(counts[name]) for name in self.names}))

    def weights(self, golden: Columns) -> NoReturn:
        """Batches have no weights in it."""
        raise TypeError(f"{self.label} is no mean over batches")

    def by_batch(self, counts: Columns, golden: Columns) -> NoReturn:
        """Batches have no fractions that add up to it."""
        raise TypeError(f"{self.label} is no mean over batches")
