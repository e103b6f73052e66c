"""The charts of fault rates and outcomes, each defined once for the page and for PNG, SVG and PDF.

Every series has a colour, a dash pattern and a point shape of its own, and the colours of outcomes differ in lightness,
so that nothing is lost in print. Numbers stand beside the marks wherever they have room.
"""

from collections.abc import Sequence
from typing import Final

import altair as alt
import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.report.chart_parts import (
    NARROW,
    RATE_TITLE,
    Layers,
    Series,
    cycled_scale,
    layered,
    rate_axis,
    rate_name,
    series,
    values_of,
)
from ftonnx.report.design import CHART_SIZE, MIDDLE, ON_DARK, ON_LIGHT, OUTCOMES, ROW
from ftonnx.report.formats import rate_text
from ftonnx.report.tables import golden_table, outcomes_table, rates_table, swept
from ftonnx.tasks import Task
from ftonnx.words import of_kind

__all__ = ["accuracy_chart", "curve_layers", "injections_chart", "outcome_chart", "plot"]

_TEXT_FROM: Final = 0.07
"""Shares from here on have room for their number in a bar."""
_WIDE_LEGEND: Final = alt.Legend(
    orient="bottom",
    direction="horizontal",
    columns=alt.ExprRef(f"{NARROW} ? 1 : 2"),
    labelLimit=alt.ExprRef(f"{NARROW} ? width : width / 2 - 30"),
    symbolSize=90,
    symbolStrokeWidth=0,
)
_OUTCOME_LEGEND: Final = alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="square")


def accuracy_chart(results: Sequence[CampaignResult]) -> Layers:
    """Return the headline, such as top-1 accuracy, against the fault rate on a log axis: curves with interval bands.

    Horizontal lines are the fault-free values; of one model alone, every point has its number. Rate 0, which has no
    place on a log axis, and campaigns of single injections are left out.
    """
    task = results[0].task
    main = task.headline
    names = [name for name, _ in swept(results)]
    rates = rates_table(results).filter((pl.col("rate") > 0) & pl.col("model").is_in(names))
    golden = golden_table(results).select("model", main).filter(pl.col("model").is_in(names))
    measured = alt.Chart(values_of(rates.with_columns(rate_name())))
    free = alt.Chart(values_of(golden))
    layers = [*curve_layers(measured, free, rates, task, series(names, _WIDE_LEGEND))]
    if len(names) == 1:
        layers.append(_numbers(measured, rates, main))
    title = task.main.title
    return layered(layers, CHART_SIZE[1], f"{title[0].upper()}{title[1:]} against the bit-fault rate")


def _numbers(measured: alt.Chart, rates: pl.DataFrame, main: str) -> alt.Chart:
    """Return the numbers of one model's points."""
    y = alt.Y(f"{main}:Q")
    text = alt.Text(f"{main}:Q", format=".1%")
    numbers: alt.Chart = measured.mark_text(dy=-12, aria=False).encode(rate_axis(rates), y, text)
    return numbers


def curve_layers(
    measured: alt.Chart,
    free: alt.Chart,
    rates: pl.DataFrame,
    task: Task,
    styles: Series,
) -> tuple[alt.Chart, ...]:
    """Return the layers of curves: interval bands, fault-free levels, lines, points.

    Args:
        measured: with a row for every model and rate of ``rates_table``, and the rate's name.
        free: with a row for every model, and its fault-free headline.
        rates: rows of ``rates_table`` that the axis has to show, above 0.
        task: whose headline is drawn.
        styles: how models are told apart.
    """
    main = task.headline
    title = task.main.title
    label = task.main.label
    x = rate_axis(rates)
    y = alt.Y(f"{main}:Q", title=title, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"))
    low = alt.Y(f"{main}_low:Q")
    high = alt.Y2(f"{main}_high:Q")
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("rate_name:N", title="bit-fault rate"),
        alt.Tooltip(f"{main}:Q", title=label, format=".2%"),
        alt.Tooltip(f"{main}_low:Q", title="interval from", format=".2%"),
        alt.Tooltip(f"{main}_high:Q", title="to", format=".2%"),
        alt.Tooltip(f"fault_free_{main}:Q", title="fault-free", format=".2%"),
        alt.Tooltip("faults_mean:Q", title="flips per run", format=".3~g"),
    ]
    color, dash, shape = styles
    bands = measured.mark_area(opacity=0.16, aria=False).encode(x, low, high, color)
    levels = free.mark_rule(strokeWidth=1, aria=False).encode(y, color, dash)
    lines = measured.mark_line(strokeWidth=2, aria=False).encode(x, y, color, dash)
    points = measured.mark_point(filled=True, size=75, opacity=1).encode(x, y, color, shape, tooltip=tooltip)
    return bands, levels, lines, points


