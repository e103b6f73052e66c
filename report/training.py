"""How a training went, epoch by epoch, as a chart."""

from pathlib import Path
from typing import Final

import altair as alt

from ftonnx.files import write_file
from ftonnx.report.chart_parts import Chart
from ftonnx.report.design import MIDDLE, SERIES
from ftonnx.report.drawing import check_chart_name, drawn
from ftonnx.training.records import PretrainingLog, TrainingLog

__all__ = ["pretraining_chart", "save_training_chart", "training_chart"]

_IMAGES: Final = ("training images, as met", "validation images")
_DASHES: Final = ([6, 3], [1, 0])
_WIDTH: Final = 560
_HEIGHT: Final = 200
_MOST_TICKS: Final = 12
_SHARE: Final = alt.Scale(domain=[0, 1])


def training_chart(log: TrainingLog, *, as_int8: TrainingLog | None = None) -> alt.VConcatChart:
    """Return loss and accuracy by epoch, one above the other; a line marks the best epoch.

    Args:
        log: Of the training.
        as_int8: Of a training as an int8 file that followed; it is drawn to the right, on the same axes of loss and
            accuracy.
    """
    if as_int8 is None:
        return alt.vconcat(*_column(log, None))
    pairs = zip(_column(log, "fine-tuning"), _column(as_int8, "quantization-aware training"), strict=True)
    rows = [alt.hconcat(*pair).resolve_scale(y="shared") for pair in pairs]
    return alt.vconcat(*rows)


def _column(log: TrainingLog, title: str | None) -> list[Chart]:
    """Loss and accuracy of one training."""
    rows = []
    for each in log.epochs:
        met, tested = _IMAGES
        rows.append({"epoch": each.epoch, "images": met, "loss": each.loss, "accuracy": each.accuracy})
        rows.append({"epoch": each.epoch, "images": tested, "loss": each.val_loss, "accuracy": each.val_accuracy})
    best = log.best
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    marked = alt.Data(values=[] if best is None else [{"epoch": best.epoch}])  # type: ignore[no-untyped-call]
    x = _epochs(len(log.epochs))
    loss = _panel(data, marked, x, alt.Y("loss:Q", title="cross entropy", axis=alt.Axis(format="~g")))
    accuracy = _panel(data, marked, x, alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format=".0%")))
    if title is not None:
        loss = loss.properties(title=title)
    return [loss, accuracy]


def pretraining_chart(log: PretrainingLog) -> alt.VConcatChart:
    """Return loss and spread of the features by epoch, one above the other."""
    rows = [{"epoch": each.epoch, "loss": each.loss, "spread": each.spread} for each in log.epochs]
    data = alt.Data(values=rows)  # type: ignore[no-untyped-call]
    x = _epochs(len(log.epochs))
    line = alt.Chart(data).mark_line(point={"color": SERIES[0]}, strokeWidth=2, color=SERIES[0])
    panels = []
    for name, title, scale in (("loss", "loss", alt.Scale(zero=False)), ("spread", "spread of features", _SHARE)):
        y = alt.Y(f"{name}:Q", title=title, axis=alt.Axis(format="~g"), scale=scale)
        panels.append(line.encode(x, y).properties(width=_WIDTH, height=_HEIGHT, description=f"{title} by epoch"))
    return alt.vconcat(*panels)


def save_training_chart(log: TrainingLog | PretrainingLog, path: Path, *, as_int8: TrainingLog | None = None) -> None:
    """Write the chart of a training as PNG, SVG or PDF, by its name.

    Args:
        log: of the training.
        path: the file.
        as_int8: of a training as an int8 file that followed.

    Raises:
        UsageError: the name says none of them, or the file cannot be written.
    """
    check_chart_name(path)
    chart = pretraining_chart(log) if isinstance(log, PretrainingLog) else training_chart(log, as_int8=as_int8)
    write_file(drawn(chart, path.suffix[1:].lower(), title="Training, epoch by epoch"), path)


def _epochs(count: int) -> alt.X:
    """Return the axis of epochs, whole numbers from 1."""
    scale = alt.Scale(zero=False, nice=False, padding=12)
    # given as they are: by its own choice an axis of few epochs has halves, rounded
    axis = alt.Axis(values=_ticks(count), format="d")
    return alt.X("epoch:Q", title="epoch", axis=axis, scale=scale)


def _ticks(count: int) -> list[int]:
    """Return epochs to name, few enough to be read.

    >>> _ticks(3), _ticks(30), _ticks(100)
    ([1, 2, 3], [5, 10, 15, 20, 25, 30], [10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    """
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    step = next(step for step in steps if count <= step * _MOST_TICKS)
    return list(range(step, count + 1, step))


def _panel(data: alt.Data, marked: alt.Data, x: alt.X, y: alt.Y) -> Chart:
    """Return both lines of a figure, and the rule of the best epoch."""
    legend = alt.Legend(orient="bottom", direction="horizontal")
    color = alt.Color("images:N", title=None, legend=legend, scale=alt.Scale(domain=_IMAGES, range=list(SERIES[:2])))
    dash = alt.StrokeDash("images:N", title=None, legend=legend, scale=alt.Scale(domain=_IMAGES, range=_DASHES))
    lines = alt.Chart(data).mark_line(point=True, strokeWidth=2).encode(x, y, color, dash)
    best = alt.Chart(marked).mark_rule(color=MIDDLE).encode(x)
    description = f"{y.title} by epoch; a line marks the best epoch"
    layered: Chart = alt.layer(best, lines).properties(width=_WIDTH, height=_HEIGHT, description=description)
    return layered
