"""The verdict in words: nothing is claimed that an interval leaves open."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final, Literal, TypeAlias

from ftonnx.campaign import CampaignResult, RateResult, compare
from ftonnx.errors import StoreError, UsageError
from ftonnx.report.formats import interval, number, percent, rate_text
from ftonnx.report.tables import labelled, labels, swept
from ftonnx.stats import Estimate
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.stats.ranking import Ranking, listed, spans

__all__ = ["verdict", "warnings"]

_POINT: Final = 0.01
"""A loss that still counts as holding: one percentage point."""

_FEW: Final = 4
"""So many models get a sentence each; more would make no paragraph that anyone reads."""

_Named: TypeAlias = tuple[str, CampaignResult]
_State = Literal["held", "lost", "open", "unknown"]


def warnings(results: Sequence[CampaignResult]) -> list[str]:
    """Return what the reader of any number must know first, with the model's name where there are several."""
    names = [f"{label}: " if len(results) > 1 else "" for label in labels(results)]
    return [f"{name}{warning}" for name, result in zip(names, results, strict=True) for warning in result.warnings]


def verdict(results: Sequence[CampaignResult], *, warned: bool = False) -> str:
    """Return one paragraph that says what was found; every estimate in it stands in the tables too.

    Args:
        results: the campaigns.
        warned: whether the warnings, with which the paragraph begins otherwise, stand elsewhere.
    """
    named = labelled(results)
    unfinished = [name for name, result in named if not result.complete]
    sentences = [] if warned else [f"Warning: {warning}." for warning in warnings(results)]
    sentences += [f"Not finished yet, so all numbers may still change: {', '.join(unfinished)}."] if unfinished else []
    sentences += [_pooled(name, result) for name, result in named if len(result.seeds) > 1]
    sentences += [_endurance(name, result) for name, result in named] if len(named) <= _FEW else []
    sentences += [_weakest(name, result) for name, result in named if result.vulnerability]
    if len(named) == 1:
        sentences += _outcomes(results[0])
    if len(curves := swept(results)) > 1:
        sentences.append(_best_and_worst(curves))
    return " ".join(sentences)


def _pooled(name: str, result: CampaignResult) -> str:
    """Say that the fault patterns were drawn from several seeds."""
    return f"{name} met the fault patterns of {result.header.identity.pooled} together."


def _endurance(name: str, result: CampaignResult) -> str:
    """Say how accurate a model is without faults, how far it is shown to hold, and where it is shown not to."""
    clean = result.clean
    start = f"{name} {result.task.clean_words(percent(clean), number(result.data.samples))} without faults"
    rates = [rate for rate in result.rates if rate.rate > 0]
    if not rates or result.injections is not None:
        return f"{start}."
    states = [_state(_headline(result, rate), clean) for rate in rates]
    if set(states) == {"unknown"}:
        return f"{start}; without repeats nothing can be claimed about faults."
    return f"{start}{_course(result, rates, states)}."


def _headline(result: CampaignResult, rate: RateResult) -> Estimate:
    return rate[result.task.headline]


def _state(headline: Estimate, clean: float) -> _State:
    """Say what an interval shows about a loss of more than a point.

    >>> [_state(Estimate(0.95, low, high), 0.98) for low, high in ((0.97, 1), (0.9, 0.96), (0.9, 0.97), (None, None))]
    ['held', 'lost', 'open', 'unknown']
    """
    if headline.low is None or headline.high is None:
        return "unknown"
    if headline.low >= clean - _POINT:
        return "held"
    return "lost" if headline.high < clean - _POINT else "open"


