"""The picture of all ratios that have a goal: the median, its interval, and the mark that must not be passed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import altair as alt
from PIL import Image

__all__ = ["save_charts"]

REACHED, MISSED, GOAL = "#0072B2", "#D55E00", "#000000"
WIDTH: Final = 560


def save_charts(content: Mapping[str, Any], stem: Path) -> None:
    """Write ``stem``.svg and ``stem``.png."""
    rows = [
        {"script": script["name"], "verdict": "reached" if line["ratio"] <= line["goal"] else "missed"}
        | {key: line[key] for key in ("case", "ratio", "low", "high", "goal")}
        for script in content["scripts"]
        for line in script["lines"]
        if line.get("goal") is not None and line["low"] > 0  # the axis is logarithmic
    ]
    if not rows:
        return
    chart = ratios(rows, f"Ratios and goals, {content['date']}, {content['machine']['cpu']}")
    chart.save(f"{stem}.svg")
    chart.save(f"{stem}.png", scale_factor=2)
    with Image.open(f"{stem}.png") as picture:  # few colours: a palette takes a tenth of the bytes
        small = picture.convert("RGB").quantize(64)
    small.save(f"{stem}.png", optimize=True)


def ratios(rows: list[dict[str, Any]], title: str) -> alt.LayerChart:
    """Return the chart: cases from top to bottom in their order, ratios on a log axis."""
    cases = alt.Y("case:N", sort=[row["case"] for row in rows], title=None, axis=alt.Axis(labelLimit=360))
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=["reached", "missed"], range=[REACHED, MISSED]),
        legend=alt.Legend(title="goal", orient="top"),
    )
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=["reached", "missed"], range=["circle", "diamond"]))
    log = alt.Scale(type="log", nice=False, padding=20)
    axis = alt.X("ratio:Q", scale=log, title="ratio (bar: 95 % interval; tick: goal, left is better)")
    base = alt.Chart(alt.Data(values=rows)).encode(y=cases)
    interval = base.mark_rule(strokeWidth=2).encode(alt.X("low:Q", scale=log), x2="high:Q", color=colour)
    median = base.mark_point(filled=True, size=70, opacity=1).encode(x=axis, color=colour, shape=shape)
    goal = base.mark_tick(color=GOAL, thickness=3, height=16).encode(x=alt.X("goal:Q", scale=log))
    return alt.layer(interval, goal, median).properties(width=WIDTH, title=title)
