"""What models lose, near the fault-free line: a panel each, with numbers."""

from typing import Any, Final

import altair as alt
import polars as pl

from ftonnx.report.cells import Named
from ftonnx.report.chart_parts import Chart, rate_axis, rate_name, series, values_of
from ftonnx.report.decision import Demand
from ftonnx.report.design import INK, MIDDLE
from ftonnx.report.panels import laid_out

__all__ = ["loss_panels"]

_TITLE: Final = "points from fault-free"
_DEEPEST: Final = 5.0
"""Points below the fault-free line that are shown at least."""
_COLUMNS: Final[dict[str, Any]] = {
    "panel": pl.String,
    "model": pl.String,
    "rate": pl.Float64,
    "hours": pl.Float64,
    "change": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
_NUMBER: Final = "abs(datum.change) < 0.05 ? '0' : format(datum.change, abs(datum.change) < 9.95 ? '+.1f' : '+.0f')"


def loss_panels(named: Named, demand: Demand) -> Chart | None:
    """Return what every model's headline loses at every rate, in points, a panel each, zoomed to small losses.

    Bands are intervals, and those of small losses are shown whole. A larger loss lies on the lower edge as a hollow
    triangle, with its number as all others.

    Args:
        named: campaigns at fault rates.
        demand: whose allowed loss is a dashed line.

    Returns:
        The chart; None where no loss is small, so that there is nothing to zoom to.
    """
    allowed = 100 * demand.loss
    depth = max(_DEEPEST, 3 * allowed)
    found = _rows(named)
    near = found.filter(pl.col("change") >= -depth)
    if near.is_empty():
        return None
    lowest = min(-depth, *near["low"].to_list())
    highest = max(0.2 * depth, *near["high"].to_list())
    rows = found.with_columns(rate_name(), is_deep=pl.col("change") < lowest)
    lines = pl.DataFrame({"allowed": [-allowed], "free": [0.0]})
    titles = [name for name, _ in named]
    color, dash, _ = series(titles, None)
    scale = alt.Scale(domain=[lowest, highest], clamp=True, nice=False)
    x = rate_axis(rows)
    y = alt.Y("change:Q", title=_TITLE, scale=scale, axis=alt.Axis(tickCount=6))
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("rate_name:N", title="bit-fault rate"),
        alt.Tooltip("change:Q", title=_TITLE, format="+.2f"),
        alt.Tooltip("low:Q", title="interval from", format="+.2f"),
        alt.Tooltip("high:Q", title="to", format="+.2f"),
    ]
    base = alt.Chart().encode(x)
    fixed = alt.Chart(values_of(lines))
    free = fixed.mark_rule(color=INK, strokeWidth=1, aria=False).encode(alt.Y("free:Q", title=_TITLE))
    least = fixed.mark_rule(color=MIDDLE, strokeDash=[4, 4], strokeWidth=1.5, aria=False).encode(alt.Y("allowed:Q"))
    bands = base.mark_area(opacity=0.16, aria=False).encode(alt.Y("low:Q", title=_TITLE), alt.Y2("high:Q"), color)
    curve = base.mark_line(strokeWidth=2, aria=False).encode(y, color, dash)
    near = base.transform_filter("!datum.is_deep").mark_point(filled=True, size=45, opacity=1)
    deep = base.transform_filter("datum.is_deep").mark_point(filled=False, size=60, opacity=1, shape="triangle-down")
    numbers = base.transform_calculate(number=_NUMBER).mark_text(dx=8, dy=-10, fontSize=10, aria=False)
    layers = (
        bands,
        free,
        least,
        curve,
        near.encode(y, color, tooltip=tooltip),
        deep.encode(y, color, tooltip=tooltip),
        numbers.encode(y, alt.Text("number:N")),
    )
    return laid_out(layers, values_of(rows), titles, "loss near the fault-free line, a panel per model")


def _rows(named: Named) -> pl.DataFrame:
    """Return a row for every model and rate above 0, in points from the model's own fault-free headline."""
    rows = []
    for name, result in named:
        for rate in result.rates:
            if rate.rate == 0:
                continue
            found = rate[result.task.headline]
            low = found.mean if found.low is None else found.low
            high = found.mean if found.high is None else found.high
            row = {"panel": name, "model": name, "rate": rate.rate, "hours": rate.hours}
            changes = {"change": found.mean, "low": low, "high": high}
            rows.append(row | {key: 100 * (value - result.clean) for key, value in changes.items()})
    return pl.DataFrame(rows, schema=_COLUMNS)
