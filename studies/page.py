"""The page of a study: tables with marks, charts, differences, links to the reports, and what failed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ftonnx.report.page import Figure, Link, Marked, Section, Table, render
from ftonnx.studies.differences import DifferenceTable
from ftonnx.studies.marks import SIGNS, Mark
from ftonnx.studies.sheets import Sheet, Shown, sheet_of, sheet_of_differences, sheets_of_published
from ftonnx.studies.tables import VariantTable
from ftonnx.words import number, printable

if TYPE_CHECKING:
    from ftonnx.studies.result import StudyResult

__all__ = ["page_of", "report_path"]


def report_path(model: str, table: VariantTable) -> str:
    """Return where the report on a model of a table is, seen from the study's folder."""
    return f"reports/{model}@{table.name}.html"


def page_of(result: "StudyResult", files: Sequence[str]) -> str:
    """Return the page on a whole study, one HTML document that loads nothing.

    Args:
        result: what the study found.
        files: of tables beside the page, to which it links.
    """
    figures = {}
    for place, figure in enumerate(result.figures, 1):
        caption = f"{figure.title}. {figure.caption}"
        figures[figure.name] = Figure(f"figure-{place}", figure.chart, caption, figure.title)
    differences = {(table.name, table.figure): table for table in result.differences}
    sections = [_overview(result, files)]
    for place, table in enumerate(result.tables, 1):
        own = [figures.pop(name) for name in _drawn_of(table) if name in figures]
        links = [_report(model, table) for model in table.models if _is_reported(model, table, result)]
        sections.append(_group(f"table-{place}", table, differences.get((table.name, table.figure)), own, links))
    if result.beside:
        sections.append(_published(result))
    if figures:
        sections.append(Section("figures", "More figures", figures=list(figures.values())))
    if result.failures:
        sections.append(_failed(result))
    return render(printable(result.study.name), sections)


def _drawn_of(table: VariantTable) -> list[str]:
    """Return what figures of one table are called; the others compare several."""
    names = [table.name, f"{table.name}+models"]
    return [*names, *(f"{name}+{table.headline}" for name in names)]


def _overview(result: "StudyResult", files: Sequence[str]) -> Section:
    cells = len(result.study.cells) + len(result.study.activation_cells)
    done = len(result.results) + len(result.activations)
    text = f"{number(done)} of {number(cells)} cells are complete"
    if result.failures:
        text += f", {number(len(result.failures))} could not be run"
    links = [Link(name, name) for name in files]
    return Section("overview", "Overview", text=[f"{text}."], warnings=result.warnings, links=links)


def _group(
    name: str,
    table: VariantTable,
    differences: DifferenceTable | None,
    figures: Sequence[Figure],
    links: Sequence[Link],
) -> Section:
    """Return the section on the campaigns of one data set and kind of faults."""
    tables = [_table(sheet_of(table))]
    if differences is not None:
        tables.append(_table(sheet_of_differences(differences), differences.notes))
    title = f"{table.data}, {table.faults}"
    return Section(name, title, figures=figures, tables=tables, links=links)


def _published(result: "StudyResult") -> Section:
    tables = [_table(sheet) for sheet in sheets_of_published(result.beside)]
    return Section("published", "Published numbers", tables=tables)


def _table(sheet: Sheet, notes: Sequence[str] = ()) -> Table:
    rows: list[list[str | Marked]] = [[*row.names, *map(_cell, row.cells)] for row in sheet.rows]
    header = [*sheet.names, *sheet.columns]
    return Table(sheet.title, header, rows, left=len(sheet.names), notes=[sheet.legend(SIGNS), *notes])


def _cell(shown: Shown) -> Marked:
    signs = [SIGNS[mark] for mark in shown.mark if mark not in (Mark.BEST, Mark.SECOND)]
    return Marked(
        shown.text,
        bold=Mark.BEST in shown.mark,
        italic=Mark.SECOND in shown.mark,
        sign="".join(signs),
        below=shown.below,
    )


def _is_reported(model: str, table: VariantTable, result: "StudyResult") -> bool:
    return any(cell in result.results for cell in table.cells_of(model))


def _report(model: str, table: VariantTable) -> Link:
    return Link(f"Report on {model}: {table.data}, {table.faults}", report_path(model, table))


def _failed(result: "StudyResult") -> Section:
    rows = [[failure.cell.name, printable(failure.reason)] for failure in result.failures]
    return Section(
        "failed", "What failed", tables=[Table("Cells that could not be run", ["cell", "reason"], rows, left=2)]
    )
