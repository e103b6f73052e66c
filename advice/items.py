"""From the cheapest ways to a plan that people build: few guards, each of which is needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ftonnx.advice.search import Frontier, Plan, Way, frontier
from ftonnx.advice.ways import Device, TensorHarm, way_of, ways_of

__all__ = ["Item", "Search", "items_of"]

_GAIN: Final = 0.05
"""Another choice of bits has to make a plan so much cheaper; else one more guard is not worth reading about."""
_MOST_SETS: Final = 4
_NEEDED: Final = 1.25
"""Without a guard, so many times what is allowed has to be lost; else the guard is joined with another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """All tensors whose same bits have the same code.

    Attributes:
        by: the code.
        bits: numbers of the guarded bits of each element, ascending.
        ways: one per tensor.
        buys: accuracy per run that would be lost besides without it, the sum over single flips.
    """

    by: str
    bits: tuple[int, ...]
    ways: tuple[Way, ...]
    buys: float

    @property
    def cost(self) -> int:
        """Check bits."""
        return sum(way.cost for way in self.ways)


class Search:
    """Looks for the cheapest plan with few different choices of bits.

    Attributes:
        harms: of flips, by tensor.
        device: what there is to guard with.
    """

    def __init__(self, harms: Sequence[TensorHarm], device: Device) -> None:
        self.harms = harms
        self.device = device

    def frontier(self, allowed: float, sets: Mapping[int, Iterable[int]] | None = None) -> Frontier:
        """Return the plans that no other one beats.

        Args:
            allowed: accuracy that may be lost per run, above 0.
            sets: how many of the most harmful bits may be guarded together, by the width of elements; any number by
                default.
        """
        ways = []
        for harm in self.harms:
            width = len(harm.bits)
            chosen = range(1, width + 1) if sets is None else sorted(sets[width])
            ways.append(ways_of(harm, chosen, self.device))
        return frontier(ways, allowed)

    def cheapest(self, allowed: float) -> Plan | None:
        """Return the cheapest plan of few guards, each of which is needed; None where none is good enough."""
        if self.frontier(allowed).cheapest(allowed) is None:
            return None
        sets = self._sets(allowed)
        plan = self.frontier(allowed, sets).cheapest(allowed)
        return None if plan is None else self._joined(plan, allowed)

    def strongest(self) -> Plan:
        """Return the plan that loses least, of those the cheapest."""
        ways = []
        for harm in self.harms:
            ways.append(ways_of(harm, range(1, len(harm.bits) + 1), self.device)[-1])
        return Plan(ways=tuple(ways))

    def without(self, plan: Plan, item: Item) -> Plan:
        """Return the plan without one of its items, whose tensors have no code then."""
        bare = {harm.tensor: way_of(harm, "", 0, self.device) for harm in self.harms}
        return Plan(ways=tuple(bare[way.tensor] if way in item.ways else way for way in plan.ways))

    def _sets(self, allowed: float) -> dict[int, set[int]]:
        """Choose how many bits are guarded together: all of them, then whatever makes the plan much cheaper."""
        widths = sorted({len(harm.bits) for harm in self.harms})
        sets = {width: {width} for width in widths}
        best = self._cost(allowed, sets)
        for _ in range(_MOST_SETS):
            found = [
                (self._cost(allowed, sets | {width: sets[width] | {guarded}}), width, guarded)
                for width in widths
                for guarded in range(1, width)
            ]
            cost, width, guarded = min(found)
            if cost > (1 - _GAIN) * best:
                break
            sets[width].add(guarded)
            best = cost
        return sets

    def _cost(self, allowed: float, sets: Mapping[int, Iterable[int]]) -> float:
        found = self.frontier(allowed, sets)
        enough = found.costs[found.losses <= allowed]
        return float(enough[0]) if len(enough) else float("inf")

    def _joined(self, plan: Plan, allowed: float) -> Plan:
        """Join guards that buy little with others, until each one left is needed, or no other one is enough."""
        while True:
            items = items_of(plan, self.harms, self.device)
            if len(items) < 2 or plan.loss + items[-1].buys > _NEEDED * allowed:
                return plan
            fewer = self._moved(plan, items[-1], items[:-1], allowed)
            if fewer is None:
                return plan
            plan = fewer

    def _moved(self, plan: Plan, item: Item, others: Sequence[Item], allowed: float) -> Plan | None:
        """Return the plan with an item's tensors under another one, the cheapest that is enough; None of none."""
        found = []
        for other in others:
            ways = []
            for way, harm in zip(plan.ways, self.harms, strict=True):
                guarded = _guarded(harm, other.bits)
                moves = way in item.ways and guarded
                ways.append(way_of(harm, other.by, guarded, self.device) if moves else way)
            moved = Plan(ways=tuple(ways))
            if moved.loss <= allowed:
                found.append(moved)
        return min(found, key=lambda each: each.cost, default=None)


def _guarded(harm: TensorHarm, bits: Sequence[int]) -> int:
    """Return how many of a tensor's most harmful bits these are; 0 where they are others."""
    count = len(bits)
    return count if set(harm.bits[:count]) == set(bits) else 0


def items_of(plan: Plan, harms: Sequence[TensorHarm], device: Device) -> list[Item]:
    """Return a plan's guards, the one that buys most first."""
    groups: dict[tuple[str, tuple[int, ...]], list[Way]] = {}
    bought: dict[tuple[str, tuple[int, ...]], float] = {}
    for way, harm in zip(plan.ways, harms, strict=True):
        if way.by:
            key = (way.by, way.bits)
            groups.setdefault(key, []).append(way)
            bought[key] = bought.get(key, 0.0) + way_of(harm, "", 0, device).loss - way.loss
    found = [Item(by=key[0], bits=key[1], ways=tuple(ways), buys=bought[key]) for key, ways in groups.items()]
    return sorted(found, key=lambda item: -item.buys)
