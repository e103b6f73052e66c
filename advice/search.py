"""The cheapest guards: for every tensor one of several ways, so that all together lose no more than is allowed.

Not aware of codes, files or models: a way has a cost and a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frontier", "Plan", "Way", "frontier"]

_GRID: Final = 500
"""Losses are rounded up to so small a part of what is allowed: no plan that is returned loses more than it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to guard a tensor.

    Attributes:
        tensor: its name.
        by: the code; empty where nothing is guarded.
        bits: numbers of the guarded bits of each element, ascending.
        cost: check bits.
        loss: accuracy lost per run by flips in this tensor and its check bits.
    """

    tensor: str
    by: str = ""
    bits: tuple[int, ...] = ()
    cost: int = 0
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One way for every tensor.

    Attributes:
        ways: one per tensor.
    """

    ways: tuple[Way, ...]

    @property
    def cost(self) -> int:
        """Check bits in all."""
        return sum(way.cost for way in self.ways)

    @property
    def loss(self) -> float:
        """Accuracy lost per run in all."""
        return sum(way.loss for way in self.ways)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """The plans that no other one beats in both check bits and loss.

    Attributes:
        costs: of each, int64 (plans,), ascending.
        losses: of each, rounded up, (plans,), descending.
    """

    costs: NDArray[np.int64]
    losses: NDArray[np.float64]
    _ways: Sequence[Sequence[Way]] = field(repr=False)
    _kept: Sequence[NDArray[np.int64]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.costs)

    def cheapest(self, allowed: float) -> Plan | None:
        """Return the cheapest plan that loses no more than is allowed; None where all lose more."""
        enough = np.flatnonzero(self.losses <= allowed)
        return self.plan(int(enough[0])) if len(enough) else None

    def plan(self, place: int) -> Plan:
        """Return a plan by its place, going back through the tensors."""
        found = []
        for ways, kept in zip(reversed(self._ways), reversed(self._kept), strict=True):
            place, way = divmod(int(kept[place]), len(ways))
            found.append(ways[way])
        return Plan(ways=tuple(reversed(found)))


def frontier(ways: Sequence[Sequence[Way]], allowed: float) -> Frontier:
    """Return the plans that no other one beats in both check bits and loss.

    Tensor after tensor, all plans so far meet all ways of the next one, and those that are beaten go. Losses are
    rounded up to a grid, so that few are left: the cheapest plan found costs no more than any that loses a grid step
    per tensor less than is allowed.

    Args:
        ways: of each tensor; one of them costs nothing.
        allowed: loss that matters, above 0; the grid is a small part of it.
    """
    step = allowed / _GRID
    costs = np.zeros(1, np.int64)
    losses = np.zeros(1, np.int64)
    chosen: list[NDArray[np.int64]] = []
    for each in ways:
        cost = np.array([way.cost for way in each], np.int64)
        loss = np.ceil([way.loss / step for way in each]).astype(np.int64)
        all_costs = (costs[:, np.newaxis] + cost).ravel()
        all_losses = (losses[:, np.newaxis] + loss).ravel()
        kept = _unbeaten(all_costs, all_losses)
        costs = all_costs[kept]
        losses = all_losses[kept]
        chosen.append(kept)
    return Frontier(costs=costs, losses=losses.astype(np.float64) * step, _ways=ways, _kept=chosen)


def _unbeaten(costs: NDArray[np.int64], losses: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of plans that none beats, the cheapest first; of equal ones the first.

    >>> _unbeaten(np.array([5, 0, 3, 3]), np.array([1, 9, 4, 9])).tolist()
    [1, 2, 0]
    """
    order = np.lexsort((losses, costs))
    best = np.minimum.accumulate(losses[order])
    is_better = np.append(True, best[1:] < best[:-1])
    kept: NDArray[np.int64] = order[is_better]
    return kept
