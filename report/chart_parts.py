"""What charts have in common: how models are told apart, axes, rows, and how a chart shows itself."""

import json
from collections.abc import Sequence
from math import ceil, floor, log10
from typing import Any, Final, TypeAlias

import altair as alt
import polars as pl

from ftonnx.report.design import CHART_SIZE, DASHES, SERIES, SHAPES
from ftonnx.report.drawing import drawn
from ftonnx.report.formats import rate_text
from ftonnx.words import time_text

__all__ = [
    "NARROW",
    "RATE_TITLE",
    "Chart",
    "Layers",
    "Panelled",
    "Series",
    "cycled_scale",
    "layered",
    "name_axis",
    "rate_axis",
    "rate_name",
    "series",
    "values_of",
]

Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart
"""A chart of altair's: it can be changed and saved; those of this room show themselves in notebooks."""
Series: TypeAlias = tuple[alt.Color, alt.StrokeDash, alt.Shape]
"""How models are told apart."""

NARROW: Final = "width < 450"
"""On a phone, in an expression of Vega's."""
RATE_TITLE: Final = "bit-fault rate (flips per bit)"
_TIME_TITLE: Final = "time since the memory was loaded"


class _Offline:
    """A chart that shows itself as a picture, where altair's own way loads scripts from a server."""

    def _repr_mimebundle_(self, *_: Any, **__: Any) -> dict[str, str]:
        """Show the chart in a notebook."""
        return {"image/svg+xml": drawn(self, "svg").decode()}


class Layers(_Offline, alt.LayerChart):
    """Layers on one pair of axes."""


class Panelled(_Offline, alt.FacetChart):
    """Panels side by side."""


def layered(layers: Sequence[alt.Chart], height: float, description: str) -> Layers:
    """Return a chart of layers, each with its data.

    Args:
        layers: the first one is below the others.
        height: in pixels.
        description: what a screen reader says.
    """
    return Layers(layer=list(layers), width=CHART_SIZE[0], height=height, description=description)


def values_of(frame: pl.DataFrame) -> alt.Data:
    """Put the rows themselves into the chart; altair's own way stops at 5,000."""
    return alt.Data(values=frame.to_dicts())  # type: ignore[no-untyped-call]


def rate_name() -> pl.Expr:
    """Return a column with the rates as they are written."""
    return pl.col("rate").map_elements(rate_text, return_dtype=pl.String).alias("rate_name")


def rate_axis(rows: pl.DataFrame) -> alt.X:
    """Return a log axis with one tick per decade, or one per rate where they lie within a decade.

    Where upsets accumulate in every row, it has the times at which they have come to the rates.

    Args:
        rows: with ``rate``, above 0, and with ``hours`` where upsets accumulate.
    """
    rates = rows["rate"].to_list()
    low, high = (min(rates), max(rates)) if rates else (1e-8, 1e-5)
    decades = [float(f"1e{power}") for power in range(ceil(log10(low)), floor(log10(high)) + 1)]
    times = _times(rows)
    axis = alt.Axis(values=decades if len(decades) > 1 else sorted(set(rates)), format=".0e", labelOverlap=True)
    if times:
        texts = [time_text(hours) for hours in times.values()]
        label = f"{json.dumps(texts)}[indexof({json.dumps(list(times))}, datum.value)]"
        axis = alt.Axis(values=list(times), labelExpr=label, labelOverlap=True)
    return alt.X(
        "rate:Q",
        title=_TIME_TITLE if times else RATE_TITLE,
        scale=alt.Scale(type="log", domain=[low / 1.3, high * 1.3], nice=False),
        axis=axis,
    )


def _times(rows: pl.DataFrame) -> dict[float, float]:
    """Return hours since loading by rate, ascending; none where a row has none, or a rate is met at two times."""
    if "hours" not in rows.columns or rows["hours"].null_count():
        return {}
    pairs = set(rows.select("rate", "hours").iter_rows())
    times = dict(sorted(pairs))
    return times if len(times) == len(pairs) else {}


def series(names: Sequence[str], legend: alt.Legend | None) -> Series:
    """Return the three encodings that tell models apart; their cycles have no common length below 280."""
    domain = list(names)
    return (
        alt.Color("model:N", title=None, legend=legend, scale=cycled_scale(domain, SERIES)),
        alt.StrokeDash("model:N", title=None, legend=legend, scale=cycled_scale(domain, DASHES)),
        alt.Shape("model:N", title=None, legend=legend, scale=cycled_scale(domain, SHAPES)),
    )


def cycled_scale(domain: list[str], styles: Sequence[Any]) -> alt.Scale:
    """Return a scale that gives every name one of the styles in turn."""
    return alt.Scale(domain=domain, range=_cycled(styles, len(domain)))


def _cycled(styles: Sequence[Any], count: int) -> list[Any]:
    """Repeat styles up to a count.

    >>> _cycled("ab", 3)
    ['a', 'b', 'a']
    """
    return [styles[index % len(styles)] for index in range(count)]


def name_axis() -> alt.Axis:
    """Return an axis of tensor names, which are long: half of them fits a phone, tooltip and table show all."""
    return alt.Axis(labelLimit=alt.ExprRef(f"{NARROW} ? 150 : 280"), labelFontSize=11, ticks=False)
