"""The figures of a study: what its campaigns and activations look like side by side, each with a caption."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from ftonnx.campaign import CampaignResult
from ftonnx.report.panels import Panels, curve_panels, injection_panels
from ftonnx.studies.activation_figures import activation_figures
from ftonnx.studies.figure import Figure
from ftonnx.studies.log_odds import log_odds_figures
from ftonnx.studies.study import Cell

if TYPE_CHECKING:
    from ftonnx.studies.result import StudyResult

__all__ = ["Figure", "figures_of"]

_CURVES: Final = "Lines are means, bands their intervals, horizontal lines the values without faults."
_INJECTIONS: Final = "Points are means, lines their intervals, black ticks the values without faults."

Results = Mapping[Cell, CampaignResult]
Naming = Callable[[Cell], str]


def figures_of(result: "StudyResult") -> tuple[Figure, ...]:
    """Return all figures for which there is something to draw."""
    results = result.results
    models = {cell.model for cell in results}
    data = {cell.data for cell in results}
    found = _arranged(results, _BY_MODEL)
    if len(models) > 1:
        found += _arranged(results, _BY_VARIANT)
    if len(data) > 1:
        found += _arranged(results, _BY_DATA)
    found += log_odds_figures(results, result.study.reference)
    found += activation_figures(result.activations, result.study.activations)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Arrangement:
    """Which axes of the matrix are figures, panels and lines.

    Attributes:
        figure: what the campaigns of a figure have in common, besides the faults.
        panel: what those of a panel have.
        line: what tells the lines of a panel apart.
        title: behind the names of what the figure's campaigns have in common.
        suffix: of the figure's name.
    """

    figure: Naming
    panel: Naming
    line: Naming
    title: str
    suffix: str


_MODEL: Final = attrgetter("model")
_VARIANT: Final = attrgetter("variant")
_DATA: Final = attrgetter("data")
_BY_MODEL: Final = _Arrangement(_DATA, _MODEL, _VARIANT, "variants of every model", "")
_BY_VARIANT: Final = _Arrangement(_DATA, _VARIANT, _MODEL, "models in every variant", "+models")
_BY_DATA: Final = _Arrangement(_MODEL, _DATA, _VARIANT, "variants on all data", "+data")


def _arranged(results: Results, wanted: _Arrangement) -> list[Figure]:
    """Return the figures of an arrangement; campaigns whose headlines differ are not in one."""
    headlines = {result.task.headline for result in results.values()}
    groups: dict[tuple[str, str, str], dict[str, dict[str, CampaignResult]]] = {}
    for cell, result in results.items():
        place = (wanted.figure(cell), cell.faults, result.task.headline)
        panels = groups.setdefault(place, {})
        panels.setdefault(wanted.panel(cell), {})[wanted.line(cell)] = result
    figures = []
    for (common, faults, headline), panels in groups.items():
        more = f"+{headline}" if len(headlines) > 1 else ""
        name = f"{common}+{faults}{wanted.suffix}{more}"
        title = f"{common}, {faults}: {wanted.title}"
        figures += _drawn(name, title, panels)
    return figures


def _drawn(name: str, title: str, panels: Panels) -> list[Figure]:
    """Return a figure; none where no rate is above 0."""
    results = [result for lines in panels.values() for result in lines.values()]
    if not results[0].faults.fresh_per_batch:
        return [Figure(name=name, title=title, caption=_INJECTIONS, chart=injection_panels(panels))]
    if not any(rate.rate > 0 for result in results for rate in result.rates):
        return []
    return [Figure(name=name, title=title, caption=_CURVES, chart=curve_panels(panels))]
