"""Charts of activations in small multiples, as papers show them: quartiles, histograms, shares above the threshold."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Final

import altair as alt
import polars as pl

from ftonnx.report.activations import Activations, Histogram
from ftonnx.report.chart_parts import Chart, rate_name, series, values_of
from ftonnx.report.design import SERIES
from ftonnx.report.formats import rate_text
from ftonnx.report.panels import laid_out, panel_legend, panel_size

__all__ = ["above_panels", "histogram_grid", "quartile_panels"]

_LAYER: Final = "layer, in the order of the graph"
_MANY: Final = 20
"""Layers whose points would cover each other."""
_CELL: Final = (240, 150)
"""Width and height of a histogram."""


def quartile_panels(measured: Mapping[str, Activations]) -> Chart:
    """Return quartiles (bars), mean (dots) and median (lines) of every activation without faults, a panel per title."""
    rows = _numbered(measured, "panel").filter(pl.col("rate") == 0)
    layers = int(rows["layer"].max())  # type: ignore[arg-type]
    width, _ = panel_size(len(measured))
    bar = max(1.0, min(12.0, 0.6 * width / layers))
    x = _layer_axis(layers)
    title = "value"
    tooltip = [
        alt.Tooltip("activation:N"),
        *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("quartile1", "median", "quartile3", "mean")),
        alt.Tooltip("sparsity:Q", title="zeros", format=".2%"),
    ]
    base = alt.Chart().encode(x, tooltip=tooltip)
    quartiles = base.mark_bar(size=bar, opacity=0.45, color=SERIES[0]).encode(
        alt.Y("quartile1:Q", title=title), alt.Y2("quartile3:Q")
    )
    median = base.mark_tick(orient="horizontal", thickness=2, size=bar + 2, color=SERIES[0], opacity=1).encode(
        alt.Y("median:Q", title=title)
    )
    mean = base.mark_point(filled=True, size=max(10, min(45, 4 * bar)), opacity=1, color=SERIES[1]).encode(
        alt.Y("mean:Q", title=title)
    )
    description = "Quartiles, median and mean of every activation"
    return laid_out((quartiles, median, mean), values_of(rows), list(measured), description)


def above_panels(measured: Mapping[str, Activations]) -> Chart:
    """Return the share of values above the threshold per activation on a log axis, a panel per rate, a line per name.

    A share of zero has no place on a log axis: it is a hollow point on the lowest line.
    """
    every = _numbered(measured, "model").filter(pl.col("above").is_not_null()).with_columns(rate_name())
    titles = [_at(rate) for rate in every["rate"].unique(maintain_order=True)]
    floor_at = _floor(every["above"].to_list())
    rows = every.with_columns(
        panel=pl.col("rate").map_elements(_at, return_dtype=pl.String),
        shown=pl.when(pl.col("above") > 0).then(pl.col("above")).otherwise(floor_at),
        is_zero=pl.col("above") == 0,
    )
    layers = int(rows["layer"].max())  # type: ignore[arg-type]
    names = list(measured)
    color, dash, shape = series(names, panel_legend(names, len(titles)))
    x = _layer_axis(layers)
    ticks = [10.0**power for power in range(round(log10(floor_at)) + 1, 1)]
    y = alt.Y(
        "shown:Q",
        title="share of values above the threshold",
        scale=alt.Scale(type="log", domain=[floor_at, 1], nice=False),
        axis=alt.Axis(
            values=[floor_at, *ticks],
            labelExpr=f"datum.value < {2 * floor_at} ? '0' : format(datum.value, '~%')",
        ),
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("activation:N"),
        alt.Tooltip("rate_name:N", title="bit-fault rate"),
        alt.Tooltip("above:Q", title="above the threshold", format=".4~%"),
    ]
    base = alt.Chart().encode(x, y, color, tooltip=tooltip)
    lines = base.mark_line(strokeWidth=1, opacity=0.5).encode(dash)
    size = 45 if layers <= _MANY else 25
    some = base.transform_filter("!datum.is_zero").mark_point(filled=True, size=size, opacity=1).encode(shape)
    none = base.transform_filter("datum.is_zero").mark_point(filled=False, size=size, opacity=1).encode(shape)
    return laid_out((lines, some, none), values_of(rows), titles, "Shares of values above the threshold per layer")


def histogram_grid(histograms: Sequence[Histogram]) -> Chart:
    """Return histograms on a log axis of shares, a column per activation, a row per rate, each with its own range."""
    layers = list(dict.fromkeys(each.activation for each in histograms))
    rates = list(dict.fromkeys(each.rate for each in histograms))
    rows = []
    shares = []
    for each in histograms:
        total = sum(each.counts)
        for place, count in enumerate(each.counts):
            # a share of zero has no bar
            if count:
                shares.append(count / total)
                rows.append(
                    {
                        "activation": each.activation,
                        "rate_name": _at(each.rate),
                        "start": each.edges[place],
                        "end": each.edges[place + 1],
                        "share": shares[-1],
                    }
                )
    frame = pl.DataFrame(rows)
    lowest = 10.0 ** floor(log10(min(shares)))
    width, height = _CELL
    bars = (
        alt.Chart(values_of(frame), width=width, height=height)
        .mark_bar(color=SERIES[0], binSpacing=0, stroke=SERIES[0], strokeWidth=0.5)
        .transform_calculate(bottom=str(lowest))
        .encode(
            alt.X("start:Q", title="value", axis=alt.Axis(format=".6~g", tickCount=4, labelOverlap=True)),
            alt.X2("end:Q"),
            alt.Y(
                "share:Q",
                title="share of values",
                scale=alt.Scale(type="log", domain=[lowest, 1], nice=False),
                axis=alt.Axis(format="~%", tickCount=5),
            ),
            alt.Y2("bottom:Q"),
            tooltip=[
                alt.Tooltip("activation:N"),
                alt.Tooltip("rate_name:N", title="bit-fault rate"),
                alt.Tooltip("start:Q", title="from", format=".4~g"),
                alt.Tooltip("end:Q", title="to", format=".4~g"),
                alt.Tooltip("share:Q", format=".3~g"),
            ],
        )
    )
    header = alt.Header(labelFontSize=12, labelFontWeight="bold", labelLimit=width)
    column = alt.Column("activation:N", sort=layers, title=None, header=header)
    side = alt.Header(labelFontSize=12, labelFontWeight="bold", labelLimit=height)
    row = alt.Row("rate_name:N", sort=[_at(rate) for rate in rates], title=None, header=side)
    chart: Chart = bars.facet(row=row, column=column).resolve_scale(x="independent")
    said: Chart = chart.properties(description="Histograms of activations per layer and fault rate")
    return said


def _numbered(measured: Mapping[str, Activations], field: str) -> pl.DataFrame:
    """Return all rows with the number of their layer, and the name of what was measured in a field."""
    rows = []
    for name, found in measured.items():
        layers = dict.fromkeys(row["activation"] for row in found.rows)
        numbers = {layer: place for place, layer in enumerate(layers, 1)}
        for row in found.rows:
            rows.append({field: name, "layer": numbers[row["activation"]], **row})
    return pl.DataFrame(rows, infer_schema_length=None)


def _layer_axis(layers: int) -> alt.X:
    scale = alt.Scale(domain=[0.4, layers + 0.6], nice=False)
    step = max(1, round(layers / 10))
    values = list(range(step, layers + 1, step))
    return alt.X("layer:Q", title=_LAYER, scale=scale, axis=alt.Axis(values=values, format="d", grid=False))


def _floor(shares: Sequence[float]) -> float:
    """Return where shares of zero are drawn: a decade below the decade of the smallest other share.

    >>> _floor([0.0, 0.002, 0.1]), _floor([0.0])
    (0.0001, 0.001)
    """
    positive = [share for share in shares if share > 0]
    lowest = floor(log10(min(positive))) if positive else -2
    return float(f"1e{lowest - 1}")


def _at(rate: float) -> str:
    """Return a panel's title.

    >>> _at(0.0), _at(1e-7)
    ('without faults', 'rate 1e-7')
    """
    return f"rate {rate_text(rate)}" if rate else "without faults"
