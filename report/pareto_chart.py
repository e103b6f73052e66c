"""What protection costs and what it buys, as a chart: check bits against accuracy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import altair as alt

from ftonnx.advice import Advice
from ftonnx.files import write_file
from ftonnx.report.chart_parts import Layers, cycled_scale, layered
from ftonnx.report.design import CHART_SIZE, INK, MIDDLE, SERIES, SHAPES
from ftonnx.report.drawing import check_chart_name, drawn

__all__ = ["pareto_chart", "save_pareto_chart"]

_VERDICTS: Final = {"PASS": "meets the goal", "FAIL": "misses it", "INCONCLUSIVE": "undecided"}
_APART: Final = 0.03
"""Names of points stand one above the other where these are so far apart."""
_HALO: Final = 4
"""Pixels of white around names, so that no line runs through them; chart files are on white ground."""
_TICKS: Final = 6  # about so many
_LABELS_APART: Final = 8  # pixels
_LEAST_DOMAIN: Final = 0.01
"""End of the axis where nothing costs anything."""


def pareto_chart(advice: Advice) -> Layers:
    """Return accuracy against check bits: what was predicted as a line, what campaigns found as points with limits.

    Protections without check bits stand at 0; the rule is the goal.
    """
    largest = max(each.share for each in advice.tried)
    ends = [largest, *(point.share for point in advice.frontier)]
    x = alt.X(
        "share:Q",
        title=_title(advice),
        axis=alt.Axis(format="~p", tickCount=_TICKS, labelOverlap=True, labelSeparation=_LABELS_APART),
        scale=alt.Scale(type="sqrt", domain=[0, max(ends) or _LEAST_DOMAIN], nice=False),
    )
    y = alt.Y(
        "accuracy:Q",
        title=f"{advice.headline_label} at {advice.goal.rate:g}",
        axis=alt.Axis(format="~%"),
        scale=alt.Scale(zero=False),
    )
    predicted = alt.Chart(_rows([point.to_dict() for point in advice.frontier]))
    line = predicted.mark_line(color=MIDDLE, strokeWidth=2, strokeDash=[6, 3], aria=False).encode(x, y)
    goal = alt.Chart(_rows([{"accuracy": advice.goal.bound}])).mark_rule(color=INK, strokeWidth=1).encode(y)
    tried = alt.Chart(_rows(_tried(advice)))
    labels = list(_VERDICTS.values())
    legend = alt.Legend(title=None, orient="bottom", direction="horizontal")
    color = alt.Color("verdict:N", legend=legend, scale=cycled_scale(labels, (SERIES[2], SERIES[1], SERIES[6])))
    shape = alt.Shape("verdict:N", legend=legend, scale=cycled_scale(labels, SHAPES))
    tooltip = [
        alt.Tooltip("name:N", title="protection"),
        alt.Tooltip("check_bits:Q", title="check bits", format=","),
        alt.Tooltip("accuracy:Q", format=".2%"),
        alt.Tooltip("low:Q", title="at least", format=".2%"),
        alt.Tooltip("high:Q", title="at most", format=".2%"),
    ]
    limits = tried.mark_rule(strokeWidth=2, aria=False).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"), color)
    points = tried.mark_point(filled=True, size=90, opacity=1).encode(x, y, color, shape, tooltip=tooltip)
    # what costs much stands at the right end, where there is no room beyond it
    base = tried.transform_calculate(is_right=f"datum.share > {largest / 2}")
    named = base.encode(x, y, alt.Text("label:N"))
    halos = _at_points(named, stroke="white", strokeWidth=_HALO)
    description = "Accuracy against the check bits of protections; a rule marks the goal"
    return layered([line, goal, *halos, limits, points, *_at_points(named)], CHART_SIZE[1], description)


def _at_points(named: alt.Chart, **style: Any) -> list[alt.Chart]:
    """Return the names beside their points: on the right of them, and on the left at the right end."""
    left = named.transform_filter("!datum.is_right").mark_text(align="left", dx=9, dy=-7, aria=False, **style)
    right = named.transform_filter("datum.is_right").mark_text(align="right", dx=-9, dy=-7, aria=False, **style)
    return [left, right]


def _title(advice: Advice) -> list[str]:
    """Return the title of the axis of costs, in lines, with what is drawn besides the points."""
    plans = "dashed: cheapest plans, by prediction; " if advice.frontier else ""
    return ["check bits, share of the model's bits (root scale)", f"{plans}across: the goal"]


def _tried(advice: Advice) -> list[dict[str, Any]]:
    """Return a row for every protection that a campaign ran."""
    rows = []
    for each in advice.tried:
        found = each.accuracy
        if found is not None:
            row = {
                "name": each.name,
                "share": each.share,
                "check_bits": each.check_bits,
                "accuracy": found.mean,
                "low": found.low,
                "high": found.high,
                "verdict": _VERDICTS[each.verdict],
            }
            rows.append(row)
    for row in rows:
        row["label"] = _label(row, rows)
    return rows


def _label(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Return what stands beside a point: all names at about its place, of which the first one bears them.

    >>> rows = [{"name": name, "share": 0.0, "accuracy": accuracy} for name, accuracy in zip("abc", (0.9, 0.91, 0.5))]
    >>> [_label(row, rows) for row in rows]
    ['a, b', '', 'c']
    """
    names = [
        other["name"]
        for other in rows
        if other["share"] == row["share"] and abs(other["accuracy"] - row["accuracy"]) < _APART
    ]
    return ", ".join(names) if names[0] == row["name"] else ""


def _rows(values: list[dict[str, Any]]) -> alt.Data:
    return alt.Data(values=values)  # type: ignore[no-untyped-call]


def save_pareto_chart(advice: Advice, path: Path) -> None:
    """Write the chart as PNG, SVG or PDF, by its name.

    Raises:
        UsageError: the name says none of them, or the file cannot be written.
    """
    check_chart_name(path)
    title = f"What protects {advice.model}, and what it costs"
    write_file(drawn(pareto_chart(advice), path.suffix[1:].lower(), title=title), path)
