"""Tables with marks on a terminal, as studies and comparisons have them."""

from collections.abc import Sequence
from typing import Final

from ftonnx.cli.output import console, table
from ftonnx.studies.marks import Mark
from ftonnx.studies.sheets import Sheet
from ftonnx.words import printable

__all__ = ["print_sheets"]

_SIGNS: Final = {
    Mark.BEST: "*",
    Mark.SECOND: "+",
    Mark.OVERLAPS: "~",
    Mark.BETTER: "^",
    Mark.WORSE: "v",
    Mark.WITHIN: "=",
    Mark.APART: "!",
}
"""Which terminals without bold letters show, too."""


def print_sheets(sheets: Sequence[Sheet]) -> None:
    """Print sheets to stdout, and below them once what their signs mean."""
    for sheet in sheets:
        _print_sheet(sheet)
    legends = dict.fromkeys(sheet.legend(_SIGNS) for sheet in sheets)
    for legend in legends:
        console().print(legend, soft_wrap=True)


def _print_sheet(sheet: Sheet) -> None:
    out = console()
    out.print(printable(sheet.title), soft_wrap=True)
    rows = table(*sheet.names, *sheet.columns, left=len(sheet.names))
    for row in sheet.rows:
        cells = []
        for cell in row.cells:
            signs = "".join(_SIGNS[mark] for mark in cell.mark)
            cells.append(f"{cell.text} {signs:<2}")
        rows.add_row(*row.names, *cells)
    out.print(rows)
    out.print()
