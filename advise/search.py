"""The cheapest guards: for every tensor a code on its most harmful bits, or none.

A code is a value that knows its check bits and what it leaves over; the search knows neither files nor models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Guarded", "Point", "cheapest", "frontier"]

_GRID: Final = 2000
"""Losses are rounded up to so small a part of what is allowed: no plan that is returned loses more than it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """One way to guard a tensor.

    Attributes:
        tensor: its name.
        by: the code; empty where nothing is guarded.
        bits: numbers of the guarded bits of each element, ascending.
        cost: check bits.
        loss: accuracy lost per run in this tensor, check bits included.
    """

    tensor: str
    by: str = ""
    bits: tuple[int, ...] = ()
    cost: int = 0
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A plan: one way for every tensor.

    Attributes:
        choices: one per tensor.
    """

    choices: tuple[Guarded, ...]

    @property
    def cost(self) -> int:
        """Check bits in all."""
        return sum(choice.cost for choice in self.choices)

    @property
    def loss(self) -> float:
        """Accuracy lost per run in all."""
        return sum(choice.loss for choice in self.choices)


def frontier(ways: Sequence[Sequence[Guarded]], allowed: float) -> list[Point]:
    """Return the plans that no other one beats in both check bits and loss, the cheapest first.

    Tensor after tensor, all plans so far meet all ways of the next one, and those that are beaten go. Losses are
    rounded up to a grid, so that few are left: what is returned costs no more than the cheapest plan that loses one
    grid step per tensor less.

    Args:
        ways: of each tensor; one of them costs nothing.
        allowed: loss that matters; the grid is a small part of it.
    """
    step = allowed / _GRID
    costs = np.zeros(1, np.int64)
    losses = np.zeros(1, np.int64)
    chosen: list[NDArray[np.int64]] = []
    for each in ways:
        cost = np.array([way.cost for way in each], np.int64)
        loss = np.array([np.ceil(way.loss / step) for way in each]).astype(np.int64)
        all_costs = (costs[:, np.newaxis] + cost).ravel()
        all_losses = (losses[:, np.newaxis] + loss).ravel()
        kept = _unbeaten(all_costs, all_losses)
        costs = all_costs[kept]
        losses = all_losses[kept]
        chosen.append(kept)
    return [Point(choices=_choices(ways, chosen, place)) for place in range(len(costs))]


def cheapest(points: Iterable[Point], allowed: float) -> Point | None:
    """Return the first plan that loses no more than is allowed; None where all do."""
    return next((point for point in points if point.loss <= allowed), None)


def _unbeaten(costs: NDArray[np.int64], losses: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of plans that none beats, the cheapest first; of equal ones the first.

    >>> _unbeaten(np.array([5, 0, 3, 3]), np.array([1, 9, 4, 9])).tolist()
    [1, 2, 0]
    """
    order = np.lexsort((losses, costs))
    best = np.minimum.accumulate(losses[order])
    is_better = np.append(True, best[1:] < best[:-1])
    return order[is_better]


def _choices(
    ways: Sequence[Sequence[Guarded]], chosen: Sequence[NDArray[np.int64]], place: int
) -> tuple[Guarded, ...]:
    """Go back from a plan at the end through the tensors."""
    found = []
    for each, kept in zip(reversed(ways), reversed(chosen), strict=True):
        place, way = divmod(int(kept[place]), len(each))
        found.append(each[way])
    return tuple(reversed(found))
