"""The tables of a study, from estimates that were put together by hand."""

import csv
import io
import re
from types import SimpleNamespace

import polars as pl
import pytest

from ftonnx.report.frames import csv_of, parquet_of
from ftonnx.stats import Estimate
from ftonnx.studies import Cell, Mark
from ftonnx.studies.markup import latex_of, markdown_of
from ftonnx.studies.sheets import sheet_of
from ftonnx.studies.tables import frame_of, tables_of
from ftonnx.tasks import default_task, parse_task

ROWS = {
    "none": (0.98, [(0.9, 0.88, 0.92), (0.1, 0.05, 0.15)]),
    "actmax": (0.98, [(0.95, 0.93, 0.97), (0.6, 0.5, 0.7)]),
    "clipact": (0.97, [(0.94, 0.91, 0.96), (0.65, 0.55, 0.75)]),
    "ranger": (0.96, [(0.92, 0.9, 0.93), (0.3, 0.2, 0.55)]),
    "relu6": None,
}
MARKS = {
    "none": ["best", "", ""],
    "actmax": ["best", "best", "second overlaps"],
    "clipact": ["second", "second overlaps", "best"],
    "ranger": ["", "overlaps", "overlaps"],  # limits that are the same belong to both
    "relu6": ["", "", ""],
}


def result(clean, rates, *, injections=None, task=None):
    """Return what the tables read of a campaign's result."""
    task = task or default_task()
    found = [
        {"rate": 10.0 ** (power - 6), task.headline: Estimate(*values)} for power, values in enumerate(rates, start=0)
    ]
    rates = [_Rate(each) for each in found]
    return SimpleNamespace(task=task, clean=clean, rates=rates, injections=injections)


class _Rate(dict):
    """A rate whose fractions are read by name."""

    @property
    def rate(self):
        return self["rate"]

    @property
    def hours(self):
        return self.get("hours")


@pytest.fixture
def tables():
    """Return the table of a model whose name LaTeX and Markdown have to escape."""
    cells = [Cell("net_1", protect, "none", "d", "r") for protect in ROWS]
    results = {}
    for cell in cells:
        if ROWS[cell.protect] is not None:
            results[cell] = result(*ROWS[cell.protect])
    return tables_of(cells, results)


def test_the_best_and_what_cannot_be_told_from_it_are_marked(tables):
    """Column by column; a campaign that is not complete has no mark."""
    (table,) = tables
    assert table.columns == ("fault-free", "1e-6", "1e-5")
    assert {row.cell.protect: [entry.mark.words for entry in row.entries] for row in table.rows} == MARKS


def test_columns_of_histories_have_their_times():
    """Beside the rates to which upsets have come by then."""
    cell = Cell("m", "none", "none", "d", "r")
    found = result(0.9, [(0.5, 0.4, 0.6), (0.4, 0.3, 0.5)])
    for rate, hours in zip(found.rates, (24.0, 36.0), strict=True):
        rate["hours"] = hours
    (table,) = tables_of([cell], {cell: found})
    assert table.columns == ("fault-free", "1e-6 (1d)", "1e-5 (36h)")


def test_an_entry_without_an_interval_overlaps_with_nothing():
    """One repeat says nothing of how far it is from the best."""
    cells = [Cell("m", protect, "none", "d", "r") for protect in ("none", "actmax")]
    found = {cells[0]: result(0.9, [(0.5, None, None)]), cells[1]: result(0.9, [(0.4, None, None)])}
    (table,) = tables_of(cells, found)
    assert [row.entries[1].mark for row in table.rows] == [Mark.BEST, Mark.SECOND]


def test_equal_entries_share_a_place():
    """Two that are the best, two that come next, and one behind them; in a column of equals nothing is second."""
    means = (0.5, 0.9, 0.7, 0.9, 0.7)
    cells = [Cell(str(number), "none", "none", "d", "r") for number in range(5)]
    found = {cell: result(0.8, [(mean, mean, mean)]) for cell, mean in zip(cells, means, strict=True)}
    (table,) = tables_of(cells, found)
    assert [row.entries[1].mark for row in table.rows] == [Mark.NONE, Mark.BEST, Mark.SECOND, Mark.BEST, Mark.SECOND]
    assert {row.entries[0].mark for row in table.rows} == {Mark.BEST}


def test_there_is_a_table_for_every_data_set_and_kind_of_faults():
    """Of which there is a result, with all models in it; injections have one column."""
    cells = [Cell(m, "none", "none", d, f) for m in "ab" for d in "xy" for f in ("r", "s")]
    found = {
        cells[0]: result(0.9, [(0.5, 0.4, 0.6)]),
        cells[3]: result(0.9, [(0.5, 0.4, 0.6)], injections=7),
        cells[6]: result(0.9, [(0.5, 0.4, 0.6)]),
    }
    made = tables_of(cells, found)
    assert [(table.title, table.models) for table in made] == [
        ("x, r: top-1 accuracy", ("a", "b")),
        ("y, r: top-1 accuracy", ("a", "b")),
        ("y, s: top-1 accuracy", ("a", "b")),
    ]
    assert [table.columns for table in made] == [
        ("fault-free", "1e-6"),
        ("fault-free", "1e-6"),
        ("fault-free", "injections"),
    ]


