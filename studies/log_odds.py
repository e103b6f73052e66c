"""Log-odds of fault-free accuracies over data sets: what a variant costs without faults (the paper's figure 12)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.campaign import CampaignResult
from ftonnx.report.log_odds_chart import LogOddsRow, log_odds_chart
from ftonnx.stats.curves import adjusted_log_odds, log_odds
from ftonnx.studies.figure import Figure
from ftonnx.studies.study import AS_IT_IS, Cell
from ftonnx.words import some_of

__all__ = ["LogOdds", "Point", "log_odds_figures", "log_odds_gaps", "log_odds_of"]

_CAPTION: Final = (
    "Points are means over data sets of the log-odds ln(p / (1 - p)) of the fault-free accuracy p. Bars are a standard "
    "error to each side, after each data set's mean over the models is taken off, times the root of M / (M - 1) for M "
    "models. The line is the regression through the models as they are."
)

Accuracies: TypeAlias = Mapping[tuple[str, str], float]
"""Fault-free accuracies by model and data set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model in one variant.

    Attributes:
        model: its name.
        variant: what was done to it.
        accuracy: of the model as it is, on the reference data.
        mean: log-odds, averaged over data sets.
        error: the standard error.
    """

    model: str
    variant: str
    accuracy: float
    mean: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOdds:
    """Models as they are and in one variant.

    Attributes:
        points: of every model as it is, then in the variant; none where fewer than two models or data sets are left.
        slope: of the regression line through the models as they are, log-odds per unit of accuracy; None where their
            accuracies are all the same.
        intercept: likewise.
        data: the data sets that count.
        left_out: what does not count, and why.
    """

    points: tuple[Point, ...]
    slope: float | None
    intercept: float | None
    data: tuple[str, ...]
    left_out: tuple[str, ...]


def log_odds_of(
    before: Accuracies,
    after: Accuracies,
    *,
    variant: str,
    reference: str | None = None,
) -> LogOdds:
    """Return the mean log-odds of models over data sets, with standard errors (equations 6 to 8 of the paper).

    Models without a result on every data set are left out. An accuracy of 0 or 1 has no log-odds; its data set is left
    out for all models, since means over different data sets cannot be compared.

    Args:
        before: of the models as they are.
        after: of the variant.
        variant: its name.
        reference: the data set whose accuracy says where a model is on the horizontal axis; the mean of all by default.

    >>> before = {("a", "x"): 0.9, ("a", "y"): 0.8, ("b", "x"): 0.7, ("b", "y"): 0.5}
    >>> found = log_odds_of(before, before, variant="ptq", reference="x")
    >>> [(point.model, point.accuracy, round(point.mean, 4), round(point.error, 4)) for point in found.points[:2]]
    [('a', 0.9, 1.7918, 0.0129), ('b', 0.7, 0.4236, 0.0129)]
    """
    both = [pair for pair in before if pair in after]
    every = list(dict.fromkeys(data for _, data in both))
    needed = every if reference is None else [*every, reference]
    named = dict.fromkeys(model for model, _ in before)
    nothing = LogOdds(points=(), slope=None, intercept=None, data=(), left_out=())
    if len(named) < 2 or len(every) < 2:
        return nothing
    missing = {model: _missing(model, needed, before, after, every) for model in named}
    models = [model for model in named if missing[model] is None]
    left_out = [f"{model}, without a result on {data}" for model, data in missing.items() if data is not None]
    kept = []
    for data in every:
        extreme = _extreme(models, data, before, after)
        if extreme is None:
            kept.append(data)
        else:
            left_out.append(f"{data}, on which {extreme}")
    if len(models) < 2 or len(kept) < 2:
        return replace(nothing, left_out=tuple(left_out))
    at = [_accuracy(model, kept, before, reference) for model in models]
    points = _points(models, kept, before, AS_IT_IS, at) + _points(models, kept, after, variant, at)
    slope = None
    intercept = None
    # the same accuracy everywhere lies on no line
    if len(set(at)) > 1:
        line = scipy.stats.linregress(at, [point.mean for point in points[: len(models)]])
        slope = float(line.slope)
        intercept = float(line.intercept)
    return LogOdds(
        points=tuple(points),
        slope=slope,
        intercept=intercept,
        data=tuple(kept),
        left_out=tuple(left_out),
    )


def _missing(
    model: str,
    needed: Sequence[str],
    before: Accuracies,
    after: Accuracies,
    compared: Sequence[str],
) -> str | None:
    """Return the first data set on which a model has no result; None where there is none."""
    for data in needed:
        if (model, data) not in before:
            return data
        if data in compared and (model, data) not in after:
            return data
    return None


def _extreme(models: Sequence[str], data: str, before: Accuracies, after: Accuracies) -> str | None:
    """Say whose accuracy has no log-odds; None where all have."""
    for model in models:
        for accuracy in (before[model, data], after[model, data]):
            if accuracy in (0, 1):
                return f"{model} has {accuracy:.0%}"
    return None


def _accuracy(model: str, kept: Sequence[str], before: Accuracies, reference: str | None) -> float:
    """Return where a model is on the horizontal axis."""
    if reference is not None:
        return before[model, reference]
    return float(np.mean([before[model, data] for data in kept]))


def _points(
    models: Sequence[str],
    kept: Sequence[str],
    accuracies: Accuracies,
    variant: str,
    at: Sequence[float],
) -> list[Point]:
    table: NDArray[np.float64] = np.array([[accuracies[model, data] for data in kept] for model in models])
    _, errors = adjusted_log_odds(table)
    points = []
    for model, row, error, accuracy in zip(models, table, errors, at, strict=True):
        mean = float(np.mean([log_odds(each) for each in row]))
        points.append(Point(model=model, variant=variant, accuracy=accuracy, mean=mean, error=float(error)))
    return points


def log_odds_figures(results: Mapping[Cell, CampaignResult], reference: str | None) -> list[Figure]:
    """Return a figure for every variant; none where there are fewer than two models or data sets.

    Args:
        results: of the study's campaigns.
        reference: the data set whose accuracy is the horizontal axis; None for the mean of all.
    """
    figures = []
    for comparison in _comparisons(results, reference):
        if comparison.found.points:
            figures.append(_figure(comparison, reference))
    return figures


def log_odds_gaps(results: Mapping[Cell, CampaignResult], reference: str | None) -> list[str]:
    """Return a line on every figure that was asked for, by a reference, and has too little to draw."""
    if reference is None:
        return []
    lines = []
    for comparison in _comparisons(results, reference):
        found = comparison.found
        if found.left_out and not found.points:
            why = some_of(found.left_out)
            lines.append(
                f"{comparison.name} is not drawn: two models and two data sets were expected, left out are {why}"
            )
    return lines


class _Comparison(NamedTuple):
    """A variant, by campaigns whose accuracies are of one kind.

    Attributes:
        name: of its figure.
        variant: what was done.
        title: what accuracies are.
        found: the log-odds.
    """

    name: str
    variant: str
    title: str
    found: LogOdds


def _comparisons(results: Mapping[Cell, CampaignResult], reference: str | None) -> Iterator[_Comparison]:
    by_headline: dict[str, dict[Cell, CampaignResult]] = {}
    for cell, result in results.items():
        by_headline.setdefault(result.task.headline, {})[cell] = result
    for headline, alike in by_headline.items():
        more = f"+{headline}" if len(by_headline) > 1 else ""
        title = next(iter(alike.values())).task.main.title
        variants: dict[str, dict[tuple[str, str], float]] = {}
        for cell, result in alike.items():
            # without faults all kinds of faults are the same
            variants.setdefault(cell.variant, {}).setdefault((cell.model, cell.data), result.clean)
        before = variants.pop(AS_IT_IS, {})
        for variant, after in variants.items():
            found = log_odds_of(before, after, variant=variant, reference=reference)
            yield _Comparison(f"log-odds@{variant}{more}", variant, title, found)


def _figure(comparison: _Comparison, reference: str | None) -> Figure:
    found = comparison.found
    title = comparison.title
    rows = []
    for point in found.points:
        limits = (point.mean - point.error, point.mean + point.error)
        rows.append(LogOddsRow(point.model, point.variant, point.accuracy, point.mean, *limits))
    line = None if found.slope is None or found.intercept is None else (found.slope, found.intercept)
    place = f"on {reference}" if reference is not None else "averaged over the data sets"
    said = f"Data sets: {', '.join(found.data)}."
    if found.left_out:
        said += f" Left out: {'; '.join(found.left_out)}."
    return Figure(
        name=comparison.name,
        title=f"Fault-free {title} with and without {comparison.variant}",
        caption=f"{_CAPTION} {said}",
        chart=log_odds_chart(rows, line, f"{title} as it is, {place}"),
    )
