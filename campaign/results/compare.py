"""Comparing campaigns: what one model gains or loses against another, rate by rate and over all rates."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.results.comparison import (
    AucComparison,
    Comparison,
    ModelComparison,
    Outcome,
    Pairing,
    RateComparison,
)
from ftonnx.campaign.results.estimates import Estimator
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.store.header import Header
from ftonnx.campaign.store.unit_table import Recorded, UnitTable
from ftonnx.errors import UsageError
from ftonnx.stats.betting import Question, anytime_mean, parse_question
from ftonnx.stats.curves import area_under, auc
from ftonnx.stats.differences import DIFFERENCES, Difference, holm, sign_flip_p_value
from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence, weighted_sum
from ftonnx.stats.patterns import few_patterns, sampling_error, stratified_values
from ftonnx.tasks import Fraction
from ftonnx.tasks.chance import ONE_BATCH

__all__ = ["compare", "judged_together"]


def compare(
    results: Sequence["str | Path | CampaignResult"],
    *,
    question: Question = "these-images",
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare campaigns at fault rates with the first of them, by their task's headline, such as top-1 accuracy.

    Where data, seed, batch size and fault space agree, both models met the same fault patterns at every rate,
    and the differences per pattern are what is random. Where only the batches are the same, independent patterns
    are matched within each batch, and the difference varies as much as two independent campaigns on these images.

    Args:
        results: two or more results, or their folders.
        question: ``these-images`` (differences on these images) or ``new-images`` (on new ones too).
        confidence: of intervals; 1 - confidence is the family-wise level of the verdicts.

    Raises:
        UsageError: there are fewer than two campaigns, they are of injections, on different data, or have no
            rate above 0 in common.
        StoreError: a folder cannot be read.
    """
    parse_question(question)
    check_confidence(confidence)
    if len(results) < 2:
        raise UsageError(f"two or more results folders were expected, got {len(results)}")
    first, *others = [_Side(_recorded(each)) for each in results]
    models = [_compared(first, other, question, confidence) for other in others]
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
        return Recorded.open(result)
    return result.recorded or Recorded.open(result.results)


def _warnings(sides: Sequence["_Side"], question: Question) -> tuple[str, ...]:
    """Return what a reader must know first: of each campaign by itself, and once what all of them leave open."""
    own = [warning for side in sides for warning in side.warnings]
    gaps = [warning for side in sides for warning in _gaps(side, question)]
    return (*own, *dict.fromkeys(gaps))


def _gaps(side: "_Side", question: Question) -> list[str]:
    """Say what a campaign's patterns and batches leave open."""
    patterns = min((len(units) for units in side.units.values()), default=0)
    found = [few_patterns(patterns)] if patterns else []
    if question == "new-images" and side.header.batches <= 1:
        found.append(ONE_BATCH)
    return [f"{side.name}: {text}" for text in found if text is not None]


class _Side:
    """One campaign at fault rates.

    Attributes:
        path: its results folder.
        header: the content of its ``campaign.json``.
        golden: its headline without faults, such as top-1 accuracy.
        main: its headline.
        units: the (batch, repeat) that are recorded, by rate above 0.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.path = recorded.path
        self.header: Header = recorded.header
        if not self.header.faults.fresh_per_batch:
            raise UsageError(f"{self.path} is a campaign of injections; campaigns at fault rates were expected")
        self.main = self.header.task.main
        self.golden = recorded.golden_fractions[self.header.task.headline]
        self.units = {rate: recorded.pairs(rate) for rate in recorded.columns if rate > 0}

    @property
    def name(self) -> str:
        return self.header.model.name

    @property
    def warnings(self) -> list[str]:
        """What a reader of the campaign's numbers must know first."""
        accuracy = self.header.task.caution(self.golden, self.header.data.classes)
        found = [accuracy, self.header.space.coverage.caution]
        return [f"{self.name}: {text}" for text in found if text is not None]

    @property
    def ends_early(self) -> bool:
        """Whether the campaign could end early."""
        return self.header.stopping is not None

    def table(self, rate: float, among: Collection[tuple[int, int]]) -> UnitTable:
        table = self._recorded.table(rate, among=among)
        if table is None:
            raise UsageError(f"{self.path} has no fault pattern at {rate:g} in common with the other campaign")
        return table


class _Tables(NamedTuple):
    """The counts of two campaigns at one rate; of the same (batch, repeat) where they share batches."""

    other: UnitTable
    baseline: UnitTable


def _compared(first: _Side, other: _Side, question: Question, confidence: float) -> ModelComparison:
    _require_same_data(first, other)
    rates = sorted(first.units.keys() & other.units.keys())
    if not rates:
        raise UsageError(
            f"{first.path} and {other.path} have no fault rate above 0 in common: "
            f"{_listed(first.units)} there, {_listed(other.units)} here"
        )
    pairing, why = _pairing(first, other)
    early = first.ends_early or other.ends_early
    pairs = []
    for rate in rates:
        tables = _tables(first, other, rate, pairing)
        pairs.append(_RatePair(rate, tables, pairing, first.main, early=early))
    return ModelComparison(
        model=other.name,
        results=other.path,
        golden=other.golden,
        pairing=pairing,
        why=why,
        rates=tuple(pair.compared(question, confidence) for pair in pairs),
        auc=_areas(pairs, question, confidence) if len(pairs) > 1 else None,
    )


