"""From the ways that the search has chosen to a protection plan, as files have it."""

import glob
from collections.abc import Sequence

from ftonnx.advice.candidates import Candidates
from ftonnx.advice.items import Item
from ftonnx.inject import FaultSpace
from ftonnx.inject.guards import CODES, RANGE, Guard, ProtectionPlan

__all__ = ["code_guard", "names_of", "plan_of", "range_guard"]


def names_of(tensors: Sequence[str]) -> list[str]:
    """Return patterns that match these names and nothing else.

    >>> names_of(["conv.weight", "a[0]"])
    ['conv.weight', 'a[[]0]']
    """
    return [glob.escape(name) for name in tensors]


def code_guard(item: Item, candidates: Candidates) -> Guard:
    """Return the guard of an item."""
    on_detect = candidates.on_detect if CODES[item.by].detects else None
    return Guard(names_of([way.tensor for way in item.ways]), item.by, item.bits, on_detect)


def range_guard(space: FaultSpace, candidates: Candidates) -> Guard:
    """Return the range check of all tensors."""
    return Guard(names_of([target.tensor for target in space.targets]), RANGE, on_detect=candidates.on_detect)


def plan_of(guards: Sequence[Guard], candidates: Candidates, model: str | None) -> ProtectionPlan | None:
    """Return a plan of guards; None of none.

    Args:
        guards: in the plan's order.
        candidates: what they were chosen among.
        model: SHA-256 of the model; None of one in memory.
    """
    if not guards:
        return None
    return ProtectionPlan(guards, word_bits=candidates.word_bits, model=model)
