"""The tables of a study: rows of variants, columns of fault rates, the best in every column marked.

So are those whose intervals overlap with the best one's: the campaigns cannot tell them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import polars as pl

from ftonnx.campaign import CampaignResult
from ftonnx.report import markdown_text
from ftonnx.report.formats import rate_text
from ftonnx.stats import Estimate
from ftonnx.studies.study import Cell
from ftonnx.words import printable

__all__ = ["Entry", "Mark", "Row", "VariantTable", "frame_of", "latex_of", "markdown_of", "tables_of"]

_FREE: Final = "fault-free"
_LATEX: Final = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_LEGEND: Final = "the best of a column; an interval that overlaps with the best one's"


class Mark(Enum):
    """How an entry compares with the best of its column."""

    BEST = "best"
    OVERLAPS = "overlaps"
    NONE = ""


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
class VariantTable:
    """What the variants of a model are worth under some faults, on some data.

    Attributes:
        model: name in the study.
        data: likewise.
        faults: likewise.
        figure: what the numbers are, such as top-1 accuracy.
        columns: ``fault-free``, and a fault rate each, or ``injections``.
        rows: the variants, in the order of the study's file.
    """

    model: str
    data: str
    faults: str
    figure: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What the table is about."""
        return f"{self.model} on {self.data}, {self.faults}: {self.figure}"


def tables_of(cells: Sequence[Cell], results: Mapping[Cell, CampaignResult]) -> tuple[VariantTable, ...]:
    """Return a table for every model, data set and kind of faults of which some campaign is complete."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.model, cell.data, cell.faults), []).append(cell)
    tables = []
    for (model, data, faults), members in groups.items():
        found = [results[cell] for cell in members if cell in results]
        if found:
            tables.append(_table(model, data, faults, members, results, found[0]))
    return tuple(tables)


def _table(
    model: str,
    data: str,
    faults: str,
    members: Sequence[Cell],
    results: Mapping[Cell, CampaignResult],
    example: CampaignResult,
) -> VariantTable:
    injected = example.injections is not None
    rates = ["injections"] if injected else [rate_text(rate.rate) for rate in example.rates]
    columns = (_FREE, *rates)
    values = [_values(results.get(cell), len(columns)) for cell in members]
    marks = [_marks(column) for column in zip(*values, strict=True)]
    rows = []
    for number, cell in enumerate(members):
        entries = [Entry(value, marks[column][number]) for column, value in enumerate(values[number])]
        rows.append(Row(cell, tuple(entries)))
    return VariantTable(
        model=model,
        data=data,
        faults=faults,
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
    """Compare the entries of a column with the best of them.

    >>> [mark.value for mark in _marks([Estimate(0.9, 0.85, 0.95), Estimate(0.8, 0.7, 0.86), Estimate(0.5, 0.4, 0.6)])]
    ['best', 'overlaps', '']
    """
    known = [each for each in column if each is not None]
    best = max(known, key=lambda each: each.mean)
    marks = []
    for each in column:
        if each is None:
            marks.append(Mark.NONE)
        elif each.mean == best.mean:
            marks.append(Mark.BEST)
        else:
            marks.append(Mark.OVERLAPS if _overlap(each, best) else Mark.NONE)
    return marks


def _overlap(one: Estimate, best: Estimate) -> bool:
    """Say whether intervals overlap; where one is missing, nobody knows."""
    if one.high is None or best.low is None:
        return False
    return one.high >= best.low


def markdown_of(title: str, tables: Sequence[VariantTable]) -> str:
    """Return tables in Markdown: the best bold, those that overlap in italics."""
    parts = [f"# {markdown_text(printable(title))}"]
    marked = {Mark.BEST: "**{}**", Mark.OVERLAPS: "*{}*", Mark.NONE: "{}"}
    for table in tables:
        head = ["", *map(markdown_text, table.columns)]
        lines = [head, [":---", *["---:"] * len(table.columns)]]
        for row in table.rows:
            cells = [marked[entry.mark].format(_percent(entry.value)) for entry in row.entries]
            lines.append([markdown_text(row.cell.variant), *cells])
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"## {markdown_text(printable(table.title))}\n\n{body}")
    parts.append(f"Per cent. Bold and italics: {_LEGEND}.")
    return "\n\n".join(parts) + "\n"


def latex_of(tables: Sequence[VariantTable]) -> str:
    """Return tables in LaTeX, for the package booktabs: the best bold, those that overlap in italics."""
    marked = {Mark.BEST: r"\textbf{{{}}}", Mark.OVERLAPS: r"\textit{{{}}}", Mark.NONE: "{}"}
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        lines = []
        for row in table.rows:
            cells = [marked[entry.mark].format(_percent(entry.value)) for entry in row.entries]
            lines.append(f"{' & '.join([_latex(row.cell.variant), *cells])} \\\\")
        head = " & ".join(["", *map(_latex, table.columns)])
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    f"\\caption{{{_latex(table.title)}, in per cent. Bold and italics: {_LEGEND}.}}",
                    f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
                    r"\toprule",
                    f"{head} \\\\",
                    r"\midrule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def frame_of(tables: Sequence[VariantTable]) -> pl.DataFrame:
    """Return all tables as one, with a row for every entry: the fraction, its limits, its mark."""
    schema = {
        **dict.fromkeys(("model", "data", "faults", "protect", "quantize", "column"), pl.String),
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        "mark": pl.String,
    }
    rows = []
    for table in tables:
        for row in table.rows:
            cell = row.cell
            for column, entry in zip(table.columns, row.entries, strict=True):
                value = entry.value
                limits = (None, None, None) if value is None else (value.mean, value.low, value.high)
                names = (cell.model, cell.data, cell.faults, cell.protect, cell.quantize, column)
                rows.append((*names, *limits, entry.mark.value))
    return pl.DataFrame(rows, schema=schema, orient="row")


def _percent(value: Estimate | None) -> str:
    """Return per cent without the sign, as tables of papers have them.

    >>> _percent(Estimate(0.98056, None, None)), _percent(None)
    ('98.06', '-')
    """
    return "-" if value is None else f"{100 * value.mean:.2f}"


def _latex(text: str) -> str:
    r"""Return a text that LaTeX prints as it is.

    >>> _latex("a_b 50 %")
    'a\\_b 50 \\%'
    """
    return "".join(_LATEX.get(char, char) for char in printable(text))
