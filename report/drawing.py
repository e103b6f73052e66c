"""Charts as files."""

from typing import Final

import vl_convert

from ftonnx.report.charts import THEME, Chart

__all__ = ["CHART_FORMATS", "drawn", "painted"]

CHART_FORMATS: Final = ("png", "svg", "pdf")


def drawn(chart: Chart, ending: str) -> bytes:
    """Return a chart on white ground in one of ``CHART_FORMATS``; PNG at twice its size, for screens of fine pixels."""
    spec = chart.to_dict() | {"config": THEME | {"background": "white"}}
    if ending == "svg":
        svg: str = vl_convert.vegalite_to_svg(spec)
        return svg.encode()
    if ending == "pdf":
        pdf: bytes = vl_convert.vegalite_to_pdf(spec)
        return pdf
    png: bytes = vl_convert.vegalite_to_png(spec, scale=2)
    return png


def painted(svg: str, ending: str) -> bytes:
    """Return a picture that is SVG in one of ``CHART_FORMATS``, as ``drawn`` does."""
    if ending == "svg":
        return svg.encode()
    if ending == "pdf":
        pdf: bytes = vl_convert.svg_to_pdf(svg)
        return pdf
    png: bytes = vl_convert.svg_to_png(svg, scale=2)
    return png
