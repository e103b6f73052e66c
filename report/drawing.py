"""Charts as files."""

from typing import Any, Final

import vl_convert

from ftonnx.report.charts import THEME, Chart
from ftonnx.words import printable

__all__ = ["CHART_FORMATS", "drawn", "painted"]

CHART_FORMATS: Final = ("png", "svg", "pdf")


def drawn(chart: Chart, ending: str) -> bytes:
    """Return a chart on white ground in one of ``CHART_FORMATS``; PNG at twice its size, for screens of fine pixels."""
    spec = _printable(chart.to_dict()) | {"config": THEME | {"background": "white"}}
    if ending == "svg":
        svg: str = vl_convert.vegalite_to_svg(spec)
        return svg.encode()
    if ending == "pdf":
        pdf: bytes = vl_convert.vegalite_to_pdf(spec)
        return pdf
    png: bytes = vl_convert.vegalite_to_png(spec, scale=2)
    return png


def _printable(spec: Any) -> Any:
    """Replace control characters in all texts of a chart, of which the renderer would abort the process."""
    if isinstance(spec, dict):
        return {_printable(key): _printable(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [_printable(value) for value in spec]
    return printable(spec) if isinstance(spec, str) else spec


def painted(svg: str, ending: str) -> bytes:
    """Return a picture that is SVG in one of ``CHART_FORMATS``, as ``drawn`` does."""
    if ending == "svg":
        return svg.encode()
    if ending == "pdf":
        pdf: bytes = vl_convert.svg_to_pdf(svg)
        return pdf
    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png
