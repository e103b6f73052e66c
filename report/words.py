"""The verdict in words."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from ftonnx.campaign import CampaignResult, RateResult
from ftonnx.campaign.tables import is_injected
from ftonnx.report.formats import interval, number, percent, rate_text
from ftonnx.report.tables import labels, swept, vulnerability_table

__all__ = ["verdict", "warnings"]

_POINT: Final = 0.01
"""A loss that still counts as holding: one percentage point."""

_FEW: Final = 4
"""So many models get a sentence each; more would make no paragraph that anyone reads."""


def warnings(results: Sequence[CampaignResult]) -> list[str]:
    """Return what the reader of any number must know first, with the model's name where there are several."""
    names = [f"{label}: " if len(results) > 1 else "" for label in labels(results)]
    return [f"{name}{warning}" for name, result in zip(names, results, strict=True) for warning in result.warnings]


def verdict(results: Sequence[CampaignResult], *, warned: bool = False) -> str:
    """Return one paragraph that says what was found; every number in it stands in the tables too.

    Args:
        results: the campaigns.
        warned: whether the warnings, with which the paragraph begins otherwise, stand elsewhere.
    """
    named = list(zip(labels(results), results, strict=True))
    unfinished = [name for name, result in named if not result.complete]
    sentences = [] if warned else [f"Warning: {warning}." for warning in warnings(results)]
    sentences += [f"Not finished yet, so all numbers may still change: {', '.join(unfinished)}."] if unfinished else []
    sentences += [_endurance(name, result) for name, result in named] if len(named) <= _FEW else []
    sentences += [_weakest(name, result) for name, result in named if result.vulnerability]
    if len(named) == 1:
        sentences += _outcomes(results[0])
    if len(curves := swept(results)) > 1:
        sentences.append(_best_and_worst(curves))
    return " ".join(sentences)


def _endurance(name: str, result: CampaignResult) -> str:
    """Say how accurate a model is without faults, how far it holds, and where it stops holding."""
    clean = result.golden["top1"]
    start = f"{name} classifies {percent(clean)} of {number(result.data['samples'])} images correctly without faults"
    rates = [rate for rate in result.rates if rate.rate > 0]
    if not rates or is_injected(result.settings):
        return f"{start}."
    lost = next((index for index, rate in enumerate(rates) if rate.top1.mean < clean - _POINT), None)
    if lost is None:
        return f"{start} and stays within one point of that up to the highest rate, {rate_text(rates[-1].rate)}."
    fall = f"at {rate_text(rates[lost].rate)} flips per bit it is down to {_top1(rates[lost])}"
    if lost == 0:
        return f"{start}; already {fall}."
    return f"{start}, stays within one point of that up to {rate_text(rates[lost - 1].rate)}, and {fall}."


def _weakest(name: str, result: CampaignResult) -> str:
    """Say which bit and which tensor do most harm."""
    critical = vulnerability_table([result])
    bit, tensor = (
        critical.group_by(key, maintain_order=True)
        .agg(share=pl.col("critical").sum() / pl.col("images").sum(), injections=pl.col("injections").sum())
        .sort("share", descending=True, maintain_order=True)
        .row(0)
        for key in ("bit", "tensor")
    )
    return (
        f"Of the bits of {name}, number {bit[0]} did most harm: when it flipped, {percent(bit[1])} of the images got "
        f"another class ({number(bit[2])} injections); of its tensors {tensor[0]}: {percent(tensor[1])} "
        f"({number(tensor[2])} injections)."
    )


def _outcomes(result: CampaignResult) -> list[str]:
    """Say what becomes of the images at the highest rate, or in all injections."""
    worst = result.rates[-1]
    where = "Over all injections" if is_injected(result.settings) else f"At the highest rate, {rate_text(worst.rate)}"
    flips = "one flip per run" if worst.faults_mean == 1 else f"{number(worst.faults_mean)} flips per run on average"
    return [
        f"{where} ({flips}), {percent(worst.sdc1.mean)} of the images "
        f"silently get another class, {percent(worst.due.mean)} of the outputs hold NaN or Inf, which can be detected, "
        f"and {percent(worst.masked.mean)} are bit-identical to the fault-free ones."
    ]


def _best_and_worst(named: Sequence[tuple[str, CampaignResult]]) -> str:
    """Compare the models where they differ most, at a rate that all of them met."""
    common = set.intersection(*({rate.rate for rate in result.rates if rate.rate > 0} for _, result in named))
    if not common:
        return f"The {len(named)} campaigns have no fault rate in common, so they are not compared."
    ranked = {
        rate: sorted(((_at(result, rate), name) for name, result in named), key=lambda pair: pair[0].top1.mean)
        for rate in common
    }
    rate = max(sorted(ranked), key=lambda rate: ranked[rate][-1][0].top1.mean - ranked[rate][0][0].top1.mean)
    (worst, worst_name), (best, best_name) = ranked[rate][0], ranked[rate][-1]
    return (
        f"The {len(named)} campaigns differ most at {rate_text(rate)}: {best_name} keeps {_top1(best)}, "
        f"{worst_name} {_top1(worst)}{_overlap(worst, best)}."
    )


def _overlap(low: RateResult, high: RateResult) -> str:
    if low.top1.high is None or high.top1.low is None:
        return "; without repeats there is no interval to judge that by"
    return "; the intervals do not overlap" if low.top1.high < high.top1.low else "; the intervals overlap"


def _top1(rate: RateResult) -> str:
    estimate = rate.top1
    if estimate.low is None:
        return percent(estimate.mean)
    return (
        f"{percent(estimate.mean)} ({100 * estimate.confidence:g} % interval {interval(estimate.low, estimate.high)})"
    )


def _at(result: CampaignResult, rate: float) -> RateResult:
    return next(found for found in result.rates if found.rate == rate)
