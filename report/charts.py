"""The charts, each defined once for the page and for PNG, SVG and PDF.

Colours are Okabe and Ito's, chosen for people with any colour vision; every series also has a dash pattern and a point
shape of its own, and the colours of outcomes differ in lightness, so that nothing is lost in print.
"""

from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any, Final, TypeAlias

import altair as alt
import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.report.activations import Activations
from ftonnx.report.formats import rate_text
from ftonnx.report.tables import (
    activations_table,
    fault_space_table,
    golden_table,
    outcomes_table,
    rates_table,
    swept,
    vulnerability_table,
)
from ftonnx.tasks import Task

__all__ = [
    "COLORS",
    "THEME",
    "Chart",
    "Series",
    "accuracy_chart",
    "activation_chart",
    "clipped_chart",
    "curve_layers",
    "fault_space_chart",
    "outcome_chart",
    "plot",
    "rate_name",
    "series",
    "values_of",
    "vulnerability_chart",
]

Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart
"""A chart of altair's: it can be changed, saved, and shows itself in notebooks."""
Series: TypeAlias = tuple[alt.Color, alt.StrokeDash, alt.Shape]
"""How models are told apart."""

COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
_DASHES: Final = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [12, 5])
_SHAPES: Final = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
_OUTCOME_COLORS: Final = ("#BFE3F7", "#56B4E9", "#D55E00", "#4D4D4D")
THEME: Final = {
    "font": "system-ui, Liberation Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#ddd"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "symbolOpacity": 1},
}
"""The look of all charts, as a Vega-Lite config."""

_WIDTH: Final = 620
_HEIGHT: Final = 340
_ROW: Final = 15
_NARROW: Final = "width < 450"
_RATE_TITLE: Final = "bit-fault rate (flips per bit)"
_WIDE_LEGEND: Final = alt.Legend(
    orient="bottom",
    direction="horizontal",
    columns=alt.ExprRef(f"{_NARROW} ? 1 : 2"),
    labelLimit=alt.ExprRef(f"{_NARROW} ? width : width / 2 - 30"),
    symbolSize=90,
    symbolStrokeWidth=0,
)


def accuracy_chart(results: Sequence[CampaignResult]) -> Chart:
    """Return the headline, such as top-1 accuracy, against the fault rate on a log axis: curves with interval bands.

    Horizontal lines are the fault-free values. Rate 0, which has no place on a log axis, and campaigns of single
    injections are left out.
    """
    task = results[0].task
    main = task.headline
    names = [name for name, _ in swept(results)]
    rates = rates_table(results).filter((pl.col("rate") > 0) & pl.col("model").is_in(names))
    golden = golden_table(results).select("model", main).filter(pl.col("model").is_in(names))
    measured = alt.Chart(values_of(rates.with_columns(rate_name())))
    free = alt.Chart(values_of(golden))
    layers = curve_layers(measured, free, rates["rate"].to_list(), task, series(names, _WIDE_LEGEND))
    title = task.main.title
    description = f"{title[0].upper()}{title[1:]} against the bit-fault rate"
    return _sized(alt.layer(*layers), _HEIGHT, description)


def curve_layers(
    measured: alt.Chart,
    free: alt.Chart,
    rates: Sequence[float],
    task: Task,
    styles: Series,
) -> tuple[alt.Chart, ...]:
    """Return the layers of curves: interval bands, fault-free levels, lines, points.

    Args:
        measured: with a row for every model and rate of ``rates_table``, and the rate's name.
        free: with a row for every model, and its fault-free headline.
        rates: those that the axis has to show, above 0.
        task: whose headline is drawn.
        styles: how models are told apart.
    """
    main = task.headline
    title = task.main.title
    label = task.main.label
    x = _rate_axis(rates)
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
    levels = free.mark_rule(strokeWidth=1, opacity=0.8, aria=False).encode(y, color, dash)
    lines = measured.mark_line(strokeWidth=2, aria=False).encode(x, y, color, dash)
    points = measured.mark_point(filled=True, size=75, opacity=1).encode(x, y, color, shape, tooltip=tooltip)
    return bands, levels, lines, points


def plot(*results: CampaignResult) -> Chart:
    """Return the accuracy chart of one or several results."""
    return accuracy_chart(results)


def outcome_chart(result: CampaignResult) -> Chart:
    """Return what becomes of one model's images per fault rate, in shares that are stacked."""
    parts = result.task.parts
    shares = outcomes_table([result]).with_columns(
        rate_name(), order=pl.col("outcome").replace_strict(parts, range(len(parts)), return_dtype=pl.Int64)
    )
    rates = [rate_text(rate.rate) for rate in result.rates]
    chart = (
        alt.Chart(values_of(shares))
        .mark_bar(stroke="#999", strokeWidth=0.5)
        .encode(
            alt.X("rate_name:O", sort=rates, title=_RATE_TITLE, axis=alt.Axis(labelAngle=_angle(len(rates)))),
            alt.Y("share:Q", title="share of images", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1])),
            alt.Color(
                "outcome:N",
                scale=_scale(list(parts), _OUTCOME_COLORS),
                legend=alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="square"),
            ),
            alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("rate_name:N", title="bit-fault rate"),
                alt.Tooltip("outcome:N"),
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
    )
    return _sized(chart, 220, "Shares of outcomes per bit-fault rate")


