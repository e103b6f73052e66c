"""Measures what single flips cost: rounds of single faults by strata, until the ranking is certain where it decides."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ftonnx.advise.allocation import Cut, shares_of, worth_measuring
from ftonnx.advise.harms import Harm, strata_of
from ftonnx.advise.subject import Subject
from ftonnx.campaign import Budget, CampaignResult
from ftonnx.datasets.subset import stratified_subset
from ftonnx.inject import Strata, Stratum

__all__ = ["Measured", "measure_flips"]

_FIRST: Final = 8  # injections into every stratum
_LATER: Final = 6  # per stratum of which more would tell something, and round
_IMAGES: Final = 32
"""Images that meet a round's faults, other ones in every round: flips differ from each other far more than images do."""
_MOST_ROUNDS: Final = 40
_FLIPS: Final = 1  # which seeds: of flips, of images
_CHOSEN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of single flips.

    Attributes:
        harms: of all strata.
        cut: in their order.
        rounds: of injections.
        injections: in all.
        units: that were run for them.
    """

    harms: tuple[Harm, ...]
    cut: Cut
    rounds: int
    injections: int
    units: int


def measure_flips(subject: Subject, rate: float, allowed: float, budget: Budget) -> Measured:
    """Inject single faults until it is certain which strata can be left unguarded, or the budget is spent.

    Args:
        subject: the model and its data.
        rate: flips per bit.
        allowed: accuracy that may be lost per run, the sum over single flips.
        budget: of the rounds; every stratum gets its first injections in any case.

    Raises:
        FtonnxError: as ``evaluate``.
    """
    confidence = subject.settings.confidence
    harms: tuple[Harm, ...] = strata_of(subject.space)
    chosen = [(number, _FIRST) for number in range(len(harms))]
    began = time.monotonic()
    units = 0
    for number in range(_MOST_ROUNDS):
        result = _round(subject, number, harms, chosen)
        harms = _with_round(harms, chosen, result)
        units += sum(rate.units for rate in result.rates)
        cut = Cut.of(harms, rate, allowed, confidence)
        seconds = time.monotonic() - began
        left = _left(budget, seconds, units, sum(each.injections for each in harms))
        open_strata = worth_measuring(harms, cut)
        if cut.is_certain or left < len(open_strata):
            break
        counts = shares_of(harms, open_strata, min(left, _LATER * len(open_strata)))
        chosen = list(zip(open_strata, counts.tolist(), strict=True))
    return Measured(
        harms=harms,
        cut=cut,
        rounds=number + 1,
        injections=sum(each.injections for each in harms),
        units=units,
    )


def _round(
    subject: Subject, number: int, harms: Sequence[Harm], chosen: Sequence[tuple[int, int]]
) -> CampaignResult:
    """Run one round: so many single faults in each of the chosen strata."""
    strata = [Stratum(harms[place].tensor, harms[place].bits, count) for place, count in chosen]
    return subject.run(
        f"flips-{number + 1:02d}",
        f"single flips, round {number + 1}",
        Strata(strata),
        data=stratified_subset(subject.data, _IMAGES, seed=subject.seed(_CHOSEN, number)),
        seed=subject.seed(_FLIPS, number),
    )


def _with_round(
    harms: Sequence[Harm], chosen: Sequence[tuple[int, int]], result: CampaignResult
) -> tuple[Harm, ...]:
    """Add what a round has found."""
    main = result.task.main
    found = list(harms)
    place_of = {(harms[place].tensor, bit): place for place, _ in chosen for bit in harms[place].bits}
    for row in result.vulnerability:
        place = place_of[row.tensor, row.bit]
        lost = row.injections * (result.clean - main.of(row.counts))
        found[place] = found[place].with_more(row.injections, lost)
    return tuple(found)


def _left(budget: Budget, seconds: float, units: int, injections: int) -> int:
    """Return how many injections the rest of a budget is enough for, by what those so far took."""
    shares = [10.0]  # a round is never so much larger than all before
    if budget.seconds is not None:
        shares.append(budget.seconds / seconds - 1)
    if budget.units is not None:
        shares.append(budget.units / units - 1)
    return int(max(0.0, min(shares)) * injections)
