"""The verdict in words: nothing is claimed that an interval leaves open."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from ftonnx.campaign import CampaignResult, RateResult, compare
from ftonnx.campaign.results.injected import flips_text
from ftonnx.campaign.results.rate_gap import written_rate
from ftonnx.errors import StoreError, UsageError
from ftonnx.report.cells import capital
from ftonnx.report.decision import Decision, Demand, State, decide
from ftonnx.report.formats import interval, number, percent, rate_text, rate_words
from ftonnx.report.tables import labelled, labels
from ftonnx.stats import Estimate
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.stats.ranking import listed

__all__ = [
    "MOST_WORDS",
    "best_and_worst",
    "can_stop",
    "level_words",
    "paragraph",
    "unfinished_words",
    "verdict",
    "warnings",
]

_USUAL: Final = Demand()
MOST_WORDS: Final = 60
"""So many words does one model get, besides its name: a longer paragraph is not read."""

_DETECTED: Final = "due"
"""The share of detected errors, as tasks name it."""

_FEW: Final = 4
"""So many models get a paragraph each in one text; the page has room for all."""

_Named: TypeAlias = tuple[str, CampaignResult]


def warnings(results: Sequence[CampaignResult]) -> list[str]:
    """Return what the reader of any number must know first, with the model's name where there are several."""
    names = [f"{label}: " if len(results) > 1 else "" for label in labels(results)]
    return [f"{name}{warning}" for name, result in zip(names, results, strict=True) for warning in result.warnings]


def verdict(results: Sequence[CampaignResult], *, demand: Demand = _USUAL) -> str:
    """Return in one text what was found; every estimate in it stands in the tables too.

    Args:
        results: the campaigns.
        demand: what is asked of every model.

    Raises:
        UsageError: an environment has no rate, as its interval is missing.
    """
    named = labelled(results)
    sentences = [f"Warning: {warning}." for warning in warnings(results)]
    unfinished = unfinished_words(named)
    sentences += [unfinished] if unfinished else []
    if len(named) <= _FEW:
        sentences += [f"{name} {paragraph(result, decide(result, demand), demand)}" for name, result in named]
    return " ".join([*sentences, *best_and_worst(named)])


def unfinished_words(named: Sequence[_Named]) -> str | None:
    """Say which campaigns are not finished; None where all are."""
    unfinished = [name for name, result in named if not result.complete]
    return f"Not finished yet, so all numbers may still change: {', '.join(unfinished)}." if unfinished else None


def paragraph(result: CampaignResult, decision: Decision, demand: Demand) -> str:
    """Return what was found of one model, in ``MOST_WORDS`` words at most; the name is to stand before it.

    Args:
        result: the campaign.
        decision: what was decided about it.
        demand: what is asked of it.
    """
    clean = f"{result.task.clean_words(percent(result.clean), number(result.data.samples))} without faults"
    sentences = [f"{clean}{_course(result, decision, demand)}."]
    sentences += [f"It met the fault patterns of {result.header.identity.pooled} together."] * (len(result.seeds) > 1)
    sentences += _again(decision, demand)
    sentences += _outcomes(result)
    sentences += _weakest(result)
    return _within(sentences, MOST_WORDS)


def _within(sentences: Sequence[str], most: int) -> str:
    """Join the sentences that fit into so many words, in order; what is left out stands in the tables.

    >>> _within(["One two three.", "Four five.", "Six."], 4)
    'One two three. Six.'
    """
    kept = []
    left = most
    for sentence in sentences:
        words = len(sentence.split())
        if words <= left:
            kept.append(sentence)
            left -= words
    return " ".join(kept)


