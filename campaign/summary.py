"""What one campaign's curve amounts to: area, rate at a loss, log-odds, and how patterns bind images together."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.curves import auc, bootstrap_curves, log_odds, rate_at_loss
from ftonnx.campaign.estimate import Estimate
from ftonnx.campaign.result import CampaignResult
from ftonnx.campaign.statistics import Correlation, few_clusters, intra_pattern_correlation
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
        rate_at_loss: the rate at which ``points`` are lost; None where that is beyond the highest rate.
        rates: one entry per rate above 0, ascending.
        warnings: the campaign's, see ``CampaignResult``.
    """

    points: float
    auc: Estimate | None
    rate_at_loss: Estimate | None
    rates: tuple[RateSummary, ...]
    warnings: tuple[str, ...] = ()


def summarize(result: CampaignResult | str | Path, *, points: float = 0.05, seed: int = 0) -> CurveSummary:
    """Sum up a campaign's curve; intervals resample the patterns that all rates have, jointly over rates.

    Args:
        result: a campaign at fault rates, or its folder.
        points: a loss of accuracy, 0.05 for five percentage points.
        seed: of the resampling.

    Raises:
        StoreError: the folder cannot be read.
    """
    found = result if isinstance(result, CampaignResult) else CampaignResult.open(result)
    with Store.open(found.results.absolute()) as store:
        tables = _tables(store)
    rates = [table.rate for table in tables]
    if not tables:
        return CurveSummary(points=points, auc=None, rate_at_loss=None, rates=(), warnings=found.warnings)
    counts, sizes = np.array([table.counts["correct1"] for table in tables]), tables[0].sizes
    resample = partial(bootstrap_curves, target=found.target, seed=seed)

    def area(curve: NDArray[np.float64]) -> float:
        return auc(rates, curve.tolist())

    def lost(curve: NDArray[np.float64]) -> float | None:
        return rate_at_loss(rates, curve.tolist(), found.golden["top1"], points)

    return CurveSummary(
        points=points,
        auc=resample(counts, sizes, area) if len(rates) >= _LEAST_RATES else None,
        rate_at_loss=resample(counts, sizes, lost),
        warnings=found.warnings,
        rates=tuple(
            _rate(table, accuracy)
            for index, table in enumerate(tables)
            if (accuracy := resample(counts[[index]], sizes, lambda curve: float(curve[0]))) is not None
        ),
    )


def _tables(store: Store) -> list[UnitTable]:
    """Return the units that all rates above 0 have in common."""
    patterns: dict[float, set[tuple[int, int]]] = {}
    for unit in store.units():
        if unit.rate > 0:
            patterns.setdefault(unit.rate, set()).add((unit.batch, unit.repeat))
    common = set.intersection(*patterns.values()) if patterns else set()
    found = (UnitTable.of(store, rate, among=common) for rate in sorted(patterns))
    return [table for table in found if table is not None]


def _rate(table: UnitTable, accuracy: Estimate) -> RateSummary:
    counts = table.counts["correct1"]
    low, high = (None if limit is None else log_odds(limit) for limit in (accuracy.low, accuracy.high))
    return RateSummary(
        rate=table.rate,
        log_odds=Estimate(log_odds(accuracy.mean), low, high),  # percentiles of log-odds are log-odds of percentiles
        correlation=intra_pattern_correlation(counts.ravel(), np.repeat(table.sizes, counts.shape[1])),
        warning=few_clusters(counts.size),
    )
