"""The chart of log-odds against accuracy: what a variant costs without faults."""

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import polars as pl

from ftonnx.report.chart_parts import Chart, series, values_of
from ftonnx.report.design import SERIES

__all__ = ["LogOddsRow", "log_odds_chart"]

_SIZE = (460, 340)


class LogOddsRow(NamedTuple):
    """A point of the chart.

    Attributes:
        model: its name.
        variant: what was done to it.
        accuracy: the horizontal axis.
        mean: the vertical one.
        low, high: ends of the error bar.
    """

    model: str
    variant: str
    accuracy: float
    mean: float
    low: float
    high: float


def log_odds_chart(rows: Sequence[LogOddsRow], line: tuple[float, float] | None, accuracy: str) -> Chart:
    """Return log-odds with error bars, a colour per variant, a shape per model, and a regression line.

    Args:
        rows: the points; the variant of the first one has the first colour, and the line.
        line: slope and intercept; None for no line.
        accuracy: title of the horizontal axis.
    """
    frame = pl.DataFrame(rows, schema=list(LogOddsRow._fields), orient="row")
    models = frame["model"].unique(maintain_order=True).to_list()
    variants = frame["variant"].unique(maintain_order=True).to_list()
    legend = alt.Legend(orient="right", symbolSize=90, labelLimit=200)
    plain = alt.Legend(orient="right", symbolSize=90, labelLimit=200, symbolType="stroke", symbolStrokeWidth=3)
    _, _, shape = series(models, legend)
    color = alt.Color(
        "variant:N",
        title=None,
        legend=plain,
        scale=alt.Scale(domain=variants, range=list(SERIES[: len(variants)])),
    )
    scale = alt.Scale(zero=False, padding=20)
    x = alt.X("accuracy:Q", title=accuracy, scale=scale, axis=alt.Axis(format="~%", tickCount=6))
    title = "log-odds, mean over data sets"
    y = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False, padding=12))
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("variant:N"),
        alt.Tooltip("accuracy:Q", format=".2%"),
        alt.Tooltip("mean:Q", title="log-odds", format=".3f"),
        alt.Tooltip("low:Q", title="standard error from", format=".3f"),
        alt.Tooltip("high:Q", title="to", format=".3f"),
    ]
    base = alt.Chart(values_of(frame)).encode(x, color)
    errors = base.mark_rule(strokeWidth=1.5).encode(alt.Y("low:Q", title=title), alt.Y2("high:Q"))
    points = base.mark_point(filled=True, size=70, opacity=1).encode(y, shape, tooltip=tooltip)
    layers: list[alt.Chart] = [errors, points]
    if line is not None:
        layers.insert(0, _regression(frame, line))
    width, height = _SIZE
    chart: Chart = alt.layer(*layers).properties(width=width, height=height, description="Log-odds against accuracy")
    return chart


def _regression(frame: pl.DataFrame, line: tuple[float, float]) -> alt.Chart:
    slope, intercept = line
    ends = frame.select(pl.col("accuracy").min().alias("low"), pl.col("accuracy").max().alias("high")).row(0)
    values = pl.DataFrame({"accuracy": ends, "mean": [intercept + slope * end for end in ends]})
    drawn: alt.Chart = alt.Chart(values_of(values)).mark_line(color=SERIES[0], strokeWidth=1.5, opacity=0.7)
    return drawn.encode(alt.X("accuracy:Q"), alt.Y("mean:Q"))