def _course(result: CampaignResult, rates: Sequence[RateResult], states: Sequence[_State]) -> str:
    """Say what the rates show one after the other, up to the first loss."""
    held = len(list(takewhile(lambda state: state == "held", states)))
    if held == len(rates):
        return f" and stays within one point of that up to the highest rate, {rate_text(rates[-1].rate)}"
    before = list(zip(rates, states, strict=True))
    lost = states.index("lost") if "lost" in states else None
    parts = _undecided(result, before[:lost])
    if lost is not None:
        found = _with_interval(_headline(result, rates[lost]))
        parts.append(f"at {rate_text(rates[lost].rate)} flips per bit it is down to {found}")
    if later := [rate for rate, state in before[held:] if state == "held"]:  # a curve need not fall all the way
        parts.append(f"yet {_where(later)} it is within one point")
    if not held:
        return f"; already {'; '.join(parts)}"
    start = f", stays within one point of that up to {rate_text(rates[held - 1].rate)}"
    return f"{start}, and {parts[0]}" if held == lost and len(parts) == 1 else f"{start}; {'; '.join(parts)}"


def _undecided(result: CampaignResult, found: Sequence[tuple[RateResult, _State]]) -> list[str]:
    """Say at which rates neither a point is lost nor held."""
    wide = [rate for rate, state in found if state == "open"]
    without = [rate for rate, state in found if state == "unknown"]
    said = []
    if len(wide) == 1:
        estimate = _with_interval(_headline(result, wide[0]))
        said.append(f"{_where(wide)} the estimate, {estimate}, does not decide whether a point is lost")
    elif wide:
        said.append(f"{_where(wide)} the intervals do not decide whether a point is lost")
    if without:
        said.append(f"{_where(without)} there is no interval yet")
    return said


def _where(rates: Sequence[RateResult]) -> str:
    texts = [rate_text(rate.rate) for rate in rates]
    return f"at {listed(texts)}" if len(texts) < 3 else f"at {len(texts)} rates from {texts[0]} to {texts[-1]}"


def _weakest(name: str, result: CampaignResult) -> str:
    """Say which bit and which tensor do most harm, as far as the injections can tell."""
    bits, tensors = result.ranking("bit"), result.ranking("tensor")
    injections = number(sum(group.injections for group in bits.groups))
    if bits.harmless:
        return f"No image got another class in the {injections} injections into {name}."
    if bits.sampling == "some":
        return f"The bits of {name} are not ranked: not all were tried, and the first ones are no random sample."
    hit, stored = len(tensors.groups), len(result.fault_space.tensors)
    tried = "bits" if len(bits.groups) == 1 else f"{len(bits.groups)} bits"
    which = f"{hit} tensors" if hit >= stored else f"{hit} tensors that were hit (of {stored})"
    which = "tensors" if hit == 1 else which
    text = f"Of the {tried} of {name}, {_worst(bits)}; of its {which}, {_worst(tensors)}."
    return text if bits.named and tensors.named else f"{text} {injections} injections do not tell these apart."


def _worst(ranking: Ranking) -> str:
    """Say which group does most harm, or which ones may."""
    names = [group.name for group in ranking.worst]
    first = ranking.worst[0]
    numbers = names[0].isdecimal()
    prefix = "" if not numbers else "number " if len(names) == 1 else "numbers "
    share = f"of the images got another class ({number(first.injections)} injections)"
    if len(ranking.groups) == 1:
        return f"only {prefix}{first.name} was hit: {_with_interval(first.share)} {share}"
    if len(names) == 1:
        return f"{prefix}{first.name} did most harm: when it was hit, {_with_interval(first.share)} {share}"
    if ranking.sampling == "every":
        return f"{prefix}{spans(names)} did equal harm, and most: {percent(first.share.mean)} {share}"
    if ranking.named:
        shares = listed([_brief(group.share) for group in ranking.worst])
        return f"{prefix}{listed(names)} cannot be told apart: {shares}"
    if len(names) == len(ranking.groups):
        return "any may do most harm"
    which = f" ({spans(names)})" if numbers else ""
    return f"{len(names)} may do most harm{which}"