def vulnerability_chart(result: CampaignResult) -> Chart:
    """Return the heat map of one model: the share of images that got another class, per tensor and bit that was hit."""
    cells = vulnerability_table([result])
    tensors = cells["tensor"].unique(maintain_order=True).to_list()
    bits = sorted(cells["bit"].unique().to_list(), reverse=True)
    chart = (
        alt.Chart(values_of(cells))
        .mark_rect(aria=False)
        .encode(
            alt.X(
                "bit:O",
                title="bit (0 is the least significant)",
                sort=None,
                scale=alt.Scale(domain=bits, paddingInner=0.05),
                axis=alt.Axis(orient="top", labelAngle=0, labelOverlap=True),
            ),
            alt.Y("tensor:N", title=None, sort=tensors, scale=alt.Scale(paddingInner=0.05), axis=_name_axis()),
            alt.Color(
                "critical_share:Q",
                title="critical",
                scale=alt.Scale(scheme="cividis", domainMin=0),
                legend=alt.Legend(format=".0%", orient="bottom", direction="horizontal", gradientLength=200),
            ),
            tooltip=[
                alt.Tooltip("tensor:N"),
                alt.Tooltip("bit:Q"),
                alt.Tooltip("critical_share:Q", title="critical", format=".2%"),
                alt.Tooltip("critical_share_low:Q", title="interval from", format=".2%"),
                alt.Tooltip("critical_share_high:Q", title="to", format=".2%"),
                alt.Tooltip("injections:Q", format=","),
                alt.Tooltip("images:Q", format=","),
            ],
        )
    )
    return _sized(chart, _ROW * len(tensors), "Share of critical outcomes per tensor and bit")


def fault_space_chart(result: CampaignResult) -> Chart:
    """Return how many of one model's bits each layer stores, by role, in the order of the graph."""
    bits = fault_space_table([result])
    layers = bits.sort("bits", descending=True, maintain_order=True).group_by("node", maintain_order=True)
    bits = bits.join(layers.agg(layer=pl.col("tensor").first()), on="node", how="left", maintain_order="left")
    names = bits["layer"].unique(maintain_order=True).to_list()
    roles = bits["role"].unique(maintain_order=True).to_list()
    chart = (
        alt.Chart(values_of(bits))
        .mark_bar()
        .encode(
            alt.X("bits:Q", title="bits that can flip", axis=alt.Axis(format="~s", tickCount=5)),
            alt.Y("layer:N", title=None, sort=names, axis=_name_axis()),
            alt.Color(
                "role:N",
                scale=_scale(roles, COLORS),
                legend=alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="square"),
            ),
            tooltip=[
                alt.Tooltip("tensor:N"),
                alt.Tooltip("role:N"),
                alt.Tooltip("op_type:N", title="operator"),
                alt.Tooltip("shape:N"),
                alt.Tooltip("bits:Q", format=","),
            ],
        )
    )
    return _sized(chart, _ROW * len(names), "Bits that can flip per layer")


def activation_chart(measured: Activations) -> Chart:
    """Return range (thin), quartiles (thick) and median (light) of each activation per fault rate, on a symlog axis."""
    rows = activations_table([measured]).with_columns(rate_name())
    rates = rows["rate_name"].unique(maintain_order=True).to_list()
    names = rows["activation"].unique(maintain_order=True).to_list()
    y = alt.Y("activation:N", title=None, sort=names, axis=_name_axis())
    offset = alt.YOffset("rate_name:N", sort=rates)
    color = _rate_color(rates)
    symlog, axis = alt.Scale(type="symlog"), alt.Axis(values=_symlog_ticks(rows), format="~g", labelOverlap=True)
    tooltip = [alt.Tooltip("activation:N"), alt.Tooltip("rate_name:N", title="bit-fault rate")] + [
        alt.Tooltip(f"{name}:Q", format=".4~g")
        for name in ("minimum", "quartile1", "median", "quartile3", "maximum", "mean")
    ]
    base = alt.Chart(values_of(rows)).encode(y, offset, color, tooltip=tooltip)
    title = "value (linear near 0, then logarithmic)"
    whole = base.mark_rule(strokeWidth=1.5).encode(
        alt.X("minimum:Q", title=title, scale=symlog, axis=axis), alt.X2("maximum:Q")
    )
    middle = base.mark_bar(height=7).encode(alt.X("quartile1:Q", title=title, scale=symlog), alt.X2("quartile3:Q"))
    median = base.mark_tick(thickness=2, size=9, opacity=1).encode(
        alt.X("median:Q", title=title, scale=symlog), color=alt.value("#F0E442")
    )
    height = _ROW * len(rows) + 6 * len(names)
    return _sized(alt.layer(whole, middle, median), height, "Range and quartiles of each activation")