def _course(result: CampaignResult, decision: Decision, demand: Demand) -> str:
    """Say what the levels show one after the other, up to the first loss."""
    levels, held, lost = decision.levels, decision.held, decision.lost
    if not levels:
        return ""
    if set(decision.states) == {"unknown"}:
        return "; without repeats nothing can be claimed about faults"
    if result.injections is not None:
        return f"; with {level_words(result, levels[0])} {_under_injections(result, decision, demand)}"
    if len(held) == len(levels):
        return f" and stays within {demand.loss_words} of that up to the highest rate, {rate_words(levels[-1])}"
    before = list(zip(levels, decision.states, strict=True))
    if lost is not None:
        before = before[: levels.index(lost)]
    parts = [f"it stays within {demand.loss_words} up to {rate_words(held[-1])}"] if held else []
    open_question = "that is undecided" if held else f"it is undecided whether {demand.loss_words} is lost"
    parts += _undecided(result, before, open_question)
    if lost is not None:
        parts.append(f"at {rate_words(lost)} it is down to {_brief(_headline(result, lost))}")
    start = "; " if held else "; already "
    return f"{start}{'; '.join(parts)}"


def _under_injections(result: CampaignResult, decision: Decision, demand: Demand) -> str:
    """Say whether injections leave a model as accurate as it has to be."""
    found = _brief(_headline(result, decision.levels[0]))
    told = {
        "held": f"that stays within {demand.loss_words}: {found}",
        "lost": f"that falls by more than {demand.loss_words}, to {found}",
        "open": f"that is {found}, which does not decide whether {demand.loss_words} is lost",
    }
    return told[decision.states[0]]


def level_words(result: CampaignResult, level: RateResult) -> str:
    """Return what a level is called: a rate, with its time where there is one, or what every injection is.

    Args:
        result: the campaign.
        level: one of its rates.
    """
    if result.injections is None:
        return rate_words(level)
    return result.faults.injected or flips_text(level.faults_mean)


def _headline(result: CampaignResult, rate: RateResult) -> Estimate:
    return rate[result.task.headline]


def _undecided(result: CampaignResult, found: Sequence[tuple[RateResult, State]], words: str) -> list[str]:
    """Say at which rates neither a loss is shown nor its absence."""
    wide = [rate for rate, state in found if state == "open"]
    without = [rate for rate, state in found if state == "unknown"]
    said = []
    if len(wide) == 1:
        headline = _headline(result, wide[0])
        said.append(f"{_where(wide)} {words} ({interval(headline.low, headline.high)})")
    elif wide:
        said.append(f"{_where(wide)} {words}")
    if without:
        said.append(f"{_where(without)} there is no interval yet")
    return said


def _again(decision: Decision, demand: Demand) -> list[str]:
    """Say where a curve that need not fall all the way is up again."""
    count = len(decision.held)
    after = zip(decision.levels[count:], decision.states[count:], strict=True)
    later = [level for level, state in after if state == "held"]
    return [f"Yet {_where(later)} it is within {demand.loss_words}."] if later else []


def _where(rates: Sequence[RateResult]) -> str:
    texts = [rate_words(rate) for rate in rates]
    return f"at {listed(texts)}" if len(texts) < 3 else f"at {len(texts)} rates from {texts[0]} to {texts[-1]}"


def _weakest(result: CampaignResult) -> list[str]:
    """Say which bit and which tensor do most harm, as far as the injections can tell."""
    if not result.vulnerability:
        return []
    bits, tensors = result.ranking("bit"), result.ranking("tensor")
    if bits.harmless:
        injections = number(sum(group.injections for group in bits.groups))
        return [f"No image got another class in {injections} injections."]
    hit, stored = len(tensors.groups), len(result.fault_space.tensors)
    # one that was not hit may be the worst
    part = f" ({hit} of {stored} were hit)" if hit < stored else ""
    return [f"{capital(bits.words('bit'))}.", f"{capital(tensors.words('tensor'))}{part}."]


def _outcomes(result: CampaignResult) -> list[str]:
    """Say what becomes of the images at the highest rate, or in all injections."""
    worst = result.rates[-1]
    task = result.task
    others = [name for name in task.shown if name not in (task.headline, task.harm)]
    names = [task.harm, *(name for name in others if worst[name].mean > 0)]
    where = f"With {level_words(result, worst)}" if result.injections is not None else f"At {rate_words(worst)}"
    parts = [f"{_brief(worst[name])} {_says(result, name)}" for name in names]
    only = ", in the patterns that were run" if worst[task.harm].low is None else ""
    return [f"{where}, {listed(parts)}{only}."]


