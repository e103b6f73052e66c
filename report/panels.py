"""Charts in small multiples: a panel for every model, data set or variant, on the same axes."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import altair as alt
import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.results.frames import rates_frame
from ftonnx.report.chart_parts import Chart, Panelled, rate_name, series, values_of
from ftonnx.report.charts import curve_layers
from ftonnx.report.design import INK
from ftonnx.tasks import Task

__all__ = ["Panels", "curve_panels", "injection_panels", "laid_out", "panel_columns", "panel_legend", "panel_size"]

Panels: TypeAlias = Mapping[str, Mapping[str, CampaignResult]]
"""Results by the name of a line, by the title of a panel."""

_SIZES: Final = {1: (620, 340), 2: (330, 240), 3: (240, 200)}
"""Width and height of a panel, by how many stand side by side."""
_ROW: Final = 22
_CHARACTER: Final = 7
"""Pixels of a legend's character, and a little more."""


def curve_panels(panels: Panels) -> Chart:
    """Return curves with interval bands against the fault rate; horizontal lines are the fault-free values.

    Rate 0, which has no place on a log axis, is left out.

    Args:
        panels: of one headline; every campaign is one over fault rates, of which one is above 0.
    """
    task = _task_of(panels)
    main = task.headline
    rows = _rows(panels).filter(pl.col("rate") > 0)
    names = _names(panels)
    free = alt.Chart().transform_aggregate(
        [alt.AggregatedFieldDef(op="min", field=f"fault_free_{main}", **{"as": main})],
        groupby=["panel", "model"],
    )
    styles = series(names, panel_legend(names, len(panels)))
    layers = curve_layers(alt.Chart(), free, rows, task, styles)
    values = values_of(rows.with_columns(rate_name()))
    return laid_out(layers, values, list(panels), f"{task.main.title} against the bit-fault rate")


def injection_panels(panels: Panels) -> Chart:
    """Return the headline under injections, a row per name, with intervals; ticks are the fault-free values.

    Args:
        panels: of one headline; every campaign is one of injections.
    """
    task = _task_of(panels)
    main = task.headline
    rows = _rows(panels)
    names = _names(panels)
    scale = alt.Scale(zero=False, padding=8)
    axis = alt.Axis(format=".0%", tickCount=5, labelOverlap=True)
    x = alt.X(f"{main}:Q", title=task.main.title, scale=scale, axis=axis)
    y = alt.Y("model:N", title=None, sort=names, axis=alt.Axis(labelLimit=280, ticks=False))
    color, _, shape = series(names, None)
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip(f"{main}:Q", title=task.main.label, format=".2%"),
        alt.Tooltip(f"{main}_low:Q", title="interval from", format=".2%"),
        alt.Tooltip(f"{main}_high:Q", title="to", format=".2%"),
        alt.Tooltip(f"fault_free_{main}:Q", title="fault-free", format=".2%"),
    ]
    marks = alt.Chart()
    limits = marks.mark_rule(strokeWidth=2).encode(alt.X(f"{main}_low:Q"), y, color, alt.X2(f"{main}_high:Q"))
    free = marks.mark_tick(thickness=2, size=16, color=INK).encode(alt.X(f"fault_free_{main}:Q"), y)
    points = marks.mark_point(filled=True, size=75, opacity=1).encode(x, y, color, shape, tooltip=tooltip)
    description = f"{task.main.title} under injections"
    return laid_out((limits, free, points), values_of(rows), list(panels), description, height=_ROW * len(names))


def panel_columns(panels: int) -> int:
    """Return how many panels stand side by side.

    >>> [panel_columns(count) for count in (1, 2, 3, 4, 5, 9)]
    [1, 2, 3, 2, 3, 3]
    """
    if panels == 4:
        return 2
    return min(panels, 3)


def panel_size(panels: int) -> tuple[int, int]:
    """Return width and height of each of so many panels."""
    return _SIZES[panel_columns(panels)]


def panel_legend(names: Sequence[str], panels: int) -> alt.Legend:
    """Return a legend below panels, in as many columns as the names leave room for."""
    columns = panel_columns(panels)
    whole = columns * panel_size(panels)[0]
    widest = max(map(len, names)) * _CHARACTER + 40
    return alt.Legend(
        orient="bottom",
        direction="horizontal",
        columns=max(1, whole // widest),
        labelLimit=whole - 40,
        symbolSize=90,
        symbolStrokeWidth=0,
    )


def laid_out(
    layers: Sequence[alt.Chart],
    values: alt.Data,
    titles: Sequence[str],
    description: str,
    *,
    height: int | None = None,
) -> Chart:
    """Return a chart with a panel for every title.

    Args:
        layers: of every panel, without data of their own.
        values: rows that name their panel in the field ``panel``.
        titles: of the panels, in order.
        description: what a screen reader says.
        height: of a panel; the usual one by default.
    """
    width, usual = panel_size(len(titles))
    header = alt.Header(labelFontSize=12, labelFontWeight="bold", labelLimit=width)
    facet = alt.Facet("panel:N", sort=list(titles), title=None, header=header)
    panel = alt.LayerChart(layer=list(layers), width=width, height=height or usual)
    return Panelled(
        data=values,
        spec=panel,
        facet=facet,
        columns=panel_columns(len(titles)),
        description=f"{description[0].upper()}{description[1:]}",
    )


def _task_of(panels: Panels) -> Task:
    """Return a task that has the headline of all."""
    results = [result for lines in panels.values() for result in lines.values()]
    return results[0].task


def _rows(panels: Panels) -> pl.DataFrame:
    """Return a row for every rate of every campaign, with the title of its panel."""
    frames = []
    for title, lines in panels.items():
        for name, result in lines.items():
            frame = rates_frame(name, result.rates, result.task, result.clean)
            frames.append(frame.with_columns(panel=pl.lit(title)))
    # other tasks with the same headline may tell of more
    return pl.concat(frames, how="diagonal")


def _names(panels: Panels) -> list[str]:
    found: dict[str, None] = {}
    for lines in panels.values():
        found |= dict.fromkeys(lines)
    return list(found)
