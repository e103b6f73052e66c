"""The charts of activations: their distributions, and what clipping removes of them."""

from collections.abc import Sequence
from math import ceil, log10

import altair as alt
import polars as pl

from ftonnx.report.activations import Activations
from ftonnx.report.chart_parts import Layers, cycled_scale, layered, name_axis, rate_name, values_of
from ftonnx.report.design import INK, ROW, SERIES
from ftonnx.report.tables import activations_table

__all__ = ["activation_chart", "clipped_chart"]


def activation_chart(measured: Activations) -> Layers:
    """Return range (thin), quartiles (thick) and median (black) of each activation per fault rate, on a symlog axis."""
    rows = activations_table([measured]).with_columns(rate_name())
    rates = rows["rate_name"].unique(maintain_order=True).to_list()
    names = rows["activation"].unique(maintain_order=True).to_list()
    y = alt.Y("activation:N", title=None, sort=names, axis=name_axis())
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
        alt.X("median:Q", title=title, scale=symlog), color=alt.value(INK)
    )
    height = ROW * len(rows) + 6 * len(names)
    return layered([whole, middle, median], height, "Range and quartiles of each activation")


def clipped_chart(measured: Activations) -> Layers:
    """Return the share of each activation's values that lie above its clipping threshold, per fault rate."""
    rows = activations_table([measured]).filter(pl.col("above").is_not_null()).with_columns(rate_name())
    rates = rows["rate_name"].unique(maintain_order=True).to_list()
    names = rows["activation"].unique(maintain_order=True).to_list()
    reach = 1.15 * max(1e-9, *rows["above"].to_list())
    x = alt.X(
        "above:Q",
        title="share of values above the threshold",
        axis=alt.Axis(format="~%", tickCount=5),
        scale=alt.Scale(domain=[0, reach], nice=False),
    )
    tooltip = [
        alt.Tooltip("activation:N"),
        alt.Tooltip("rate_name:N", title="bit-fault rate"),
        alt.Tooltip("above:Q", title="above the threshold", format=".4%"),
    ]
    y = alt.Y("activation:N", title=None, sort=names, axis=name_axis())
    base = alt.Chart(values_of(rows)).encode(x, y, alt.YOffset("rate_name:N", sort=rates))
    bars = base.mark_bar().encode(_rate_color(rates), tooltip=tooltip)
    numbers = base.mark_text(align="left", dx=4, fontSize=9, aria=False).encode(alt.Text("above:Q", format=".2~%"))
    return layered([bars, numbers], ROW * len(rows), "Share of values above the clipping threshold")


def _symlog_ticks(rows: pl.DataFrame) -> list[float]:
    """Return ticks for both signs: 0 and powers of ten up to the largest value, with 2 and 5 between for small ones."""
    reach = max(abs(value or 0.0) for name in ("minimum", "maximum") for value in rows[name])
    steps = (1, 2, 5) if reach < 100 else (1,)
    positive = [float(step * 10**power) for power in range(ceil(log10(max(reach, 1))) + 1) for step in steps]
    return [*(-value for value in reversed(positive)), 0.0, *positive]


def _rate_color(rates: Sequence[str]) -> alt.Color:
    legend = alt.Legend(orient="bottom", direction="horizontal")
    return alt.Color("rate_name:N", title="bit-fault rate", legend=legend, scale=cycled_scale(list(rates), SERIES))
