"""The figures of a study: what its campaigns and activations look like side by side, each with a caption."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ftonnx.campaign import CampaignResult
from ftonnx.report.panels import curve_panels, injection_panels
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
    found = [*_by_model(results)]
    if len(models) > 1:
        found += _by_variant(results)
    if len(data) > 1:
        found += _by_data(results)
    found += log_odds_figures(results, result.study.reference)
    found += activation_figures(result.activations, result.study.activations)
    return tuple(found)


def _by_model(results: Results) -> list[Figure]:
    """Return a figure for every data set and kind of faults: a panel per model, a line per variant."""
    figures = []
    for (data, faults), cells in _grouped(results, lambda cell: (cell.data, cell.faults)).items():
        name = f"{data}+{faults}"
        title = f"{data}, {faults}: variants of every model"
        figures.append(_drawn(name, title, results, cells, _model, _variant))
    return figures


def _by_variant(results: Results) -> list[Figure]:
    """Return a figure for every data set and kind of faults: a panel per variant, a line per model."""
    figures = []
    for (data, faults), cells in _grouped(results, lambda cell: (cell.data, cell.faults)).items():
        name = f"{data}+{faults}+models"
        title = f"{data}, {faults}: models in every variant"
        figures.append(_drawn(name, title, results, cells, _variant, _model))
    return figures


def _by_data(results: Results) -> list[Figure]:
    """Return a figure for every model and kind of faults: a panel per data set, a line per variant."""
    figures = []
    for (model, faults), cells in _grouped(results, lambda cell: (cell.model, cell.faults)).items():
        name = f"{model}+{faults}+data"
        title = f"{model}, {faults}: variants on all data"
        figures.append(_drawn(name, title, results, cells, _data, _variant))
    return figures


def _grouped(results: Results, key: Callable[[Cell], tuple[str, str]]) -> dict[tuple[str, str], list[Cell]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in results:
        groups.setdefault(key(cell), []).append(cell)
    return groups


def _drawn(
    name: str,
    title: str,
    results: Results,
    cells: Sequence[Cell],
    panel_of: Naming,
    line_of: Naming,
) -> Figure:
    """Draw campaigns that differ in two axes of the matrix."""
    panels: dict[str, dict[str, CampaignResult]] = {}
    for cell in cells:
        panels.setdefault(panel_of(cell), {})[line_of(cell)] = results[cell]
    if results[cells[0]].faults.fresh_per_batch:
        return Figure(name=name, title=title, caption=_CURVES, chart=curve_panels(panels))
    return Figure(name=name, title=title, caption=_INJECTIONS, chart=injection_panels(panels))


def _model(cell: Cell) -> str:
    return cell.model


def _variant(cell: Cell) -> str:
    return cell.variant


def _data(cell: Cell) -> str:
    return cell.data