def test_accuracies_of_different_kinds_are_in_different_tables():
    """They are not compared; a model of which nothing is known stands in the first one."""
    cells = [Cell(model, protect, "none", "d", "r") for model in "abc" for protect in ("none", "actmax")]
    found = {cell: result(0.9, [(0.5, 0.4, 0.6)]) for cell in cells if cell.model == "a"}
    found[cells[2]] = result(0.8, [(0.4, 0.3, 0.5)], task=parse_task("binary"))
    first, second = tables_of(cells, found)
    assert (first.title, first.models) == ("d, r: top-1 accuracy", ("a", "c"))
    assert (second.title, second.models) == ("b on d, r: accuracy", ("b",))
    assert [row.entries[1].mark for row in second.rows] == [Mark.BEST, Mark.NONE]


def test_the_best_is_the_best_of_all_models():
    """Columns are compared over models and variants; of what failed nothing is known."""
    cells = [Cell(model, protect, "none", "d", "r") for model in "ab" for protect in ("none", "actmax")]
    rates = {0: (0.5, 0.4, 0.6), 1: (0.7, 0.65, 0.75), 2: (0.9, 0.85, 0.95)}
    found = {cells[number]: result(0.9, [rate]) for number, rate in rates.items()}
    (table,) = tables_of(cells, found)
    assert [row.entries[1].mark for row in table.rows] == [Mark.NONE, Mark.SECOND, Mark.BEST, Mark.NONE]
    sheet = sheet_of(table)
    assert sheet.names == ("model", "variant")
    assert [row.names for row in sheet.rows] == [("a", "as it is"), ("a", "actmax"), ("b", "as it is"), ("b", "actmax")]
    body = latex_of([sheet]).split(r"\midrule")
    assert [part.splitlines()[1] for part in body[1:]] == [
        r"a & as it is & 90.00 & 50.00 \\".replace("90.00", r"\textbf{90.00}"),
        r"b & as it is & \textbf{90.00} & \textbf{90.00} \\",
    ]
    assert body[1].splitlines()[2].startswith(" & actmax & ")


def test_markdown_shows_marks_and_escapes_names(tables):
    """Bold for the best, italics for the second, a dagger for what overlaps, a dash where nothing is known."""
    lines = markdown_of("A *study*\x1b[2J", list(map(sheet_of, tables))).splitlines()
    assert lines[0] == r"# A \*study\*?\[2J"
    assert lines[2] == r"## net\_1 on d, r: top-1 accuracy"
    assert lines[4:] == [
        r"| variant | fault-free | 1e-6 | 1e-5 |",
        "| :--- | ---: | ---: | ---: |",
        "| as it is | **98.00** | 90.00 | 10.00 |",
        "| actmax | **98.00** | **95.00** | *60.00*† |",
        "| clipact | *97.00* | *94.00*† | **65.00** |",
        "| ranger | 96.00 | 92.00† | 30.00† |",
        "| relu6 | - | - | - |",
        "",
        "In per cent; bold: the best of a column; italics: the second best; "
        "†: the interval overlaps with the best one's.",
    ]


def test_latex_is_a_booktabs_table(tables):
    """Every row has as many cells as there are columns, and braces and dollars match."""
    text = latex_of(list(map(sheet_of, tables)))
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    assert r"\caption{net\_1 on d, r: top-1 accuracy. In per cent; bold: the best" in text
    assert r"\begin{tabular}{lrrr}" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = re.findall(r"^(.*) \\\\$", body, re.MULTILINE)
    assert len(rows) == 5
    assert {row.count("&") for row in rows} == {3}
    assert rows[1] == r"actmax & \textbf{98.00} & \textbf{95.00} & \textit{60.00}\rlap{$^\dagger$}"
    assert rows[4] == "relu6 & -- & -- & --"
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_csv_has_a_row_for_every_entry(tables):
    """With its limits and its marks."""
    rows = list(csv.DictReader(io.StringIO(csv_of(frame_of(tables)).decode())))
    assert len(rows) == 5 * 3
    assert rows[5] == {
        "model": "net_1",
        "data": "d",
        "faults": "r",
        "protect": "actmax",
        "quantize": "none",
        "column": "1e-5",
        "value": "0.6",
        "low": "0.5",
        "high": "0.7",
        "mark": "second overlaps",
    }
    assert rows[-1]["value"] == ""


def test_parquet_holds_what_csv_holds(tables):
    """The same columns with the same values."""
    frame = frame_of(tables)
    rows = csv.DictReader(io.StringIO(csv_of(frame).decode()))
    kept = pl.read_parquet(io.BytesIO(parquet_of(frame)))
    assert kept.schema == frame.schema
    for row, same in zip(rows, kept.to_dicts(), strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in same.items()}
