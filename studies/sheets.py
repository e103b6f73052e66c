"""The tables of a study as texts with marks, which every form of them shows with signs of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ftonnx.campaign.results.comparison import AucComparison, RateComparison
from ftonnx.report.formats import rate_text
from ftonnx.stats.estimate import CONFIDENCE
from ftonnx.studies.beside import Beside
from ftonnx.studies.differences import DifferenceTable, mark_of
from ftonnx.studies.marks import COMPARED, JUDGED, RANKED, Mark, legend_of
from ftonnx.studies.study import Cell
from ftonnx.studies.tables import Entry, VariantTable

__all__ = [
    "MISSING",
    "Sheet",
    "SheetRow",
    "Shown",
    "difference_cell",
    "sheet_of",
    "sheet_of_differences",
    "sheets_of_published",
]

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
        cells = tuple(difference_cell(row.at(rate)) for rate in table.rates)
        rows.append(SheetRow(_names(row.cell, single=single), cells))
    return Sheet(
        title=table.title,
        names=_heads(single=single),
        columns=table.columns,
        rows=tuple(rows),
        unit=f"In percentage points, with intervals of {level} per cent, and verdicts after Holm's correction for all "
        "differences of the study",
        marks=COMPARED,
    )


def sheets_of_published(found: Sequence[Beside]) -> list[Sheet]:
    """Return published numbers beside the measured ones, a table for every data set."""
    groups: dict[str, list[Beside]] = {}
    for each in found:
        groups.setdefault(each.cell.data, []).append(each)
    return [
        Sheet(
            title=f"{data}: published, and measured here",
            names=("model", "variant", "rate", "figure"),
            columns=("published", "measured", "difference", "left open"),
            rows=tuple(map(_beside, members)),
            unit=f"In per cent, with intervals of {100 * CONFIDENCE:g} per cent",
            marks=JUDGED,
        )
        for data, members in groups.items()
    ]


def _beside(each: Beside) -> SheetRow:
    number, measured = each.number, each.measured
    rate = "fault-free" if number.rate == 0 else rate_text(number.rate)
    limits = ""
    if measured.low is not None and measured.high is not None and measured.low < measured.high:
        limits = f"{100 * measured.low:.2f} to {100 * measured.high:.2f}"
    judged = {True: Mark.WITHIN, False: Mark.APART, None: Mark.NONE}[each.is_within]
    return SheetRow(
        (*_names(each.cell, single=False), rate, number.figure),
        (
            Shown(f"{100 * number.value:.2f}"),
            Shown(f"{100 * measured.mean:.2f}", below=limits),
            Shown(f"{100 * each.difference:+.2f}", judged),
            Shown(MISSING if each.open is None else f"{100 * each.open:.2f}"),
        ),
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


def difference_cell(compared: RateComparison | AucComparison | None) -> Shown:
    """Return a difference in points with its interval, marked; a dash where there is none."""
    if compared is None:
        return Shown(MISSING)
    found = compared.difference
    limits = "no interval"
    if found.low is not None and found.high is not None:
        limits = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
    return Shown(f"{100 * found.mean:+.2f}", mark_of(compared), limits)