def _says(result: CampaignResult, name: str) -> str:
    """Say what happens to a share of the images; of detected errors also what detects them, where that is a guard."""
    says = result.task.fractions[name].says
    return f"{says}, as where a guard stops the run" if name == _DETECTED and can_stop(result) else says


def can_stop(result: CampaignResult) -> bool:
    """Say whether a guard of the memory could stop runs."""
    plan = result.settings.protection
    return plan is not None and plan.stops


def best_and_worst(results: Sequence[_Named]) -> list[str]:
    """Compare the models whose estimates differ most: at a rate that all of them met, and under injections."""
    curves = [(name, result) for name, result in results if result.injections is None]
    struck = [(name, result) for name, result in results if result.injections is not None]
    found = [_of_curves(curves)] if len(curves) > 1 else []
    return [*found, _of_injections(struck)] if len(struck) > 1 else found


def _of_curves(named: Sequence[_Named]) -> str:
    """Compare at the rate at which the estimates lie furthest apart."""
    met = [{written_rate(rate.rate) for rate in result.rates if rate.rate > 0} for _, result in named]
    common = set.intersection(*met)
    if not common:
        return f"The {len(named)} campaigns have no fault rate in common."
    rate = max(sorted(common), key=lambda rate: _spread(named, rate))
    start = f"The estimates of the {len(named)} campaigns lie furthest apart at {rate_text(rate)}"
    return f"{start}, {_extremes(named, rate)}."


def _of_injections(named: Sequence[_Named]) -> str:
    """Compare under injections of as many flips."""
    flips = {level_words(result, result.rates[0]) for _, result in named}
    if len(flips) > 1:
        return f"Injections of {listed(sorted(flips))} are not compared."
    return f"With {flips.pop()}, best and worst of the {len(named)} campaigns are {_extremes(named, None)}."


def _spread(named: Sequence[_Named], rate: float) -> float:
    means = [_at(result, rate).mean for _, result in named]
    return max(means) - min(means)


def _extremes(named: Sequence[_Named], rate: float | None) -> str:
    """Name the best and the worst, and say whether they are shown to differ; under injections the rate is None."""
    ranked = sorted(named, key=lambda pair: _at(pair[1], rate).mean)
    worst, best = ranked[0], ranked[-1]
    pairs = len(named) * (len(named) - 1) // 2
    ends = [f"{name} at {_brief(_at(result, rate))}" for name, result in (best, worst)]
    return f"{' and '.join(ends)}{_difference(best, worst, rate, pairs)}"


def _difference(best: _Named, worst: _Named, rate: float | None, pairs: int) -> str:
    """Say whether the better model is shown to be better; the pair was picked among several, at one of its rates."""
    if best[1].data.sha256 != worst[1].data.sha256:
        return ", on different data, which no test compares"
    try:
        found = compare([worst[1], best[1]], confidence=1 - (1 - CONFIDENCE) / pairs)
    except (UsageError, StoreError):
        return "; the difference was not tested, as a results folder cannot be read"
    tested = next(each for each in found.models[0].rates if rate in (None, written_rate(each.rate)))
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


def _brief(estimate: Estimate) -> str:
    """Return an estimate with its interval in parentheses; of what is exact, just the number.

    >>> _brief(Estimate(0.951, 0.902, 0.97)), _brief(Estimate.exact(0.98))
    ('95.10 % (90.20 to 97.00 %)', '98.00 %')
    """
    if estimate.low is None or estimate.low == estimate.high:
        return percent(estimate.mean)
    return f"{percent(estimate.mean)} ({interval(estimate.low, estimate.high)})"


def _at(result: CampaignResult, rate: float | None) -> Estimate:
    """Return the headline at a rate as it is written, or under injections, whose rate is None."""
    for found in result.rates:
        if rate in (None, written_rate(found.rate)):
            return _headline(result, found)
    raise ValueError(f"rate {rate} was not run")
