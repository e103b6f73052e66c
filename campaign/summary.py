"""What one campaign's curve amounts to: area, rate at a loss, log-odds, and how patterns bind images together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ftonnx.campaign.curves import CriticalRate, area_under, critical_rate, log_odds
from ftonnx.campaign.estimate import Estimate
from ftonnx.campaign.estimates import Estimator
from ftonnx.campaign.result import CampaignResult, estimator_of
from ftonnx.campaign.statistics import Correlation, few_patterns, for_new_images, intra_pattern_correlation
from ftonnx.campaign.store import Store
from ftonnx.campaign.tables import UnitTable

__all__ = ["CurveSummary", "RateSummary", "summarize"]

_LEAST_RATES: Final = 2  # an area needs two


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSummary:
    """One fault rate.

    Attributes:
        rate: flips per bit.
        log_odds: ln(p / (1 - p)) of top-1 accuracy p (paper, equation 6), infinite at 0 and 1.
        correlation: of the images that met the same fault pattern, and the design effect that follows.
        warning: where there are few patterns.
    """

    rate: float
    log_odds: Estimate
    correlation: Correlation
    warning: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSummary:
    """A campaign over fault rates.

    Attributes:
        points: the loss of accuracy asked about, a fraction.
        auc: area under top-1 accuracy over log10 of the rate, divided by the axis' length; None with one rate.
        critical: the rate at which ``points`` are lost; None without a rate above 0.
        rates: one entry per rate above 0, ascending.
        warnings: the campaign's, see ``CampaignResult``.
    """

    points: float
    auc: Estimate | None
    critical: CriticalRate | None
    rates: tuple[RateSummary, ...]
    warnings: tuple[str, ...] = ()


def summarize(result: CampaignResult | str | Path, *, points: float = 0.05) -> CurveSummary:
    """Sum up a campaign's curve; all limits follow from those of the accuracies at the rates.

    Args:
        result: a campaign at fault rates, or its folder.
        points: a loss of accuracy, 0.05 for five percentage points.

    Raises:
        StoreError: the folder cannot be read.
    """
    found = result if isinstance(result, CampaignResult) else CampaignResult.open(result)
    curve = {rate.rate: rate.top1 for rate in found.rates if rate.rate > 0}
    with Store.open(found.results.absolute()) as store:
        tables = [table for rate in curve if (table := UnitTable.of(store, rate)) is not None]
        estimator = estimator_of(store.header, found.target)
    rates = list(curve)
    return CurveSummary(
        points=points,
        auc=_area(tables, estimator) if len(rates) >= _LEAST_RATES else None,
        critical=critical_rate(rates, list(curve.values()), found.golden["top1"], points) if rates else None,
        warnings=found.warnings,
        rates=tuple(_rate(table, curve[table.rate]) for table in tables),
    )


def _area(tables: Sequence[UnitTable], estimator: Estimator) -> Estimate:
    """Return the area for these images, widened in the end where new ones are asked about, the same at all rates."""
    rates = [table.rate for table in tables]
    found = area_under(rates, [estimator.for_these_images(table, "correct1") for table in tables])
    return for_new_images(found, tables[0].images) if estimator.target == "population" else found


def _rate(table: UnitTable, accuracy: Estimate) -> RateSummary:
    counts = table.counts["correct1"]
    low, high = (None if limit is None else log_odds(limit) for limit in (accuracy.low, accuracy.high))
    return RateSummary(
        rate=table.rate,
        log_odds=Estimate(log_odds(accuracy.mean), low, high),
        correlation=intra_pattern_correlation(counts.ravel(), np.repeat(table.sizes, counts.shape[1])),
        warning=few_patterns(counts.size),
    )
