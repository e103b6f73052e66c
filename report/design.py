"""The look of pages and charts: colours, sizes and spaces, all of them here.

Every colour of a mark has a contrast of 3 : 1 or more with the light page and with the dark one, so that a chart is
the same on both and on paper. They follow Okabe and Ito's, chosen for people with any colour vision.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = [
    "CHART_SIZE",
    "CLASSES",
    "DASHES",
    "DOTS_PER_INCH",
    "FONT",
    "HARM",
    "INK",
    "MIDDLE",
    "ON_DARK",
    "ON_LIGHT",
    "OUTCOMES",
    "PAPER",
    "ROW",
    "SERIES",
    "SHAPES",
    "THEME",
    "TONES",
    "style_rules",
]

FONT: Final = "system-ui, Liberation Sans, sans-serif"
INK: Final = "#000000"
"""Ink of charts; the page draws it in its own."""
MIDDLE: Final = "#808080"
"""Outlines and rules: as far from white as from the dark page."""

SERIES: Final = ("#0072B2", "#D55E00", "#009E73", "#C2649A", "#A87C00", "#2F93CE", "#777777")
DASHES: Final = ([1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [12, 5])
SHAPES: Final = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
OUTCOMES: Final = ("#BFE3F7", "#56B4E9", "#D55E00", "#4D4D4D")
"""From harmless to detected, ever darker; an outline of `MIDDLE` sets them off."""
HARM: Final = ("#F2EBDD", "#F0B27A", "#D55E00", "#5E2200")
"""From no harm to the most, ever darker; an outline of `MIDDLE` sets the lightest and the darkest off."""
ON_LIGHT: Final = "#111111"
ON_DARK: Final = "#ffffff"
"""Texts on marks, in either scheme."""
CLASSES: Final = ("#0072B2", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#56B4E9", "#D55E00", "#404040")
"""Of label maps, with more between: Okabe and Ito's, the black a little lighter, for dark pages."""
TONES: Final[Mapping[str, str]] = {"good": "#0A7D4F", "fair": "#946300", "bad": "#C8361D", "open": "#5B6B7B"}
"""Grounds of verdicts, on which white is read."""

CHART_SIZE: Final = (620, 340)
ROW: Final = 15
"""Pixels of a bar, or of a heat map's row."""
DOTS_PER_INCH: Final = 200
"""Of chart files."""

THEME: Final[Mapping[str, Any]] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "gridColor": "#ddd"},
    "legend": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "symbolOpacity": 1},
    "header": {"labelFontSize": 12, "labelFontWeight": "bold"},
    "title": {"fontSize": 14, "subtitleFontSize": 12, "anchor": "start", "offset": 12},
    "text": {"fontSize": 11, "color": INK},
}
"""The look of all charts, as a Vega-Lite config."""

_SPACES: Final = {"space-1": "0.25rem", "space-2": "0.5rem", "space-3": "0.75rem", "space-4": "1rem", "space-6": "2rem"}
_SIZES: Final = {
    "text": "1rem",
    "text-small": "0.875rem",
    "text-h1": "1.6rem",
    "text-h2": "1.25rem",
    "line": "46rem",
    "page": "68rem",
}
PAPER: Final[Mapping[str, Mapping[str, str]]] = {
    "light": {
        "paper": "#ffffff",
        "ink": "#1b1b1b",
        "soft": "#55595e",
        "rule": "#d5d8dc",
        "tint": "#f4f6f8",
        "link": "#005a9c",
    },
    "dark": {
        "paper": "#14171a",
        "ink": "#e9ebed",
        "soft": "#a9b0b7",
        "rule": "#3a4047",
        "tint": "#1e2327",
        "link": "#7cc0ff",
    },
    "print": {
        "paper": "#ffffff",
        "ink": "#000000",
        "soft": "#333333",
        "rule": "#bbbbbb",
        "tint": "#ffffff",
        "link": "#000000",
    },
}
"""Colours of the page by scheme."""
_PRINTED_SIZES: Final = {"text": "9pt", "text-small": "7.5pt", "text-h1": "14pt", "text-h2": "11pt", "line": "none"}


def style_rules() -> str:
    """Return what the page's style sheet takes from here, as CSS variables."""
    tones = {"on-tone": ON_DARK} | {f"tone-{name}": color for name, color in TONES.items()}
    common = {**_SPACES, **_SIZES, **tones, **PAPER["light"]}
    printed = {**_PRINTED_SIZES, **PAPER["print"]}
    rules = [
        f":root {{ color-scheme: light dark; {_declared(common)} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_declared(PAPER['dark'])} }} }}",
        f"@media print {{ :root {{ {_declared(printed)} }} }}",
    ]
    return "\n".join([*rules, ""])


def _declared(values: Mapping[str, str]) -> str:
    """Return variables with their values.

    >>> _declared({"ink": "#000", "space-1": "1px"})
    '--ink: #000; --space-1: 1px;'
    """
    return " ".join(f"--{name}: {value};" for name, value in values.items())
