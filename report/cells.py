"""Cells of tables, and names of figures, that several sections share."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from ftonnx.campaign import CampaignResult, RateResult
from ftonnx.campaign.results.rate_result import LayerResult
from ftonnx.report.formats import interval, percent
from ftonnx.report.page import Marked
from ftonnx.stats import Estimate
from ftonnx.stats.differences import Difference
from ftonnx.tasks import Task

__all__ = [
    "Named",
    "capital",
    "each_figure",
    "estimate_cells",
    "fraction_cells",
    "fraction_titles",
    "short_cell",
    "slug",
    "with_limits",
]

Named: TypeAlias = Sequence[tuple[str, CampaignResult]]
"""Results with their labels."""


def each_figure(kind: str, named: Named) -> Iterator[tuple[str, str, CampaignResult]]:
    """Yield a figure's name, the model's label, and the result, for every model."""
    for index, (label, result) in enumerate(named, 1):
        yield f"{kind}-{index}-{slug(label)}" if len(named) > 1 else kind, label, result


def slug(name: str) -> str:
    """Return a name that is safe in files and links everywhere.

    >>> slug("ResNet-18 (int8)/<b>"), slug("моя сеть")
    ('resnet-18-int8-b', 'model')
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "model"


def estimate_cells(estimate: Estimate) -> tuple[str, str]:
    """Return an estimate and its interval."""
    return percent(estimate.mean), interval(estimate.low, estimate.high)


def fraction_titles(task: Task, names: Iterable[str]) -> list[str]:
    """Return a column title per fraction: its label."""
    return [task.fractions[name].label for name in names]


def fraction_cells(found: RateResult | LayerResult, names: Iterable[str]) -> list[Marked]:
    """Return a cell per fraction: the estimate, and below it the interval."""
    return [Marked(percent(found[name].mean), below=interval(found[name].low, found[name].high)) for name in names]


def short_cell(estimate: Estimate | None) -> str:
    """Return mean and limits in one cell.

    >>> short_cell(Estimate(0.981, 0.9706, 0.9914)), short_cell(Estimate(0.981, None, None)), short_cell(None)
    ('98.1 % (97.1 to 99.1 %)', '98.1 %', '-')
    """
    if estimate is None or estimate.low is None:
        return percent(None if estimate is None else estimate.mean, 1)
    return f"{percent(estimate.mean, 1)} ({interval(estimate.low, estimate.high, 1)})"


def capital(text: str) -> str:
    """Return a text that can begin a sentence.

    >>> capital("top-1 accuracy")
    'Top-1 accuracy'
    """
    return f"{text[0].upper()}{text[1:]}"


def with_limits(estimate: Estimate | Difference | None, text: Callable[[float], str]) -> tuple[str, str]:
    """Return an estimate and its limits as texts.

    Args:
        estimate: None where there is none.
        text: of a number.
    """
    if estimate is None:
        return "-", "-"
    if estimate.low is None or estimate.high is None:
        return text(estimate.mean), "none"
    return text(estimate.mean), f"{text(estimate.low)} to {text(estimate.high)}"
