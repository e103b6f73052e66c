"""How a training went, epoch by epoch, as a chart."""

from pathlib import Path
from typing import Final

import altair as alt

from ftonnx.errors import UsageError
from ftonnx.files import write_file
from ftonnx.report.charts import Chart
from ftonnx.report.drawing import CHART_FORMATS, drawn
from ftonnx.training.records import PretrainingLog, TrainingLog

__all__ = ["check_chart_name", "pretraining_chart", "save_training_chart", "training_chart"]

_SERIES: Final = ("training images, as met", "validation images")
_COLORS: Final = ("#0072B2", "#D55E00")
_DASHES: Final = ([6, 3], [1, 0])
_WIDTH: Final = 560
_HEIGHT: Final = 200
_EPOCHS: Final = alt.Scale(zero=False, nice=False, padding=12)


def training_chart(log: TrainingLog) -> alt.VConcatChart:
    """Return loss and accuracy by epoch, one above the other; a line marks the best epoch."""
    rows = []
    for each in log.epochs:
        met, tested = _SERIES
        rows.append({"epoch": each.epoch, "images": met, "loss": each.loss, "accuracy": each.accuracy})
        rows.append({"epoch": each.epoch, "images": tested, "loss": each.val_loss, "accuracy": each.val_accuracy})
    best = log.best
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    marked = alt.Data(values=[] if best is None else [{"epoch": best.epoch}])  # type: ignore[no-untyped-call]
    loss = _panel(data, marked, "loss", "cross entropy", "~g")
    accuracy = _panel(data, marked, "accuracy", "accuracy", ".0%")
    return alt.vconcat(loss, accuracy)


def pretraining_chart(log: PretrainingLog) -> alt.VConcatChart:
    """Return loss and spread of the features by epoch, one above the other."""
    rows = [{"epoch": each.epoch, "loss": each.loss, "spread": each.spread} for each in log.epochs]
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    loss = _panel_of_one(data, "loss", "loss", alt.Scale(zero=False))
    spread = _panel_of_one(data, "spread", "spread of features", alt.Scale(domain=[0, 1]))
    return alt.vconcat(loss, spread)


def check_chart_name(path: Path) -> None:
    """Refuse a name that says no format.

    Raises:
        UsageError: it does not end in one of ``CHART_FORMATS``.
    """
    if path.suffix[1:].lower() not in CHART_FORMATS:
        raise UsageError(f"{path}: a name that ends in .{', .'.join(CHART_FORMATS)} was expected")


def save_training_chart(log: TrainingLog | PretrainingLog, path: Path) -> None:
    """Write the chart as PNG, SVG or PDF, by its name.

    Raises:
        UsageError: the name says none of them, or the file cannot be written.
    """
    check_chart_name(path)
    chart = pretraining_chart(log) if isinstance(log, PretrainingLog) else training_chart(log)
    write_file(drawn(chart, path.suffix[1:].lower()), path)


def _panel_of_one(data: alt.Data, name: str, title: str, scale: alt.Scale) -> Chart:
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=_EPOCHS)
    y = alt.Y(f"{name}:Q", title=title, axis=alt.Axis(format="~g"), scale=scale)
    line = alt.Chart(data).mark_line(point=True, strokeWidth=2, color=_COLORS[0]).encode(x, y)
    drawn_line: Chart = line.properties(width=_WIDTH, height=_HEIGHT, description=f"{title} by epoch")
    return drawn_line


def _panel(data: alt.Data, marked: alt.Data, name: str, title: str, number_format: str) -> Chart:
    legend = alt.Legend(orient="bottom", direction="horizontal")
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=_EPOCHS)
    y = alt.Y(f"{name}:Q", title=title, axis=alt.Axis(format=number_format))
    color = alt.Color("images:N", title=None, legend=legend, scale=alt.Scale(domain=_SERIES, range=_COLORS))
    dash = alt.StrokeDash("images:N", title=None, legend=legend, scale=alt.Scale(domain=_SERIES, range=_DASHES))
    lines = alt.Chart(data).mark_line(point=True, strokeWidth=2).encode(x, y, color, dash)
    best = alt.Chart(marked).mark_rule(color="#808080").encode(x)
    description = f"{title} by epoch; a line marks the best epoch"
    layered: Chart = alt.layer(best, lines).properties(width=_WIDTH, height=_HEIGHT, description=description)
    return layered
