"""The page: sections of charts and tables, put into one HTML file that loads nothing.

A content security policy in the page lets only its own script run and forbids every request.
Names come from strangers' files: the template escapes text, ``_json`` escapes chart definitions.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from typing import Any, Final, Literal
from urllib.parse import quote

import altair as alt
import jinja2
import vl_convert

from ftonnx.report.chart_parts import Chart
from ftonnx.report.design import THEME, style_rules
from ftonnx.report.drawing import require_address_space

__all__ = [
    "MOST_ROWS",
    "Fact",
    "Figure",
    "Link",
    "Listing",
    "Marked",
    "Picture",
    "Said",
    "Section",
    "Table",
    "Tone",
    "render",
]

MOST_ROWS: Final = 12
"""Longer tables are folded where charts show what they hold, for phones and for paper."""

Tone = Literal["good", "fair", "bad", "open"]
"""How a verdict is coloured; its words say the same."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart.

    Attributes:
        name: unique, made of lower-case letters, digits and hyphens; the chart's file name without ending.
        chart: the chart.
        caption: what it shows and how to read it.
        title: of its file, which has no caption.
        is_wide: whether it needs the whole width of the page; panels do without saying so.
    """

    name: str
    chart: Chart
    caption: str
    title: str
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is no chart.

    Attributes:
        name: as a figure's.
        svg: its element on the page, whose texts have the page's colour; it says by itself what it shows.
        file: the same for files, on white ground.
        caption: what it shows.
    """

    name: str
    svg: str
    file: str
    caption: str


@dataclass(frozen=True, slots=True)
class Marked:
    """A cell that stands out, or says more than a number.

    Attributes:
        text: the number.
        bold: whether it is.
        italic: likewise.
        sign: behind the number, in the space beside the column.
        below: a smaller line, such as an interval.
        tone: of a verdict, which has a colour too.
    """

    text: str
    bold: bool = False
    italic: bool = False
    sign: str = ""
    below: str = ""
    tone: Tone | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was tested or asked.

    Attributes:
        title: what it is.
        text: how it was.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A paragraph about something.

    Attributes:
        name: what it is about, which begins it.
        text: the rest.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The text of a file that a command reads, shown on demand.

    Attributes:
        title: what it is.
        text: its content.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A file beside the page.

    Attributes:
        text: what it is.
        path: relative to the page's folder, with slashes.
    """

    text: str
    path: str

    @property
    def address(self) -> str:
        """The path as browsers take it.

        >>> Link("a report", "reports/a+b#1.html").address
        './reports/a%2Bb%231.html'
        """
        return f"./{quote(self.path)}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        caption: what it holds.
        header: column titles.
        rows: cells, as many per row as there are titles; the first one heads its row.
        left: the first so many columns are left-aligned, the others hold numbers.
        folded: shown on demand.
        notes: paragraphs below it.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Marked]]
    left: int = 1
    folded: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        name: unique, for links.
        title: heading.
        warnings: what the reader must know first.
        text: paragraphs.
        figures: charts.
        pictures: below the charts.
        tables: tables, below the charts.
        code: command lines.
        facts: what was tested, below the tables.
        said: paragraphs below these.
        listings: files that the command lines read, below these.
    """

    name: str
    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    code: Sequence[str] = ()
    warnings: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    links: Sequence[Link] = ()
    facts: Sequence[Fact] = ()
    said: Sequence[Said] = ()
    listings: Sequence[Listing] = ()


def render(title: str, sections: Sequence[Section]) -> str:
    """Return the page."""
    script = f"{_vega()}\n{_file('page.js')}"
    figures = [figure for section in sections for figure in section.figures]
    return (
        jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        .from_string(_file("page.html.jinja"))
        .render(
            title=title,
            sections=sections,
            specs={figure.name: _json(figure.chart) for figure in figures},
            wide={figure.name for figure in figures if figure.is_wide or _has_panels(figure.chart)},
            style=style_rules() + _file("page.css"),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            version=metadata.version("ftonnx"),
        )
    )


def _has_panels(chart: Chart) -> bool:
    """Say whether a chart has a row of panels, whose number and widths the page's script fits to their place."""
    return isinstance(chart, alt.FacetChart)


def _json(chart: Chart) -> str:
    """Return a chart's definition, as wide as its place on the page, with nothing in it that HTML could read."""
    spec: dict[str, Any] = chart.to_dict() | {"config": {**THEME, "background": None}}
    if not _has_panels(chart):
        spec["width"] = "container"
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script."""
    require_address_space()
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets a default
    return bundle


def _file(name: str) -> str:
    return resources.files("ftonnx.report").joinpath("templates", name).read_text(encoding="utf-8")
