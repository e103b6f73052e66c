"""What protections and quantizations gain or lose against the same model as it is, all verdicts of a study together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from ftonnx.campaign import CampaignResult, compare, judged_together
from ftonnx.campaign.results.comparison import PAIRINGS, AucComparison, ModelComparison, RateComparison
from ftonnx.report.formats import rate_words
from ftonnx.studies.cell_table import CellTable
from ftonnx.studies.marks import Mark
from ftonnx.studies.study import Cell
from ftonnx.studies.tables import VariantTable, names_of
from ftonnx.words import nine_digits, share_digits

__all__ = ["DifferenceRow", "DifferenceTable", "differences_frame", "differences_of", "mark_of"]

_FRAME: Final = {
    **dict.fromkeys(("model", "data", "faults", "protect", "quantize", "column"), pl.String),
    **dict.fromkeys(("difference", "low", "high", "p_value", "p_holm"), pl.Float64),
    **dict.fromkeys(("outcome", "pairing"), pl.String),
}


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One variant of a model against the model as it is.

    Attributes:
        cell: the variant's cell of the study.
        compared: rate by rate; None where one of the two campaigns is not complete.
    """

    cell: Cell
    compared: ModelComparison | None

    def at(self, rate: float) -> RateComparison | None:
        """Return the comparison at a rate; None where there is none."""
        rates = () if self.compared is None else self.compared.rates
        return next((each for each in rates if each.rate == rate), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceTable(CellTable[DifferenceRow]):
    """Every variant's accuracy minus that of the same model as it is, which has no row.

    Attributes:
        rates: the columns, those above 0.
    """

    rates: tuple[float, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The rates in words, with the times at which upsets have come to them where they accumulate."""
        levels = {each.rate: each for row in self.rows if row.compared for each in row.compared.rates}
        return tuple(rate_words(levels[rate]) for rate in self.rates)

    @property
    def told(self) -> str:
        """What the numbers are."""
        return f"{self.figure} minus that of the model as it is"

    @property
    def notes(self) -> tuple[str, ...]:
        """Which fault patterns the campaigns share, as sentences."""
        groups: dict[str, dict[str, None]] = {}
        for row in self.rows:
            if row.compared is not None:
                groups.setdefault(PAIRINGS[row.compared.pairing], {})[row.cell.variant] = None
        return tuple(f"{', '.join(variants)} against the model as it is: {how}." for how, variants in groups.items())


def differences_of(
    tables: Sequence[VariantTable], results: Mapping[Cell, CampaignResult]
) -> tuple[DifferenceTable, ...]:
    """Return the differences of every table that has any; the verdicts hold all together.

    A model that was not measured as it is has none; neither have injections.

    Raises:
        StoreError: a results folder cannot be read.
    """
    groups = []
    for table in tables:
        groups += [_comparable(table.cells_of(model), results) for model in table.models]
    groups = [cells for cells in groups if len(cells) > 1]
    comparisons = [compare([results[cell] for cell in cells]) for cells in groups]
    compared: dict[Cell, ModelComparison] = {}
    for cells, comparison in zip(groups, judged_together(comparisons), strict=True):
        compared |= dict(zip(cells[1:], comparison.models, strict=True))
    made = [_table(table, compared) for table in tables]
    return tuple(table for table in made if table.rates)


def _comparable(cells: Sequence[Cell], results: Mapping[Cell, CampaignResult]) -> list[Cell]:
    """Return the cells whose campaigns can be compared, that of the model as it is first; none without that one."""
    there = [cell for cell in cells if cell in results and _has_rates(results[cell])]
    plain = [cell for cell in there if _is_plain(cell)]
    return [*plain, *(cell for cell in there if not _is_plain(cell))] if plain else []


def _has_rates(result: CampaignResult) -> bool:
    return result.faults.fresh_per_batch and any(rate.rate > 0 for rate in result.rates)


def _is_plain(cell: Cell) -> bool:
    return cell.protect == cell.quantize == "none"


def _table(table: VariantTable, compared: Mapping[Cell, ModelComparison]) -> DifferenceTable:
    cells = [row.cell for row in table.rows if not _is_plain(row.cell)]
    rows = tuple(DifferenceRow(cell, compared.get(cell)) for cell in cells)
    rates = {rate.rate for row in rows if row.compared for rate in row.compared.rates}
    return DifferenceTable(
        data=table.data, faults=table.faults, figure=table.figure, rates=tuple(sorted(rates)), rows=rows
    )


def mark_of(compared: RateComparison | AucComparison) -> Mark:
    """Return a verdict as a mark."""
    marks = {"better": Mark.BETTER, "worse": Mark.WORSE, "no difference shown": Mark.NONE}
    return marks[compared.outcome]


def differences_frame(tables: Sequence[DifferenceTable]) -> pl.DataFrame:
    """Return all differences as one table, with a row for each: the fraction, its limits, p-values and the verdict."""
    rows = []
    for table in tables:
        levels = list(zip(table.rates, table.columns, strict=True))
        for row in table.rows:
            for rate, column in levels:
                rows.append(names_of(row.cell) | {"column": column} | _numbers(row, rate))
    return pl.DataFrame(rows, schema=_FRAME)


def _numbers(row: DifferenceRow, rate: float) -> dict[str, Any]:
    compared = row.at(rate)
    if row.compared is None or compared is None:
        return {}
    difference = compared.difference
    return {
        "difference": share_digits(difference.mean),
        "low": share_digits(difference.low),
        "high": share_digits(difference.high),
        "p_value": nine_digits(difference.p_value),
        "p_holm": nine_digits(compared.p_holm),
        "outcome": compared.outcome,
        "pairing": row.compared.pairing,
    }
