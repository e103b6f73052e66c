"""The charts of layers: what single faults do in each, and how many bits it stores."""

from typing import Any, Final

import altair as alt
import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.report.chart_parts import Layers, cycled_scale, layered, name_axis, values_of
from ftonnx.report.design import HARM, MIDDLE, ON_DARK, ON_LIGHT, ROW, SERIES
from ftonnx.report.formats import percent
from ftonnx.report.tables import fault_space_table, vulnerability_table

__all__ = ["fault_space_chart", "ranking_chart", "vulnerability_chart"]

_MOST_RANKED: Final = 24
_NO_ROOM: Final = "width < 300"
"""For more than a share behind a mark, in an expression of Vega's."""
_CELL_TEXT: Final = "bandwidth('x') > 16 ? 8 : 0"
_NUMBER: Final = "datum.injections < 1000 ? format(datum.injections, 'd') : format(datum.injections, '.1~s')"


def vulnerability_chart(result: CampaignResult) -> Layers:
    """Return the heat map of one model: the share of images that got another class, per tensor and bit.

    A cell that was tried has an outline and its number of injections, however little harm it did; a bit that was
    not tried is a dot.
    """
    cells = vulnerability_table([result])
    missing = _not_tried(result, cells)
    tensors = _tensors(result, cells)
    bits = sorted({*cells["bit"].to_list(), *missing["bit"].to_list()}, reverse=True)
    x = alt.X(
        "bit:O",
        title="bit (0 is the least significant)",
        sort=None,
        scale=alt.Scale(domain=bits, paddingInner=0.05),
        axis=alt.Axis(orient="top", labelAngle=0, labelOverlap=True),
    )
    y = alt.Y(
        "tensor:N", title=None, sort=tensors, scale=alt.Scale(domain=tensors, paddingInner=0.05), axis=name_axis()
    )
    most = max(0.01, *cells["critical_share"].to_list())
    steps = len(HARM) - 1
    color = alt.Color(
        "critical_share:Q",
        title="critical",
        scale=alt.Scale(domain=[most * step / steps for step in range(steps + 1)], range=list(HARM)),
        legend=alt.Legend(format=".0%", orient="bottom", direction="horizontal", gradientLength=200),
    )
    tooltip = [
        alt.Tooltip("tensor:N"),
        alt.Tooltip("bit:Q"),
        alt.Tooltip("critical_share:Q", title="critical", format=".2%"),
        alt.Tooltip("critical_share_low:Q", title="interval from", format=".2%"),
        alt.Tooltip("critical_share_high:Q", title="to", format=".2%"),
        alt.Tooltip("injections:Q", format=","),
        alt.Tooltip("images:Q", format=","),
    ]
    measured = alt.Chart(values_of(cells))
    tried = measured.mark_rect(aria=False, stroke=MIDDLE, strokeWidth=1).encode(x, y, color, tooltip=tooltip)
    dots = alt.Chart(values_of(missing)).mark_circle(size=5, opacity=1, color=MIDDLE, aria=False).encode(x, y)
    is_dark = f"datum.critical_share > {most / 2}"
    text_color = alt.condition(is_dark, alt.value(ON_DARK), alt.value(ON_LIGHT))
    # they lie over the cells, and the mouse meets them first
    numbers = measured.mark_text(fontSize=alt.ExprRef(_CELL_TEXT), aria=False)
    numbers = numbers.transform_calculate(number=_NUMBER).encode(
        x, y, alt.Text("number:N"), color=text_color, tooltip=tooltip
    )
    return layered([dots, tried, numbers], ROW * len(tensors), "Share of critical outcomes per tensor and bit")


def _tensors(result: CampaignResult, cells: pl.DataFrame) -> list[str]:
    """Return all tensors in the order of the graph."""
    stored = [tensor.tensor for tensor in result.fault_space.tensors]
    return list(dict.fromkeys([*stored, *cells["tensor"].to_list()]))


