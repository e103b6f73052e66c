"""What a campaign decides about a model: up to which rate it holds, and how much silent corruption that leaves.

Only what intervals show is decided. Whoever chooses the loss, or knows the environment, says so in a `Demand`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Literal

from ftonnx.campaign import CampaignResult, RateResult
from ftonnx.campaign.results.rate_gap import RateGap, rate_gap
from ftonnx.environment import Environment, failure_rate
from ftonnx.environment.failures import ALONE
from ftonnx.errors import UsageError
from ftonnx.inject import fits_environment
from ftonnx.report.formats import rate_text
from ftonnx.stats import Estimate
from ftonnx.words import real_number, share_digits

__all__ = ["POINT", "Decision", "Demand", "State", "Verdict", "decide", "state_of"]

Verdict = Literal["holds", "holds in part", "fails", "undecided", "doubtful"]
"""``doubtful`` where the fault-free accuracy is near chance, so that faults have nothing to take."""

State = Literal["held", "lost", "open", "unknown"]
"""What one interval shows; ``unknown`` where there is none."""

POINT: Final = 0.01
"""The usual loss that still counts as holding: one percentage point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of every model.

    Attributes:
        loss: a loss of the headline that still counts as holding, a fraction: 0.01 for one percentage point.
        environment: where the memory lives; None where it is not known.

    Raises:
        UsageError: the loss is not in [0, 1).
    """

    loss: float = POINT
    environment: Environment | None = None

    def __post_init__(self) -> None:
        """Check the loss."""
        if not 0 <= real_number("loss", self.loss) < 1:
            raise UsageError(f"`loss`: from 0 to below 1 was expected, such as 0.01 for one point, got {self.loss}")

    @property
    def loss_words(self) -> str:
        """The loss in words.

        >>> Demand().loss_words, Demand(loss=0.025).loss_words
        ('one point', '2.5 points')
        """
        return "one point" if self.loss == POINT else f"{100 * self.loss:g} points"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is decided about one model.

    Attributes:
        verdict: in one word, or three.
        levels: the rates above 0, or the one level of injections.
        states: what the interval shows at each of them.
        at: where silent corruption is told: at the tested rate that stands for the environment's; without one at the
            highest rate up to which the model holds, or the lowest one.
        fit: silent corruptions per 1e9 hours in the environment, by the upper limit; None where that cannot be told.
        note: what the environment leaves open, a sentence; None where it is nothing.
        applies: whether what was tested says anything about the environment; the note says why not.
    """

    verdict: Verdict
    levels: tuple[RateResult, ...]
    states: tuple[State, ...]
    at: RateResult
    fit: float | None = None
    note: str | None = None
    applies: bool = True

    @property
    def held(self) -> tuple[RateResult, ...]:
        """The levels up to which the model holds, without a gap."""
        count = _held(self.states)
        return self.levels[:count]

    @property
    def lost(self) -> RateResult | None:
        """The lowest level at which more than the allowed loss is shown."""
        if "lost" not in self.states:
            return None
        return self.levels[self.states.index("lost")]


def decide(result: CampaignResult, demand: Demand) -> Decision:
    """Decide about a model.

    Raises:
        UsageError: the environment has no rate, as its interval is missing.
    """
    headline = result.task.headline
    levels = tuple(rate for rate in result.rates if rate.rate > 0)
    states = tuple(state_of(rate[headline], result.clean, demand.loss) for rate in levels)
    if demand.environment is None or not levels:
        at = levels[max(0, _held(states) - 1)] if levels else result.rates[0]
        return Decision(verdict=_checked(_by_levels(states), result), levels=levels, states=states, at=at)
    other = _other_faults(result, demand.environment)
    if other is not None:
        verdict = _checked("undecided", result)
        return Decision(verdict=verdict, levels=levels, states=states, at=levels[-1], note=other, applies=False)
    if result.injections is not None:
        return _under_injections(result, demand.environment, levels, states)
    return _at_a_rate(result, demand.environment, levels, states)