def plot(*results: CampaignResult) -> Layers:
    """Return the accuracy chart of one or several results.

    Raises:
        UsageError: one of them is no result.
    """
    for each in results:
        of_kind("results", each, CampaignResult, "a CampaignResult, as CampaignResult.open(folder) returns it,")
    return accuracy_chart(results)


def outcome_chart(result: CampaignResult) -> Layers:
    """Return what becomes of one model's images per fault rate, in shares that are stacked."""
    rates = [rate_text(rate.rate) for rate in result.rates]
    axis = alt.Axis(labelAngle=0 if len(rates) <= 8 else -45)
    x = alt.X("rate_name:O", sort=rates, title=RATE_TITLE, axis=axis)
    y = alt.Y("share:Q", title="share of images", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    rows = _outcomes(result).with_columns(rate_name())
    base = alt.Chart(values_of(rows))
    tooltip = [
        alt.Tooltip("rate_name:N", title="bit-fault rate"),
        alt.Tooltip("outcome:N"),
        alt.Tooltip("share:Q", format=".2%"),
    ]
    bars = base.mark_bar(stroke=MIDDLE, strokeWidth=1).encode(x, y, _outcome_color(result.task), tooltip=tooltip)
    middle = alt.Y("middle:Q", title="share of images")
    numbers = _shares(base.encode(tooltip=tooltip), x, middle, "bandwidth('x') > 34 ? 11 : 0")
    return layered([bars.encode(alt.Order("order:Q")), numbers], 220, "Outcomes per fault rate")


def injections_chart(named: Sequence[tuple[str, CampaignResult]]) -> Layers:
    """Return what becomes of the images under injections, a bar of stacked shares per model.

    Args:
        named: campaigns of injections with their labels.
    """
    rows = pl.concat([_outcomes(result).with_columns(model=pl.lit(name)) for name, result in named])
    names = [name for name, _ in named]
    y = alt.Y("model:N", title=None, sort=names, axis=alt.Axis(labelLimit=alt.ExprRef(f"{NARROW} ? 110 : 220")))
    x = alt.X("share:Q", title="share of images", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(values_of(rows))
    tooltip = [alt.Tooltip("model:N"), alt.Tooltip("outcome:N"), alt.Tooltip("share:Q", format=".2%")]
    bars = base.mark_bar(stroke=MIDDLE, strokeWidth=1).encode(y, x, _outcome_color(named[0][1].task), tooltip=tooltip)
    middle = alt.X("middle:Q", title="share of images")
    numbers = _shares(base.encode(tooltip=tooltip), y, middle, f"{NARROW} ? 9 : 11")
    return layered([bars.encode(alt.Order("order:Q")), numbers], 2 * ROW * len(names) + ROW, "Outcomes of injections")


def _outcomes(result: CampaignResult) -> pl.DataFrame:
    """Return every share with its place in the stack, and the middle of its part of the bar."""
    parts = result.task.parts
    order = pl.col("outcome").replace_strict(parts, range(len(parts)), return_dtype=pl.Int64)
    ends = pl.col("share").cum_sum().over("rate")
    return outcomes_table([result]).with_columns(order=order, middle=ends - pl.col("share") / 2)


def _outcome_color(task: Task) -> alt.Color:
    return alt.Color("outcome:N", scale=cycled_scale(list(task.parts), OUTCOMES), legend=_OUTCOME_LEGEND)


def _shares(base: alt.Chart, place: alt.X | alt.Y, middle: alt.X | alt.Y, size: str) -> alt.Chart:
    """Return the numbers in the parts of stacked bars that have room for them."""
    is_dark = f"datum.order == {len(OUTCOMES) - 1}"
    color = alt.condition(is_dark, alt.value(ON_DARK), alt.value(ON_LIGHT))
    numbers = base.transform_filter(f"datum.share >= {_TEXT_FROM}").mark_text(fontSize=alt.ExprRef(size), aria=False)
    shown: alt.Chart = numbers.encode(place, middle, alt.Text("share:Q", format=".0%"), color=color)
    return shown
