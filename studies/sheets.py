"""The tables of a study as texts with marks, which every form of them shows with signs of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ftonnx.campaign.results.comparison import RateComparison
from ftonnx.report.formats import rate_text
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.studies.differences import DifferenceTable, mark_of
from ftonnx.studies.marks import COMPARED, RANKED, Mark, legend_of
from ftonnx.studies.study import Cell
from ftonnx.studies.tables import Entry, VariantTable

__all__ = ["MISSING", "Sheet", "SheetRow", "Shown", "sheet_of", "sheet_of_differences"]

MISSING: Final = "-"
"""Where a campaign is not complete."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A number of a sheet.

    Attributes:
        text: the number; a dash where nothing is known.
        mark: how it stands out.
        below: its interval where the sheet shows them.
    """

    text: str
    mark: Mark = Mark.NONE
    below: str = ""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A row of a sheet.

    Attributes:
        names: what it is about, a column each.
        cells: its numbers.
    """

    names: tuple[str, ...]
    cells: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table of a study, as all forms show it.

    Attributes:
        title: what it is about.
        names: titles of the columns that say what a row is about.
        columns: titles of the columns of numbers.
        rows: its rows.
        unit: what the numbers are.
        marks: those that its cells can have.
    """

    title: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[SheetRow, ...]
    unit: str
    marks: tuple[Mark, ...]

    def legend(self, signs: Mapping[Mark, str]) -> str:
        """Return what the numbers and the signs of its marks are, as a sentence without special characters."""
        used = {mark: signs[mark] for mark in self.marks}
        return f"{self.unit}; {legend_of(used)}."


def sheet_of(table: VariantTable) -> Sheet:
    """Return a table of accuracies in per cent."""
    single = len(table.models) == 1
    rows = [
        SheetRow(_names(row.cell, single=single), tuple(_accuracy(entry) for entry in row.entries))
        for row in table.rows
    ]
    return Sheet(
        title=table.title,
        names=_heads(single=single),
        columns=table.columns,
        rows=tuple(rows),
        unit="In per cent",
        marks=RANKED,
    )


def sheet_of_differences(table: DifferenceTable) -> Sheet:
    """Return a table of differences in points of a per cent."""
    single = len(table.models) == 1
    level = f"{100 * CONFIDENCE:g}"
    rows = []
    for row in table.rows:
        cells = tuple(_difference(row.at(rate)) for rate in table.rates)
        rows.append(SheetRow(_names(row.cell, single=single), cells))
    return Sheet(
        title=table.title,
        names=_heads(single=single),
        columns=tuple(map(rate_text, table.rates)),
        rows=tuple(rows),
        unit=f"In percentage points, with intervals of {level} per cent, and verdicts after Holm's correction for all "
        "differences of the study",
        marks=COMPARED,
    )


def _heads(*, single: bool) -> tuple[str, ...]:
    return ("variant",) if single else ("model", "variant")


def _names(cell: Cell, *, single: bool) -> tuple[str, ...]:
    return (cell.variant,) if single else (cell.model, cell.variant)


def _accuracy(entry: Entry) -> Shown:
    """Return an accuracy without the sign of per cent, as tables of papers have them.

    >>> _accuracy(Entry(None))
    Shown(text='-', mark=<Mark.NONE: 0>, below='')
    """
    return Shown(MISSING if entry.value is None else f"{100 * entry.value.mean:.2f}", entry.mark)


def _difference(compared: RateComparison | None) -> Shown:
    if compared is None:
        return Shown(MISSING)
    found = compared.difference
    limits = "no interval"
    if found.low is not None and found.high is not None:
        limits = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
    return Shown(f"{100 * found.mean:+.2f}", mark_of(compared), limits)
