"""The tables of a comparison of a few campaigns, outside of any study."""

from typing import Final

from ftonnx.campaign.results.comparison import Comparison, ModelComparison, RateComparison
from ftonnx.studies.differences import mark_of
from ftonnx.studies.marks import COMPARED
from ftonnx.studies.sheets import MISSING, Sheet, SheetRow, Shown, difference_cell

__all__ = ["sheets_of_comparison"]

_AREA: Final = "area"
_MEAN: Final = "mean over time"


def sheets_of_comparison(found: Comparison) -> list[Sheet]:
    """Return two tables, with a row for every model: the headline at every level, and the differences to the first.

    Args:
        found: the comparison.
    """
    baseline, *others = found.labels
    levels = _levels(found)
    first = {level: rate.baseline for model in found.models for level, rate in _by_level(found, model).items()}
    rows = [SheetRow((baseline,), (_share(found.golden), *(_share(first[level]) for level in levels)))]
    differences = []
    for name, model in zip(others, found.models, strict=True):
        rates = _by_level(found, model)
        shares = [_accuracy(rates[level]) if level in rates else Shown(MISSING) for level in levels]
        rows.append(SheetRow((name,), (_share(model.golden), *shares)))
        points = [difference_cell(rates.get(level)) for level in levels]
        area = [] if found.faults else [difference_cell(model.over_time or model.auc)]
        differences.append(SheetRow((name,), (*points, *area)))
    level = f"{100 * found.confidence:g}"
    # either all are compared by time, or none is
    whole = _AREA if found.models[0].over_time is None else _MEAN
    return [
        Sheet(
            title=f"{found.headline} on {found.data}",
            names=("model",),
            columns=("fault-free", *levels),
            rows=tuple(rows),
            unit="In per cent",
            marks=COMPARED,
        ),
        Sheet(
            title=f"Differences in {found.headline} to {baseline}",
            names=("model",),
            columns=tuple(levels if found.faults else [*levels, whole]),
            rows=tuple(differences),
            unit=f"In percentage points, with intervals of {level} per cent, and verdicts after Holm's correction",
            marks=COMPARED,
        ),
    ]


def _levels(found: Comparison) -> list[str]:
    """Return what the levels of all models are called, ascending."""
    if found.faults is not None:
        return [found.faults]
    rates = {rate.rate: rate for model in found.models for rate in model.rates}
    return [found.level(rates[rate]) for rate in sorted(rates)]


def _by_level(found: Comparison, model: ModelComparison) -> dict[str, RateComparison]:
    return {found.level(rate): rate for rate in model.rates}


def _share(value: float) -> Shown:
    return Shown(f"{100 * value:.2f}")


def _accuracy(rate: RateComparison) -> Shown:
    return Shown(f"{100 * rate.accuracy:.2f}", mark_of(rate))
