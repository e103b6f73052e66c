"""The tables of a study: rows of models and variants, columns of fault rates, with the best of every column marked.

So are those whose intervals overlap with the best one's: the campaigns cannot tell them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.report.formats import rate_words
from ftonnx.stats import Estimate
from ftonnx.studies.cell_table import CellTable
from ftonnx.studies.marks import Mark
from ftonnx.studies.study import Cell
from ftonnx.words import share_digits

__all__ = ["Entry", "Row", "VariantTable", "frame_of", "names_of", "tables_of"]

_FREE: Final = "fault-free"


@dataclass(frozen=True, slots=True)
class Entry:
    """An accuracy of a table.

    Attributes:
        value: with its interval; None where the campaign is not complete.
        mark: how it compares with the best of its column.
    """

    value: Estimate | None
    mark: Mark = Mark.NONE


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of a model.

    Attributes:
        cell: the cell of the study.
        entries: one per column.
    """

    cell: Cell
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantTable(CellTable[Row]):
    """What models and their variants are worth under some faults, on some data.

    Attributes:
        headline: the task's name for the numbers, such as ``top1``.
        columns: ``fault-free``, and a fault rate each, or ``injections``.
    """

    headline: str
    columns: tuple[str, ...]

    def cells_of(self, model: str) -> tuple[Cell, ...]:
        """Return the cells of a model."""
        return tuple(row.cell for row in self.rows if row.cell.model == model)


def tables_of(cells: Sequence[Cell], results: Mapping[Cell, CampaignResult]) -> tuple[VariantTable, ...]:
    """Return a table for every data set and kind of faults of which some campaign is complete.

    Models whose headlines differ, such as a binary classifier among others, are in different tables.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.data, cell.faults), []).append(cell)
    tables = []
    for members in groups.values():
        kinds = {cell.model: results[cell].task.headline for cell in members if cell in results}
        for place, headline in enumerate(dict.fromkeys(kinds.values())):
            # a model of which nothing is known stands in the first one
            usual = headline if place == 0 else None
            own = [cell for cell in members if kinds.get(cell.model, usual) == headline]
            tables.append(_table(own, results))
    return tuple(tables)


def _table(members: Sequence[Cell], results: Mapping[Cell, CampaignResult]) -> VariantTable:
    example = next(results[cell] for cell in members if cell in results)
    injected = example.injections is not None
    rates = ["injections"] if injected else [rate_words(rate) for rate in example.rates]
    columns = (_FREE, *rates)
    values = [_values(results.get(cell), len(columns)) for cell in members]
    marks = [_marks(column) for column in zip(*values, strict=True)]
    rows = []
    for number, cell in enumerate(members):
        entries = [Entry(value, marks[column][number]) for column, value in enumerate(values[number])]
        rows.append(Row(cell, tuple(entries)))
    return VariantTable(
        data=members[0].data,
        faults=members[0].faults,
        headline=example.task.headline,
        figure=example.task.main.title,
        columns=columns,
        rows=tuple(rows),
    )


def _values(result: CampaignResult | None, columns: int) -> list[Estimate | None]:
    if result is None:
        return [None] * columns
    headline = result.task.headline
    return [Estimate.exact(result.clean), *(rate[headline] for rate in result.rates)]


def _marks(column: Sequence[Estimate | None]) -> list[Mark]:
    """Compare the entries of a column with the best of them; equal ones share a place, and the next is the second.

    >>> found = _marks([Estimate(0.9, 0.85, 0.95), Estimate(0.8, 0.7, 0.86), Estimate(0.5, 0.4, 0.6), None])
    >>> [mark.words for mark in found]
    ['best', 'second overlaps', '', '']
    """
    known = [each for each in column if each is not None]
    best = max(known, key=lambda each: each.mean)
    second = max((each.mean for each in known if each.mean < best.mean), default=None)
    return [Mark.NONE if each is None else _mark(each, best, second) for each in column]


def _mark(entry: Estimate, best: Estimate, second: float | None) -> Mark:
    if entry.mean == best.mean:
        return Mark.BEST
    mark = Mark.SECOND if entry.mean == second else Mark.NONE
    return mark | Mark.OVERLAPS if _overlap(entry, best) else mark


def _overlap(one: Estimate, best: Estimate) -> bool:
    """Say whether intervals overlap; where one is missing, nobody knows."""
    if one.high is None or best.low is None:
        return False
    return one.high >= best.low


def names_of(cell: Cell) -> dict[str, str]:
    """Return the columns by which the rows of all tables are told apart."""
    return {
        "model": cell.model,
        "data": cell.data,
        "faults": cell.faults,
        "protect": cell.protect,
        "quantize": cell.quantize,
    }


def frame_of(tables: Sequence[VariantTable]) -> pl.DataFrame:
    """Return all tables as one, with a row for every entry: the fraction, its limits, its marks."""
    schema = {
        **dict.fromkeys(("model", "data", "faults", "protect", "quantize", "column"), pl.String),
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        "mark": pl.String,
    }
    rows = []
    for table in tables:
        for row in table.rows:
            for column, entry in zip(table.columns, row.entries, strict=True):
                names = names_of(row.cell) | {"column": column}
                rows.append(names | _numbers(entry.value) | {"mark": entry.mark.words})
    return pl.DataFrame(rows, schema=schema)


def _numbers(value: Estimate | None) -> dict[str, float | None]:
    found = (None, None, None) if value is None else (value.mean, value.low, value.high)
    return dict(zip(("value", "low", "high"), map(share_digits, found), strict=True))