def _not_tried(result: CampaignResult, cells: pl.DataFrame) -> pl.DataFrame:
    """Return a row for every bit of every tensor that can flip and was not hit."""
    hit = set(cells.select("tensor", "bit").iter_rows())
    rows = []
    for tensor in result.fault_space.tensors:
        each = tensor.flippable or range(tensor.bits // max(tensor.elements, 1))
        rows += [{"tensor": tensor.tensor, "bit": bit} for bit in each if (tensor.tensor, bit) not in hit]
    return pl.DataFrame(rows, schema={"tensor": pl.String, "bit": pl.Int64})


def ranking_chart(result: CampaignResult) -> Layers:
    """Return the tensors in which single faults did most harm, the worst first, with intervals over injections."""
    groups = result.ranking("tensor").groups[:_MOST_RANKED]
    rows: list[dict[str, Any]] = []
    for group in groups:
        share = group.share
        rows.append(
            {
                "tensor": group.name,
                "share": share.mean,
                "low": share.mean if share.low is None else share.low,
                "high": share.mean if share.high is None else share.high,
                "brief": percent(share.mean, 1),
                "said": f"{percent(share.mean, 1)} of {group.injections:,}",
            }
        )
    names = [group.name for group in groups]
    base = alt.Chart(values_of(pl.DataFrame(rows)))
    y = alt.Y("tensor:N", title=None, sort=names, axis=name_axis())
    title = "critical share, with its interval"
    axis = alt.Axis(format=".0%", tickCount=5, labelOverlap=True, labelExpr="datum.value > 1 ? '' : datum.label")
    # room for the numbers behind the upper limits
    reach = 1.5 * max(max(row["high"] for row in rows), 0.01)
    scale = alt.Scale(domain=[0, reach], nice=False)
    low = alt.X("low:Q", title=title, scale=scale, axis=axis)
    limits = base.mark_rule(strokeWidth=2, color=SERIES[0], aria=False).encode(low, alt.X2("high:Q"), y)
    points = base.mark_point(filled=True, size=60, opacity=1, color=SERIES[0], aria=False)
    shown = base.transform_calculate(number=f"{_NO_ROOM} ? datum.brief : datum.said")
    numbers = shown.mark_text(align="left", dx=6, aria=False).encode(alt.X("high:Q"), y, alt.Text("number:N"))
    layers = [limits, points.encode(alt.X("share:Q", title=title), y), numbers]
    return layered(layers, 1.3 * ROW * len(names), "Tensors by the harm that single faults in them do")


def fault_space_chart(result: CampaignResult) -> Layers:
    """Return how many of one model's bits each layer stores, by role, in the order of the graph."""
    bits = fault_space_table([result])
    layers = bits.sort("bits", descending=True, maintain_order=True).group_by("node", maintain_order=True)
    bits = bits.join(layers.agg(layer=pl.col("tensor").first()), on="node", how="left", maintain_order="left")
    names = bits["layer"].unique(maintain_order=True).to_list()
    roles = bits["role"].unique(maintain_order=True).to_list()
    totals = bits.group_by("layer", maintain_order=True).agg(pl.col("bits").sum())
    reach = 1.15 * max(totals["bits"].to_list())
    y = alt.Y("layer:N", title=None, sort=names, axis=name_axis())
    x = alt.X(
        "bits:Q",
        title="bits that can flip",
        axis=alt.Axis(format="~s", tickCount=5),
        scale=alt.Scale(domain=[0, reach], nice=False),
    )
    bars = (
        alt.Chart(values_of(bits))
        .mark_bar()
        .encode(
            x,
            y,
            alt.Color(
                "role:N",
                scale=cycled_scale(roles, SERIES),
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
    numbers = alt.Chart(values_of(totals)).mark_text(align="left", dx=4, aria=False)
    numbers = numbers.encode(x, y, alt.Text("bits:Q", format=".3~s"))
    return layered([bars, numbers], ROW * len(names), "Bits that can flip per layer")
