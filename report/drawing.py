"""Charts as files."""

import mmap
import os
from pathlib import Path
from typing import Any, Final

import vl_convert

from ftonnx.errors import UsageError
from ftonnx.report.design import DOTS_PER_INCH, THEME
from ftonnx.words import printable

__all__ = ["CHART_FORMATS", "check_chart_name", "drawn", "painted", "require_address_space"]

CHART_FORMATS: Final = ("png", "svg", "pdf")

_ADDRESSES: Final = 66 * 2**30
"""Bytes of address space that the renderer's V8 reserves, next to none of which it uses."""


def check_chart_name(path: Path) -> None:
    """Refuse a name that says no format.

    Raises:
        UsageError: it does not end in one of ``CHART_FORMATS``.
    """
    if path.suffix[1:].lower() not in CHART_FORMATS:
        raise UsageError(f"{path}: a name that ends in .{', .'.join(CHART_FORMATS)} was expected")


def require_address_space() -> None:
    """Find out whether the renderer can start, which would abort the process where it cannot.

    Raises:
        UsageError: ``ulimit -v`` leaves too little.
    """
    # other systems know no such limit
    if os.name != "posix":
        return
    try:
        # without any access, so that no memory is promised
        reserved = mmap.mmap(-1, _ADDRESSES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
    except OSError as error:
        raise UsageError(
            f"charts are drawn by V8, which reserves {_ADDRESSES // 2**30} GiB of addresses, and `ulimit -v` allows "
            "fewer: raise it, and limit the memory in another way, such as a container's"
        ) from error
    reserved.close()


def drawn(chart: Any, ending: str, *, title: str = "") -> bytes:
    """Return a chart of altair's on white ground in one of ``CHART_FORMATS``; PNG at ``DOTS_PER_INCH``.

    Args:
        chart: the chart.
        ending: the format.
        title: above it; none by default.
    """
    require_address_space()
    spec = _printable(chart.to_dict()) | {"config": {**THEME, "background": "white"}}
    if title:
        spec["title"] = printable(title)
    if ending == "svg":
        svg: str = vl_convert.vegalite_to_svg(spec)
        return svg.encode()
    if ending == "pdf":
        pdf: bytes = vl_convert.vegalite_to_pdf(spec)
        return pdf
    png: bytes = vl_convert.vegalite_to_png(spec, ppi=DOTS_PER_INCH)
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
    require_address_space()
    if ending == "pdf":
        pdf: bytes = vl_convert.svg_to_pdf(svg)
        return pdf
    png: bytes = vl_convert.svg_to_png(svg, ppi=DOTS_PER_INCH)
    return png
