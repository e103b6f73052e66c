"""Figures of the activations of a study's variants: quartiles, shares above the threshold, histograms."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ftonnx.report import Activations
from ftonnx.report.activation_panels import above_panels, histogram_grid, quartile_panels
from ftonnx.report.activations import Histogram
from ftonnx.studies.figure import Figure
from ftonnx.studies.schema import ActivationsTable
from ftonnx.studies.study import AS_IT_IS, Cell
from ftonnx.words import some_of

__all__ = ["activation_figures", "unmatched"]

_FIRST: Final = 3
"""Histograms where none are chosen."""
_QUARTILES: Final = "Bars are quartiles, lines medians, dots means, without faults."
_ABOVE: Final = (
    "The share of values above the threshold, before they are clipped, NaN and infinities included. "
    "Hollow points on the lowest line, which is no place of the log axis, are shares of exactly 0."
)
_HISTOGRAMS: Final = (
    "Shares of values in 64 bins between the smallest and the largest finite value, each histogram with a range of its "
    "own; an empty bin has no bar."
)


def activation_figures(activations: Mapping[Cell, Activations], table: ActivationsTable | None) -> list[Figure]:
    """Return the figures of activations.

    Args:
        activations: what was measured.
        table: which histograms are drawn; None where nothing is measured.
    """
    if table is None:
        return []
    groups: dict[tuple[str, str], dict[str, Activations]] = {}
    for cell, found in activations.items():
        groups.setdefault((cell.data, cell.variant), {})[cell.model] = found
    figures = []
    for (data, variant), measured in groups.items():
        figures += _of_group(data, variant, measured)
    for cell, found in activations.items():
        figures += _histograms(cell, found, table.histograms)
    return figures


def unmatched(activations: Mapping[Cell, Activations], table: ActivationsTable | None) -> list[str]:
    """Return a line on every pattern of histograms that fits no activation of any model."""
    if table is None or not activations:
        return []
    names = {row["activation"] for found in activations.values() for row in found.rows}
    known = some_of(sorted(names))
    found = []
    for pattern in table.histograms:
        if not any(fnmatchcase(name, pattern) for name in names):
            found.append(f"activations.histograms: {pattern} fits no activation; there are {known}")
    return found


def _of_group(data: str, variant: str, measured: Mapping[str, Activations]) -> list[Figure]:
    """Return the figures that compare models."""
    place = f"{data}+{_in_name(variant)}"
    layers = _layers_text(measured)
    figures = [
        Figure(
            name=f"quartiles@{place}",
            title=f"{data}, {variant}: distributions of activations",
            caption=f"{_QUARTILES} {layers}",
            chart=quartile_panels(measured),
        )
    ]
    clipped = {model: found for model, found in measured.items() if _has_thresholds(found)}
    if clipped:
        figures.append(
            Figure(
                name=f"above@{place}",
                title=f"{data}, {variant}: activations above the threshold",
                caption=f"{_ABOVE} {_layers_text(clipped)}",
                chart=above_panels(clipped),
            )
        )
    return figures


def _histograms(cell: Cell, found: Activations, patterns: Sequence[str]) -> list[Figure]:
    """Return the histograms of one variant; none where no pattern fits, or where no value is finite."""
    chosen = [each for each in _chosen(found, patterns) if any(each.counts)]
    if not chosen:
        return []
    return [
        Figure(
            name=f"histograms@{cell.model}+{_in_name(cell.variant)}+{cell.data}",
            title=f"{cell.model} on {cell.data}, {cell.variant}: activations without and with faults",
            caption=_HISTOGRAMS,
            chart=histogram_grid(chosen),
        )
    ]


def _chosen(found: Activations, patterns: Sequence[str]) -> list[Histogram]:
    names = list(dict.fromkeys(each.activation for each in found.histograms))
    wanted = names[:_FIRST]
    if patterns:
        wanted = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return [each for each in found.histograms if each.activation in wanted]


def _has_thresholds(found: Activations) -> bool:
    return any(row["above"] is not None for row in found.rows)


def _layers_text(measured: Mapping[str, Activations]) -> str:
    """Say which layers are the first and the last, where all models call them the same."""
    ends = set()
    for found in measured.values():
        names = [row["activation"] for row in found.rows]
        ends.add((names[0], names[-1]))
    if len(ends) > 1:
        return "Layers are numbered in the order of each graph."
    ((first, last),) = ends
    return f"Layers are numbered in the order of the graph, from {first} to {last}."


def _in_name(variant: str) -> str:
    """Return a variant as a part of a file's name.

    >>> _in_name("as it is"), _in_name("clipact")
    ('none', 'clipact')
    """
    return "none" if variant == AS_IT_IS else variant