def clipped_chart(measured: Activations) -> Chart:
    """Return the share of each activation's values that lie above its clipping threshold, per fault rate."""
    rows = activations_table([measured]).filter(pl.col("above").is_not_null()).with_columns(rate_name())
    rates = rows["rate_name"].unique(maintain_order=True).to_list()
    names = rows["activation"].unique(maintain_order=True).to_list()
    chart = (
        alt.Chart(values_of(rows))
        .mark_bar()
        .encode(
            alt.X("above:Q", title="share of values above the threshold", axis=alt.Axis(format="~%", tickCount=5)),
            alt.Y("activation:N", title=None, sort=names, axis=_name_axis()),
            alt.YOffset("rate_name:N", sort=rates),
            _rate_color(rates),
            tooltip=[
                alt.Tooltip("activation:N"),
                alt.Tooltip("rate_name:N", title="bit-fault rate"),
                alt.Tooltip("above:Q", title="above the threshold", format=".4%"),
            ],
        )
    )
    return _sized(chart, _ROW * len(rows), "Share of values above the clipping threshold")


def _sized(chart: Chart, height: int, description: str) -> Chart:
    """Give a chart its size and what a screen reader says."""
    sized: Chart = chart.properties(width=_WIDTH, height=height, description=description)
    return sized


def values_of(frame: pl.DataFrame) -> alt.Data:
    """Put the rows themselves into the chart; altair's own way stops at 5,000."""
    return alt.Data(values=frame.to_dicts())  # type: ignore[no-untyped-call]


def rate_name() -> pl.Expr:
    """Return a column with the rates as they are written."""
    return pl.col("rate").map_elements(rate_text, return_dtype=pl.String).alias("rate_name")


def _rate_axis(rates: Sequence[float]) -> alt.X:
    """Return a log axis with one tick per decade, or one per rate where they lie within a decade."""
    low, high = (min(rates), max(rates)) if rates else (1e-8, 1e-5)
    decades = [float(f"1e{power}") for power in range(ceil(log10(low)), floor(log10(high)) + 1)]
    return alt.X(
        "rate:Q",
        title=_RATE_TITLE,
        scale=alt.Scale(type="log", domain=[low / 1.3, high * 1.3], nice=False),
        axis=alt.Axis(values=decades if len(decades) > 1 else sorted(set(rates)), format=".0e", labelOverlap=True),
    )


def _symlog_ticks(rows: pl.DataFrame) -> list[float]:
    """Return ticks for both signs: 0 and powers of ten up to the largest value, with 2 and 5 between for small ones."""
    reach = max(abs(value or 0.0) for name in ("minimum", "maximum") for value in rows[name])
    steps = (1, 2, 5) if reach < 100 else (1,)
    positive = [float(step * 10**power) for power in range(ceil(log10(max(reach, 1))) + 1) for step in steps]
    return [*(-value for value in reversed(positive)), 0.0, *positive]


def series(names: Sequence[str], legend: alt.Legend | None) -> Series:
    """Return the three encodings that tell models apart; their cycles have no common length below 280."""
    domain = list(names)
    return (
        alt.Color("model:N", title=None, legend=legend, scale=_scale(domain, COLORS)),
        alt.StrokeDash("model:N", title=None, legend=legend, scale=_scale(domain, _DASHES)),
        alt.Shape("model:N", title=None, legend=legend, scale=_scale(domain, _SHAPES)),
    )


def _scale(domain: list[str], styles: Sequence[Any]) -> alt.Scale:
    return alt.Scale(domain=domain, range=_cycled(styles, len(domain)))


def _cycled(styles: Sequence[Any], count: int) -> list[Any]:
    """Repeat styles up to a count.

    >>> _cycled("ab", 3)
    ['a', 'b', 'a']
    """
    return [styles[index % len(styles)] for index in range(count)]


def _rate_color(rates: Sequence[str]) -> alt.Color:
    legend = alt.Legend(orient="bottom", direction="horizontal")
    return alt.Color("rate_name:N", title="bit-fault rate", legend=legend, scale=_scale(list(rates), COLORS))


def _name_axis() -> alt.Axis:
    """Return an axis of tensor names, which are long: half of them fits a phone, tooltip and table show all."""
    return alt.Axis(labelLimit=alt.ExprRef(f"{_NARROW} ? 150 : 280"), labelFontSize=11, ticks=False)


def _angle(count: int) -> int:
    return 0 if count <= 8 else -45
