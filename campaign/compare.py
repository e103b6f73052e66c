"""Comparing campaigns: what one model gains or loses against another, rate by rate and over all rates."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.cautions import near_chance
from ftonnx.campaign.compared import AucComparison, Comparison, ModelComparison, Outcome, Pairing, RateComparison
from ftonnx.campaign.comparison import Difference, holm, paired_difference, unpaired_difference
from ftonnx.campaign.curves import auc, bootstrap_curves
from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.campaign.evidence import Target, anytime_mean, anytime_p_value, parse_target
from ftonnx.campaign.result import CampaignResult
from ftonnx.campaign.store import Store
from ftonnx.campaign.tables import UnitTable, is_by_argmax, is_injected
from ftonnx.errors import StoreError, UsageError

__all__ = ["compare"]


def compare(
    results: Sequence["str | Path | CampaignResult"],
    *,
    target: Target = "test-set",
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Comparison:
    """Compare campaigns at fault rates with the first of them, by top-1 accuracy.

    Where data, seed, batch size and fault space agree, both models met the same fault patterns at every rate,
    and the differences per pattern are what is random. Where only the batches are the same, independent patterns
    are matched within each batch, and the difference varies as much as two independent campaigns on these images.

    Args:
        results: two or more results folders.
        target: ``test-set`` (differences on these images) or ``population`` (on new ones too).
        confidence: of intervals; 1 - confidence is the family-wise level of the verdicts.
        seed: of the resampling.

    Raises:
        UsageError: there are fewer than two campaigns, they are of injections, on different data, or have no
            rate above 0 in common.
        StoreError: a folder cannot be read.
    """
    parse_target(target)
    check_confidence(confidence)
    if len(results) < 2:
        raise UsageError(f"two or more results folders were expected, got {len(results)}")
    folders = [each.results if isinstance(each, CampaignResult) else Path(each) for each in results]
    with ExitStack() as stack:
        first, *others = [_Side(stack.enter_context(Store.open(folder.absolute()))) for folder in folders]
        models = [_compared(first, other, target, confidence, seed) for other in others]
        return Comparison(
            baseline=first.name,
            results=first.path,
            golden=first.golden,
            data=first.header["data"]["name"],
            target=target,
            confidence=confidence,
            models=_corrected(models, confidence),
            warnings=tuple(warning for side in (first, *others) for warning in side.warnings),
        )


class _Side:
    """One campaign at fault rates.

    Attributes:
        path: its results folder.
        header: the content of its ``campaign.json``.
        golden: its fault-free top-1 accuracy.
        units: the (batch, repeat) that are recorded, by rate above 0.
    """

    def __init__(self, store: Store) -> None:
        self._store, self.path, self.header = store, store.path, store.header
        if is_injected(self.header["settings"]):
            raise UsageError(f"{self.path} is a campaign of injections; campaigns at fault rates were expected")
        golden = store.golden().values()
        if not golden:
            raise StoreError(f"{self.path} has no recorded unit yet; run the campaign first")
        self.golden = sum(each.correct1 for each in golden) / sum(each.n for each in golden)
        found = {rate: self._units(rate) for rate in self.header["settings"]["rates"] if rate > 0}
        self.units = {rate: units for rate, units in found.items() if units}

    def _units(self, rate: float) -> frozenset[tuple[int, int]]:
        columns = self._store.columns(rate)
        return frozenset(zip(columns["batch"].tolist(), columns["repeat"].tolist(), strict=True))

    @property
    def name(self) -> str:
        return str(self.header["model"]["name"])

    @property
    def warnings(self) -> list[str]:
        """What a reader of the campaign's accuracies must know first."""
        found = near_chance(self.golden, self.header["data"].get("classes"))
        return [] if found is None else [f"{self.name}: {found}"]

    @property
    def ends_early(self) -> bool:
        """Whether the campaign could end early."""
        return bool(self.header.get("stopping"))

    def table(self, rate: float, among: Collection[tuple[int, int]]) -> UnitTable:
        table = UnitTable.of(self._store, rate, among=among)
        if table is None:
            raise UsageError(f"{self.path} has no fault pattern at {rate:g} in common with the other campaign")
        return table


class _Tables(NamedTuple):
    """The counts of two campaigns at one rate; of the same (batch, repeat) where they share batches."""

    other: UnitTable
    baseline: UnitTable


def _compared(first: _Side, other: _Side, target: Target, confidence: float, seed: int) -> ModelComparison:
    _require_same_data(first, other)
    rates = sorted(first.units.keys() & other.units.keys())
    if not rates:
        raise UsageError(
            f"{first.path} and {other.path} have no fault rate above 0 in common: "
            f"{_listed(first.units)} there, {_listed(other.units)} here"
        )
    pairing, why = _pairing(first, other)
    early = first.ends_early or other.ends_early
    joint = [_tables(first, other, rate, rates, pairing) for rate in rates]
    return ModelComparison(
        model=other.name,
        results=other.path,
        golden=other.golden,
        pairing=pairing,
        why=why,
        rates=tuple(
            _at_rate(rate, _tables(first, other, rate, [rate], pairing), pairing, target, confidence, early)
            for rate in rates
        ),
        auc=_areas(rates, joint, pairing, target, confidence, seed) if len(rates) > 1 else None,
    )


def _require_same_data(first: _Side, other: _Side) -> None:
    mine, its = first.header["data"], other.header["data"]
    if mine["sha256"] != its["sha256"]:
        raise UsageError(
            f"{first.path} and {other.path} are on different data: {mine['name']} ({mine['samples']} images, "
            f"{mine['sha256'][:12]}) there, {its['name']} ({its['samples']} images, {its['sha256'][:12]}) here; "
            "the same images and preprocessing were expected"
        )
    if is_by_argmax(first.header["settings"]) != is_by_argmax(other.header["settings"]):
        raise UsageError(
            f"{first.path} and {other.path} judge outputs with NaN differently: the same --nan was expected"
        )