def _require_same_data(first: _Side, other: _Side) -> None:
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


def _pairing(first: _Side, other: _Side) -> tuple[Pairing, str | None]:
    """Say what two campaigns on the same data share, and why not the fault patterns."""
    mine = first.header
    its = other.header
    if mine.settings.images_per_pattern != its.settings.images_per_pattern:
        sizes = f"{mine.settings.images_per_pattern} and {its.settings.images_per_pattern}"
        return "none", f"{sizes} images share a pattern; only equal numbers are compared pattern by pattern"
    if mine.space.sha256 != its.space.sha256:
        return "images", f"the fault spaces differ, {mine.space.bits:,} and {its.space.bits:,} bits"
    if mine.settings.seed != its.settings.seed or mine.identity.pooled != its.identity.pooled:
        seeds = [header.identity.pooled or header.settings.seed for header in (mine, its)]
        return "images", f"the seeds differ, {seeds[0]} and {seeds[1]}"
    return "faults", None


def _tables(first: _Side, other: _Side, rate: float, pairing: Pairing) -> _Tables:
    """Return both counts at one rate, of the same units where both met the same batches."""
    mine, its = first.units[rate], other.units[rate]
    if pairing != "none":
        mine = its = mine & its
    return _Tables(other.table(rate, its), first.table(rate, mine))


class _RatePair:
    """Two campaigns at one rate.

    Attributes:
        rate: the rate.
        accuracy: the other model's headline, over the patterns compared.
        baseline: the baseline's, likewise.
    """

    def __init__(self, rate: float, tables: _Tables, pairing: Pairing, main: Fraction, *, early: bool) -> None:
        self.rate = rate
        self._tables = tables
        self._pairing = pairing
        self._main = main
        self._early = early
        self.accuracy = tables.other.mean(main)
        self.baseline = tables.baseline.mean(main)

    def difference(self, confidence: float) -> Estimate:
        """Estimate the difference on these images."""
        other = self._tables.other
        baseline = self._tables.baseline
        if self._pairing == "none":
            estimator = Estimator(early=self._early, confidence=confidence)
            sides = [estimator.for_these_images(table, self._main) for table in (other, baseline)]
            return weighted_sum([1, -1], sides, span=DIFFERENCES)
        values = self._values
        weights = other.weights(self._main)
        if self._early:
            return _from_shares(anytime_mean((1 + values.T) / 2, weights, confidence=confidence))
        known = other.golden_fractions(self._main) - baseline.golden_fractions(self._main)
        return stratified_values(values, weights, known=known, span=DIFFERENCES, confidence=confidence)

    def compared(self, question: Question, confidence: float) -> RateComparison:
        """Return what is shown of this rate."""

        def interval(level: float) -> Estimate:
            found = self.difference(level)
            return found if question == "these-images" else self.for_new_images(found, self.accuracy, self.baseline)

        return RateComparison(
            rate=self.rate,
            baseline=self.baseline,
            accuracy=self.accuracy,
            difference=Difference.of(
                interval, pairs=self._pairs, p_sign_flip=self._p_sign_flip(question), confidence=confidence
            ),
            interval="anytime-valid" if self._early else "fixed-n",
        )

    def for_new_images(self, difference: Estimate, a: float, b: float) -> Estimate:
        """Widen the difference of two fractions of these images to one for new images too.

        The images that one model gets wrong are rather those that the other gets wrong, too, so that the sampling
        error of the difference is at most that of two independent fractions.
        """
        parts = [difference]
        for fraction, table in zip((a, b), self._tables, strict=True):
            parts.append(sampling_error(fraction, table.images, difference.confidence))
        return weighted_sum([1, 1, -1], parts, span=DIFFERENCES)

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        """Differences by pattern, (batches, patterns)."""
        return self._tables.other.fractions(self._main) - self._tables.baseline.fractions(self._main)

    @property
    def _pairs(self) -> int:
        return min(table.patterns for table in self._tables)

    def _p_sign_flip(self, question: Question) -> float | None:
        """Return the p-value of the sign-flip test, which knows these images only, and is no sequential one."""
        if self._pairing == "none" or question == "new-images" or self._early or self._pairs < 2:
            return None
        shares = self._tables.other.weights(self._main)
        values = self._values
        weights = shares / (shares.sum() * values.shape[1])
        return sign_flip_p_value((weights[:, np.newaxis] * values).ravel())


def _from_shares(estimate: Estimate) -> Estimate:
    """Return the difference d of an estimate of (1 + d) / 2.

    >>> _from_shares(Estimate(0.5, 0.25, 1.0))
    Estimate(mean=0.0, low=-0.5, high=1.0, confidence=0.95)
    """
    low, high = (None if end is None else 2 * end - 1 for end in (estimate.low, estimate.high))
    return Estimate(2 * estimate.mean - 1, low, high, estimate.confidence)


def _areas(pairs: Sequence[_RatePair], question: Question, confidence: float) -> AucComparison:
    """Compare the areas under both curves."""
    rates = [pair.rate for pair in pairs]
    area = auc(rates, [pair.accuracy for pair in pairs])
    baseline = auc(rates, [pair.baseline for pair in pairs])
    difference = area_under(rates, [pair.difference(confidence) for pair in pairs], span=DIFFERENCES)
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
