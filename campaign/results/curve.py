"""What one campaign's curve amounts to: area, rate at a loss, log-odds, and how patterns bind images together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ftonnx.campaign.results.estimates import Estimator
from ftonnx.campaign.results.result import CampaignResult
from ftonnx.campaign.store.unit_table import Recorded, UnitTable
from ftonnx.stats.curves import CriticalRate, area_under, critical_rate, log_odds
from ftonnx.stats.estimate import Estimate
from ftonnx.stats.patterns import Correlation, few_patterns, for_new_images, intra_pattern_correlation
from ftonnx.tasks import SIZE, Fraction

__all__ = ["CurveSummary", "RateSummary", "summarize"]

_LEAST_RATES: Final = 2  # an area needs two


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSummary:
    """One fault rate.

    Attributes:
        rate: flips per bit.
        log_odds: ln(p / (1 - p)) of the headline p, such as top-1 accuracy (paper, equation 6), infinite at 0 and 1.
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
        auc: area under the headline over log10 of the rate, divided by the axis' length; None with one rate.
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
    recorded = found.recorded or Recorded.open(found.results)
    main = found.task.main
    estimator = Estimator.of(recorded.header, found.question)
    curve = {rate.rate: rate[found.task.headline] for rate in found.rates if rate.rate > 0}
    tables = [table for rate in curve if (table := recorded.table(rate)) is not None]
    rates = list(curve)
    nested = recorded.header.faults.is_nested
    return CurveSummary(
        points=points,
        auc=_area(tables, estimator, main, together=nested) if len(tables) >= _LEAST_RATES else None,
        critical=critical_rate(rates, list(curve.values()), found.clean, points) if rates else None,
        warnings=found.warnings,
        rates=tuple(_rate(table, curve[table.rate], main) for table in tables),
    )


def _area(tables: Sequence[UnitTable], estimator: Estimator, main: Fraction, *, together: bool) -> Estimate:
    """Return the area for these images, widened in the end where new ones are asked about, the same at all rates."""
    rates = [table.rate for table in tables]
    heights = [estimator.for_these_images(table, main) for table in tables]
    found = area_under(rates, heights, together=together)
    if estimator.question == "these-images":
        return found
    return for_new_images(found, tables[0].images)


def _rate(table: UnitTable, headline: Estimate, main: Fraction) -> RateSummary:
    images = table.counts[SIZE]
    counts = table.fractions(main) * images
    return RateSummary(
        rate=table.rate,
        log_odds=Estimate(log_odds(headline.mean), _log_odds(headline.low), _log_odds(headline.high)),
        correlation=intra_pattern_correlation(counts.ravel(), images.ravel()),
        warning=few_patterns(counts.size),
    )


def _log_odds(limit: float | None) -> float | None:
    return None if limit is None else log_odds(limit)