def _listed(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates)) or "none"


def _pairing(first: _Side, other: _Side) -> tuple[Pairing, str | None]:
    """Say what two campaigns on the same data share, and why not the fault patterns."""
    mine, its = first.header, other.header
    sizes = mine["settings"]["batch_size"], its["settings"]["batch_size"]
    bits = mine["fault_space"]["bits"], its["fault_space"]["bits"]
    seeds = mine["settings"]["seed"], its["settings"]["seed"]
    if sizes[0] != sizes[1]:
        return "none", f"batches of {sizes[0]} and of {sizes[1]} images"
    if mine["identity"]["fault_space"] != its["identity"]["fault_space"]:
        return "images", f"the fault spaces differ, {bits[0]:,} and {bits[1]:,} bits"
    if seeds[0] != seeds[1]:
        return "images", f"the seeds differ, {seeds[0]} and {seeds[1]}"
    return "faults", None


def _tables(first: _Side, other: _Side, rate: float, recorded_at: Sequence[float], pairing: Pairing) -> _Tables:
    """Return both counts at one rate, of the units that are recorded at all of some rates."""
    mine, its = (frozenset.intersection(*(side.units[each] for each in recorded_at)) for side in (first, other))
    if pairing != "none":
        mine = its = mine & its
    return _Tables(other.table(rate, its), first.table(rate, mine))


def _fractions(table: UnitTable) -> NDArray[np.float64]:
    found: NDArray[np.float64] = table.counts["correct1"] / table.sizes[:, np.newaxis]
    return found


def _at_rate(
    rate: float, tables: _Tables, pairing: Pairing, target: Target, confidence: float, early: bool
) -> RateComparison:
    a, b, sizes = _fractions(tables.other), _fractions(tables.baseline), tables.other.sizes
    weights = sizes if pairing != "none" and (early or target == "test-set") else np.ones_like(sizes)
    if pairing == "none":  # patterns count alike
        early, difference = False, unpaired_difference(a.ravel(), b.ravel(), confidence=confidence)
    elif early:
        difference = _anytime_difference(a - b, sizes, target, confidence)
    elif target == "test-set":
        difference = paired_difference(a, b, sizes=sizes, confidence=confidence)
    else:
        difference = paired_difference(a.ravel(), b.ravel(), confidence=confidence)
    return RateComparison(
        rate=rate,
        baseline=_mean(b, weights),
        accuracy=_mean(a, weights),
        difference=difference,
        interval="anytime-valid" if early else "fixed-n",
    )


def _mean(fractions: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    by_batch = fractions.mean(axis=1)
    return float(np.average(by_batch, weights=weights if len(weights) == len(by_batch) else None))


def _anytime_difference(
    differences: NDArray[np.float64], sizes: NDArray[np.int64], target: Target, confidence: float
) -> Difference:
    """Return the mean of differences, (batches, repeats), with what holds whenever the campaigns were ended."""
    values = (1 + differences.T) / 2
    found = anytime_mean(values, sizes, target=target, confidence=confidence)
    low, high = (None if end is None else 2 * end - 1 for end in (found.low, found.high))
    p_value = anytime_p_value(values, sizes, 0.5, target=target)
    return Difference(2 * found.mean - 1, low, high, confidence, p_value, None, None, differences.size)


def _areas(
    rates: Sequence[float],
    tables: Sequence[_Tables],
    pairing: Pairing,
    target: Target,
    confidence: float,
    seed: int,
) -> AucComparison | None:
    """Compare the areas under both curves; patterns are resampled jointly over rates and, where paired, models."""
    counts = [np.array([getattr(each, side).counts["correct1"] for each in tables]) for side in _Tables._fields]
    sizes = [getattr(tables[0], side).sizes for side in _Tables._fields]
    resample = partial(bootstrap_curves, target=target, confidence=confidence)

    def area(curve: NDArray[np.float64]) -> float:
        return auc(rates, curve.tolist())

    def gain(curves: NDArray[np.float64]) -> float:
        return area(curves[: len(rates)]) - area(curves[len(rates) :])

    mine, its = (
        area(each.sum(axis=(1, 2)) / (size.sum() * each.shape[2])) for each, size in zip(counts, sizes, strict=True)
    )
    if pairing == "none":
        ours, theirs = (resample(counts[side], sizes[side], area, seed=seed + side) for side in (0, 1))
        difference = _combined(ours, theirs, confidence)
    else:
        difference = resample(np.concatenate(counts), sizes[0], gain, seed=seed)
    if difference is None:
        return None
    return AucComparison(
        baseline=its, area=mine, difference=difference, outcome=_outcome(difference.low, difference.high)
    )


def _combined(a: Estimate | None, b: Estimate | None, confidence: float) -> Estimate | None:
    """Combine the limits of two independent estimates into limits of a - b (Zou and Donner 2008).

    >>> _combined(Estimate(0.75, 0.5, 1.0), Estimate(0.5, 0.5, 0.5), 0.95)
    Estimate(mean=0.25, low=0.0, high=0.5, confidence=0.95)
    """
    if a is None or b is None:
        return None
    mean = a.mean - b.mean
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(mean, None, None, confidence)
    down, up = math.hypot(a.mean - a.low, b.high - b.mean), math.hypot(a.high - a.mean, b.mean - b.low)
    return Estimate(mean, mean - down, mean + up, confidence)


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
