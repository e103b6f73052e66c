"""Measures what single flips cost: rounds of single faults by strata, until the ranking is certain where it decides."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ftonnx.advice.allocation import Cut, shares_of, worth_measuring
from ftonnx.advice.harms import Harm
from ftonnx.advice.subject import Subject
from ftonnx.campaign import Budget, CampaignResult
from ftonnx.datasets.subset import stratified_subset
from ftonnx.inject import Strata, Stratum
from ftonnx.inject.guards import ProtectionPlan

__all__ = ["Measured", "Measurement", "measure"]

_FIRST: Final = 6  # injections into every stratum
_LATER: Final = 6  # per stratum of which more would tell something, and round
_IMAGES: Final = 16
"""Images that meet a round's faults, other ones in every round: flips differ far more from each other than images."""
_MOST_ROUNDS: Final = 40
_LARGEST: Final = 10.0  # a round is never so many times larger than all before


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What is to be measured.

    Attributes:
        name: of its results folders.
        what: is measured, in words.
        number: of the measurement, from which its seeds come.
        rate: flips per bit.
        allowed: accuracy that may be lost per run, the sum over single flips.
        budget: of the rounds; every stratum gets its first injections in any case.
        protection: that single flips meet; None for none.
    """

    name: str
    what: str
    number: int
    rate: float
    allowed: float
    budget: Budget
    protection: ProtectionPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of single flips.

    Attributes:
        harms: of all strata.
        cut: in their order.
        injections: of all rounds.
    """

    harms: tuple[Harm, ...]
    cut: Cut
    injections: int


def measure(subject: Subject, asked: Measurement, harms: Sequence[Harm], numbers: Sequence[int]) -> Measured:
    """Inject single faults until it is certain which strata can be left unguarded, or the budget is spent.

    Args:
        subject: the model and its data.
        asked: what is to be measured.
        harms: all strata, with what is known of those that get no injections here.
        numbers: of those that get some.

    Raises:
        FtonnxError: as ``evaluate``.
    """
    known = list(harms)
    for place in numbers:
        known[place] = replace(known[place], injections=0, lost=0.0)
    chosen = [(place, _FIRST) for place in numbers]
    began = time.monotonic()
    injections = 0
    for number in range(_MOST_ROUNDS):
        result = _round(subject, asked, number, [_stratum(known[place], count) for place, count in chosen])
        _take_in(known, chosen, result)
        injections += sum(count for _, count in chosen)
        cut = Cut.of(known, asked.rate, asked.allowed, subject.settings.confidence)
        left = _left(asked.budget, time.monotonic() - began, injections)
        open_strata = sorted(set(worth_measuring(known, cut)) & set(numbers))
        size = _LATER * len(open_strata)
        # the size does not depend on the time left: a campaign that goes on has the rounds of the one before
        if cut.is_certain or size == 0 or left < size:
            break
        counts = shares_of(known, open_strata, size)
        chosen = list(zip(open_strata, counts.tolist(), strict=True))
    return Measured(harms=tuple(known), cut=cut, injections=injections)


def _stratum(harm: Harm, count: int) -> Stratum:
    return Stratum(harm.tensor, harm.bits, count)


def _round(subject: Subject, asked: Measurement, number: int, strata: Sequence[Stratum]) -> CampaignResult:
    """Run one round of single faults."""
    return subject.run(
        f"{asked.name}-{number + 1:02d}",
        f"{asked.what}, round {number + 1}",
        Strata(strata),
        data=stratified_subset(subject.data, _IMAGES, seed=subject.seed(asked.number, number, 0)),
        seed=subject.seed(asked.number, number, 1),
        protection=asked.protection,
    )


def _take_in(known: list[Harm], chosen: Sequence[tuple[int, int]], result: CampaignResult) -> None:
    """Add what a round has found."""
    main = result.task.main
    place_of = {(known[place].tensor, bit): place for place, _ in chosen for bit in known[place].bits}
    for row in result.vulnerability:
        place = place_of[row.tensor, row.bit]
        lost = row.injections * (result.clean - main.of(row.counts))
        known[place] = known[place].with_more(row.injections, lost)


def _left(budget: Budget, seconds: float, injections: int) -> int:
    """Return how many injections the rest of a budget is enough for, by what those so far took.

    >>> _left(Budget(seconds=30), 10.0, 500), _left(Budget(units=600), 10.0, 500), _left(Budget(units=600), 10.0, 900)
    (1000, 100, 0)
    """
    shares = [_LARGEST]
    if budget.seconds is not None:
        shares.append(budget.seconds / seconds - 1)
    if budget.units is not None:
        shares.append(budget.units / injections - 1)
    return round(max(0.0, min(shares)) * injections)