def _outcomes(result: CampaignResult) -> list[str]:
    """Say what becomes of the images at the highest rate, or in all injections."""
    worst = result.rates[-1]
    where = "Over all injections" if result.injections is not None else f"At the highest rate, {rate_text(worst.rate)}"
    flips = "one flip per run" if worst.faults_mean == 1 else f"{number(worst.faults_mean)} flips per run on average"
    only = ", in the patterns that were run" if worst[result.task.harm].low is None else ""
    shares = {name: _brief(estimate) for name, estimate in worst.fractions.items()}
    return [f"{where} ({flips}), {result.task.outcome_words(shares)}{only}."]


def _best_and_worst(named: Sequence[_Named]) -> str:
    """Compare the models whose estimates differ most, at a rate that all of them met."""
    common = set.intersection(*({rate.rate for rate in result.rates if rate.rate > 0} for _, result in named))
    if not common:
        return f"The {len(named)} campaigns have no fault rate in common, so they are not compared."
    ranked = {rate: _by_accuracy(named, rate) for rate in sorted(common)}
    rate = max(ranked, key=lambda rate: _spread(ranked[rate], rate))
    worst, best = ranked[rate][0], ranked[rate][-1]
    pairs = len(named) * (len(named) - 1) // 2
    return (
        f"The estimates of the {len(named)} campaigns lie furthest apart at {rate_text(rate)}, {best[0]} at "
        f"{_brief(_at(best[1], rate))} and {worst[0]} at {_brief(_at(worst[1], rate))}"
        f"{_difference(best, worst, rate, pairs)}."
    )


def _by_accuracy(named: Sequence[_Named], rate: float) -> list[_Named]:
    return sorted(named, key=lambda pair: _at(pair[1], rate).mean)


def _spread(ranked: Sequence[_Named], rate: float) -> float:
    return _at(ranked[-1][1], rate).mean - _at(ranked[0][1], rate).mean


def _difference(best: _Named, worst: _Named, rate: float, pairs: int) -> str:
    """Say whether the better model is shown to be better; the pair was picked among several, at one of its rates."""
    if best[1].data.sha256 != worst[1].data.sha256:
        return ", on different data, which no test compares"
    try:
        found = compare([worst[1], best[1]], confidence=1 - (1 - CONFIDENCE) / pairs)
    except (UsageError, StoreError):
        return "; the difference was not tested, as a results folder cannot be read"
    tested = next(each for each in found.models[0].rates if each.rate == rate)
    gain = tested.difference
    if gain.low is None or gain.high is None:
        return "; without repeats no difference can be claimed"
    level = f"{100 * gain.confidence:.4g} % interval"
    if tested.outcome == "better":
        limits = f"{100 * gain.low:.2f} to {100 * gain.high:.2f}"
        return f": {best[0]} is better by {100 * gain.mean:.2f} points ({level} {limits})"
    limits = f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}"
    corrected = " once all rates are allowed for" if gain.low > 0 else ""
    return f", which shows no difference{corrected}: {100 * gain.mean:+.2f} points ({level} {limits})"


def _with_interval(estimate: Estimate) -> str:
    """Return an estimate with its interval; of what is exact, just the number."""
    if estimate.low is None or estimate.low == estimate.high:
        return percent(estimate.mean)
    limits = interval(estimate.low, estimate.high)
    return f"{percent(estimate.mean)} ({100 * estimate.confidence:g} % interval {limits})"


def _brief(estimate: Estimate) -> str:
    """Return the same without saying what stands in parentheses.

    >>> _brief(Estimate(0.951, 0.902, 0.97)), _brief(Estimate.exact(0.98))
    ('95.10 % (90.20 to 97.00 %)', '98.00 %')
    """
    if estimate.low is None or estimate.low == estimate.high:
        return percent(estimate.mean)
    return f"{percent(estimate.mean)} ({interval(estimate.low, estimate.high)})"


def _at(result: CampaignResult, rate: float) -> Estimate:
    """Return the headline at a rate."""
    for found in result.rates:
        if found.rate == rate:
            return _headline(result, found)
    raise ValueError(f"rate {rate} was not run")
