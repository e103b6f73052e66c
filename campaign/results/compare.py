"""Comparing campaigns: what one model gains or loses against another, rate by rate and over all rates."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ftonnx.campaign.results.comparison import (
    AucComparison,
    Comparison,
    ModelComparison,
    Outcome,
    RateComparison,
)
from ftonnx.campaign.results.level_pair import LevelPair
from ftonnx.campaign.results.rate_gap import written_rate
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.results.side import Side
from ftonnx.campaign.store.unit_table import Recorded
from ftonnx.errors import UsageError
from ftonnx.stats.betting import Question, parse_question
from ftonnx.stats.curves import area_under, auc
from ftonnx.stats.differences import DIFFERENCES, holm
from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.stats.patterns import few_patterns
from ftonnx.tasks.chance import ONE_BATCH
from ftonnx.words import file_path, time_text

__all__ = ["compare", "judged_together"]


def compare(
    results: Sequence["str | Path | CampaignResult"],
    *,
    question: Question = "these-images",
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare campaigns with the first of them, by their task's headline, such as top-1 accuracy.

    All are campaigns at fault rates, or all of injections with as many flips, such as one. Where all are histories that
    have times in common with the first, they are compared at these, whatever share of the bits is flipped by then.

    Where data, seed, batch size and fault space agree, both models met the same fault patterns at every rate,
    and the differences per pattern are what is random. Where only the batches are the same, independent patterns
    are matched within each batch, and the difference varies as much as two independent campaigns on these images.

    Args:
        results: two or more results, or their folders.
        question: ``these-images`` (differences on these images) or ``new-images`` (on new ones too).
        confidence: of intervals; 1 - confidence is the family-wise level of the verdicts.

    Raises:
        UsageError: there are fewer than two campaigns, they are of different kinds, on different data, or have no
            time and no rate above 0 in common.
        StoreError: a folder cannot be read.
    """
    parse_question(question)
    check_confidence(confidence)
    if len(results) < 2:
        raise UsageError(f"two or more results folders were expected, got {len(results)}")
    first, *others = [Side(_recorded(each)) for each in results]
    by_time = all(first.times.keys() & other.times.keys() for other in others)
    models = [_compared(first, other, question, confidence, by_time=by_time) for other in others]
    return Comparison(
        baseline=first.name,
        results=first.path,
        golden=first.golden,
        data=first.header.data.name,
        question=question,
        confidence=confidence,
        models=_corrected(models, confidence),
        warnings=_warnings([first, *others], question),
        headline=first.header.task.main.label,
        faults=first.flips,
    )


def judged_together(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return comparisons whose verdicts at the rates hold all together, at the level of one of them.

    By itself, ``compare`` corrects for its own rates and models.

    Args:
        comparisons: of one confidence.

    Raises:
        UsageError: their confidences differ.
    """
    if not comparisons:
        return ()
    confidence = comparisons[0].confidence
    for comparison in comparisons:
        if comparison.confidence != confidence:
            raise UsageError(
                f"comparisons of one confidence were expected, got {confidence} and {comparison.confidence}"
            )
    models = [model for comparison in comparisons for model in comparison.models]
    corrected = iter(_corrected(models, confidence))
    found = []
    for comparison in comparisons:
        own = tuple(itertools.islice(corrected, len(comparison.models)))
        found.append(replace(comparison, models=own))
    return tuple(found)


def _recorded(result: "str | Path | CampaignResult") -> Recorded:
    """Return a result's counts, which are read only where it does not hold them."""
    if not isinstance(result, CampaignResult):
        return Recorded.open(file_path("results", result, "a results folder, or a CampaignResult,"))
    return result.recorded or Recorded.open(result.results)


def _warnings(sides: Sequence[Side], question: Question) -> tuple[str, ...]:
    """Return what a reader must know first: of each campaign by itself, and once what all of them leave open."""
    own = [warning for side in sides for warning in side.warnings]
    gaps = [warning for side in sides for warning in _gaps(side, question)]
    return (*own, *dict.fromkeys(gaps))


def _gaps(side: Side, question: Question) -> list[str]:
    """Say what a campaign's patterns and batches leave open."""
    patterns = side.patterns
    found = [few_patterns(patterns)] if patterns else []
    if question == "new-images" and side.header.batches <= 1:
        found.append(ONE_BATCH)
    return [f"{side.name}: {text}" for text in found if text is not None]


def _compared(first: Side, other: Side, question: Question, confidence: float, *, by_time: bool) -> ModelComparison:
    _require_same_data(first, other)
    levels = _common_times(first, other) if by_time else _common_levels(first, other)
    pairing, why = first.pairing(other)
    if pairing == "faults" and first.flips is None and any(mine != its for mine, its in levels):
        # a pattern is drawn by all digits of its rate
        pairing, why = "images", "some rates differ behind their fifth digit"
    pairs = [LevelPair(first, other, mine, its, pairing) for mine, its in levels]
    has_curve = len(pairs) > 1 and all(mine == its for mine, its in levels)
    return ModelComparison(
        model=other.name,
        results=other.path,
        golden=other.golden,
        pairing=pairing,
        why=why,
        rates=tuple(pair.compared(question, confidence) for pair in pairs),
        auc=_areas(pairs, question, confidence, together=first.header.faults.is_nested) if has_curve else None,
        over_time=_means(first, other, pairs, question, confidence) if by_time else None,
    )


def _common_times(first: Side, other: Side) -> list[tuple[float, float]]:
    """Return the levels of both campaigns at the times that they have in common, ascending."""
    common = sorted(first.times.keys() & other.times.keys())
    return [(first.times[hours], other.times[hours]) for hours in common]


def _common_levels(first: Side, other: Side) -> list[tuple[float, float]]:
    """Return the levels to compare, of the first campaign and of the other one.

    Injections of as many flips are one level, whatever share of a model's bits that is, and so are rates that are
    written alike.
    """
    if first.flips != other.flips:
        raise UsageError(
            f"{first.path} is a campaign {first.kind}, and {other.path} is one {other.kind}: campaigns of one kind "
            "were expected"
        )
    if first.flips is not None:
        _require_same_meaning(first, other)
        return [(min(first.units), min(other.units))]
    written = {written_rate(rate): rate for rate in other.units}
    pairs = []
    for rate in sorted(first.units):
        match = rate if rate in other.units else written.get(written_rate(rate))
        if match is not None:
            pairs.append((rate, match))
    if not pairs and first.times and other.times:
        mine, its = (", ".join(time_text(hours) for hours in sorted(side.times)) for side in (first, other))
        raise UsageError(
            f"{first.path} and {other.path} have no time since loading in common: {mine} there, {its} here"
        )
    if not pairs:
        raise UsageError(
            f"{first.path} and {other.path} have no fault rate above 0 in common: "
            f"{_listed(first.units)} there, {_listed(other.units)} here"
        )
    return pairs


def _require_same_meaning(first: Side, other: Side) -> None:
    """Refuse injections whose means are of different things, such as a list of faults and random ones."""
    mine, its = first.header.faults, other.header.faults
    if mine != its and not (mine.is_an_upset and its.is_an_upset):
        raise UsageError(
            f"{first.path} has injections of the kind {mine.name}, and {other.path} of the kind {its.name}: the same "
            "faults were expected, or random upsets"
        )


def _require_same_data(first: Side, other: Side) -> None:
    mine = first.header.data
    its = other.header.data
    if mine.sha256 != its.sha256:
        raise UsageError(
            f"{first.path} and {other.path} are on different data: {mine.name} ({mine.samples} images, "
            f"{mine.sha256[:12]}) there, {its.name} ({its.samples} images, {its.sha256[:12]}) here; "
            "the same images and preprocessing were expected"
        )
    if first.header.task != other.header.task:
        raise UsageError(
            f"{first.path} and {other.path} judge outputs differently, by {first.header.task} there and "
            f"{other.header.task} here: the same task was expected"
        )


def _listed(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates)) or "none"