def _other_faults(result: CampaignResult, place: Environment) -> str | None:
    """Say why a campaign's faults are none that an environment makes; None where they are."""
    if result.fault_space.has_activations:
        return "Activations can flip here, which are computed in a run: no upset rate of a memory is about them"
    if result.injections is None:
        if not fits_environment(result.faults, place):
            return "The campaign has other flips than the environment's upsets make, which says nothing of these"
    elif not place.shape.sizes.is_single:
        return "An upset flips several bits there, and injections of single flips do not tell what it does"
    elif not result.faults.is_an_upset:
        return "An injection is something else than an upset, which flips one random bit, so nothing is said of these"
    return None


def state_of(headline: Estimate, clean: float, loss: float) -> State:
    """Say what an interval shows about a loss.

    Args:
        headline: the accuracy with faults.
        clean: without them.
        loss: a loss that still counts as holding.

    >>> [state_of(Estimate(0.95, low, high), 0.98, 0.01)
    ...  for low, high in ((0.97, 1), (0.9, 0.96), (0.9, 0.97), (None, None))]
    ['held', 'lost', 'open', 'unknown']
    """
    if headline.low is None or headline.high is None:
        return "unknown"
    least = clean - loss
    if headline.low >= least:
        return "held"
    return "lost" if headline.high < least else "open"


def _held(states: Sequence[State]) -> int:
    """Return how many levels hold before the first one that does not."""
    return len(list(takewhile(lambda state: state == "held", states)))


def _by_levels(states: Sequence[State]) -> Verdict:
    """Return the verdict where no environment says which rate matters.

    >>> _by_levels(["held", "lost"]), _by_levels(["open", "lost"]), _by_levels(["open"]), _by_levels(["held"])
    ('holds in part', 'fails', 'undecided', 'holds')
    """
    count = _held(states)
    if not states:
        return "undecided"
    if count == len(states):
        return "holds"
    if count:
        return "holds in part"
    return "fails" if "lost" in states else "undecided"


def _checked(verdict: Verdict, result: CampaignResult) -> Verdict:
    """Return a verdict that is none where the model hardly does better than chance without faults."""
    is_near_chance = result.task.caution(result.clean, result.data.classes) is not None
    return "doubtful" if is_near_chance else verdict


def _under_injections(
    result: CampaignResult, place: Environment, levels: tuple[RateResult, ...], states: tuple[State, ...]
) -> Decision:
    """Decide by what one upset does, where upsets come one at a time."""
    bits = result.fault_space.bits
    flips = None if place.interval is None else place.expected_flips(bits)
    verdict: Verdict = _by_levels(states)
    note = None
    is_alone = flips is None or flips <= ALONE
    if not is_alone:
        verdict = "undecided"
        note = f"{flips:,.3g} flips at a time are to be expected there, and injections do not tell what several do"
    # as `ftonnx fit` has it
    harm = share_digits(levels[0][result.task.harm].high)
    fit = None if harm is None else failure_rate(place.device_fit(bits), harm).sdc_fit
    return Decision(
        verdict=_checked(verdict, result),
        levels=levels,
        states=states,
        at=levels[0],
        fit=fit,
        note=note,
        applies=is_alone,
    )


def _at_a_rate(
    result: CampaignResult, place: Environment, levels: tuple[RateResult, ...], states: tuple[State, ...]
) -> Decision:
    """Decide at the environment's rate, by the lowest tested one that is not below it."""
    wanted = place.rate
    gap = rate_gap(wanted, [level.rate for level in levels])
    index = len(levels) - 1 if gap is None else gap.index
    verdict: Verdict = "undecided"
    if gap is not None and states[index] == "held":
        verdict = "holds"
    elif _lost_below(levels, states, wanted, gap):
        verdict = "fails"
    above = f"{wanted:.4g} is above the highest tested rate, {rate_text(levels[-1].rate)}"
    note = above if gap is None else gap.note
    shown = None if note is None else f"The environment's rate {note[0].lower()}{note[1:].rstrip('.')}"
    return Decision(
        verdict=_checked(verdict, result),
        levels=levels,
        states=states,
        at=levels[index],
        note=shown,
        applies=gap is not None,
    )


def _lost_below(levels: Sequence[RateResult], states: Sequence[State], wanted: float, gap: RateGap | None) -> bool:
    """Say whether too much is lost at a rate that is not above the wanted one: more flips do no less harm."""
    reach = gap.tested if gap is not None and gap.measured else wanted
    return any(state == "lost" and level.rate <= reach for level, state in zip(levels, states, strict=True))
