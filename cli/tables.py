"""Tables for people, as rich draws them, and quickly where they have many rows.

Rich takes a millisecond per row. A table that fits is a matter of filling up with spaces.
"""

from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table

__all__ = ["ColumnTable"]

_GAP: Final = 2
_Row = list[str]


class ColumnTable(Table):
    """A table without lines, whose header is bold; what does not fit the terminal's width is folded."""

    def __init__(self, *columns: str, left: int) -> None:
        """Make an empty one.

        Args:
            columns: headings.
            left: so many columns from the left are left-aligned, the others hold numbers.
        """
        super().__init__(box=None, pad_edge=False, header_style="bold")
        self._left = left
        self._headings = list(columns)
        self._texts: list[_Row] = []
        for place, column in enumerate(columns):
            self.add_column(column, justify="left" if place < left else "right", overflow="fold")

    def add_row(self, *cells: str) -> None:  # type: ignore[override]  # texts only
        """Add a row of texts."""
        self._texts.append(list(cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        widths = self._widths()
        whole = sum(widths) + _GAP * (len(widths) - 1)
        if whole > options.max_width:
            # those that came since it was drawn last
            for cells in self._texts[len(self.rows) :]:
                super().add_row(*cells)
            yield from super().__rich_console__(console, options)
            return
        yield Segment(self._line(self._headings, widths), console.get_style("bold"))
        yield Segment.line()
        for cells in self._texts:
            yield Segment(self._line(cells, widths))
            yield Segment.line()

    def _widths(self) -> list[int]:
        widths = []
        for column in zip(self._headings, *self._texts, strict=True):
            widths.append(max(map(cell_len, column)))
        return widths

    def _line(self, cells: _Row, widths: list[int]) -> str:
        filled = []
        for place, (text, width) in enumerate(zip(cells, widths, strict=True)):
            spaces = " " * (width - cell_len(text))
            filled.append(text + spaces if place < self._left else spaces + text)
        return (" " * _GAP).join(filled)