def _areas(pairs: Sequence[LevelPair], question: Question, confidence: float, *, together: bool) -> AucComparison:
    """Compare the areas under both curves."""
    rates = [pair.rate for pair in pairs]
    area = auc(rates, [pair.accuracy for pair in pairs])
    baseline = auc(rates, [pair.baseline for pair in pairs])
    difference = area_under(rates, [pair.difference(confidence) for pair in pairs], span=DIFFERENCES, together=together)
    return _over_all(pairs, question, baseline, area, difference)


def _means(
    first: Side, other: Side, pairs: Sequence[LevelPair], question: Question, confidence: float
) -> AucComparison:
    """Compare the means from loading to the last common time, as a campaign of histories has it: from no fault on."""
    hours = [0.0, *(pair.hours or 0.0 for pair in pairs)]
    mean = auc(hours, [other.golden, *(pair.accuracy for pair in pairs)], "linear")
    baseline = auc(hours, [first.golden, *(pair.baseline for pair in pairs)], "linear")
    start = Estimate.exact(other.golden - first.golden, confidence=confidence)
    differences = [start, *(pair.difference(confidence) for pair in pairs)]
    difference = area_under(hours, differences, "linear", span=DIFFERENCES, together=True)
    return _over_all(pairs, question, baseline, mean, difference)


def _over_all(
    pairs: Sequence[LevelPair], question: Question, baseline: float, area: float, difference: Estimate
) -> AucComparison:
    """Return what two areas, or means, and their difference come to for the images that are asked about."""
    if question == "new-images":
        difference = pairs[0].for_new_images(difference, area, baseline)
    return AucComparison(
        baseline=baseline, area=area, difference=difference, outcome=_outcome(difference.low, difference.high)
    )


def _outcome(low: float | None, high: float | None) -> Outcome:
    """Read a verdict off an interval of a difference.

    >>> _outcome(0.01, 0.2), _outcome(-0.2, -0.1), _outcome(-0.1, 0.1), _outcome(None, None)
    ('better', 'worse', 'no difference shown', 'no difference shown')
    """
    if low is not None and low > 0:
        return "better"
    return "worse" if high is not None and high < 0 else "no difference shown"


def _corrected(models: Sequence[ModelComparison], confidence: float) -> tuple[ModelComparison, ...]:
    """Give the verdicts at the rates, all of them together at level 1 - confidence (Holm 1979)."""
    known = [p for model in models for rate in model.rates if (p := rate.difference.p_value) is not None]
    adjusted = iter(holm(known))
    return tuple(
        replace(model, rates=tuple(_judged(rate, adjusted, confidence) for rate in model.rates)) for model in models
    )


def _judged(rate: RateComparison, adjusted: Iterator[float], confidence: float) -> RateComparison:
    if rate.difference.p_value is None:
        return rate
    p_holm, gain = next(adjusted), rate.difference.mean
    outcome: Outcome = "no difference shown"
    if p_holm <= 1 - confidence and gain:
        outcome = "better" if gain > 0 else "worse"
    return replace(rate, p_holm=p_holm, outcome=outcome)
