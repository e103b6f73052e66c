"""Differences between variants and the model as it is: by hand-made results, and by real campaigns."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from study_kit import ran

from ftonnx.campaign import compare
from ftonnx.campaign.results.comparison import ModelComparison, RateComparison
from ftonnx.report.frames import csv_of, parquet_of
from ftonnx.stats.differences import Difference
from ftonnx.studies import Cell, DifferenceRow, DifferenceTable
from ftonnx.studies.differences import differences_frame
from ftonnx.studies.markup import latex_of, markdown_of
from ftonnx.studies.sheets import sheet_of_differences

SHOWN = "no difference shown"


def compared(pairing, *found):
    """Return a comparison at the rates 1e-6 and so on, each of (mean, low, high, p by Holm, verdict)."""
    rates = []
    for power, (mean, low, high, p_holm, outcome) in enumerate(found):
        difference = Difference(mean, low, high, 0.95, p_holm and p_holm / 2, None, 9)
        rates.append(
            RateComparison(
                rate=10.0 ** (power - 6),
                baseline=0.5,
                accuracy=0.5 + mean,
                difference=difference,
                p_holm=p_holm,
                outcome=outcome,
            )
        )
    return ModelComparison(
        model="m", results=Path("m"), golden=0.9, pairing=pairing, why=None, rates=tuple(rates), auc=None
    )


@pytest.fixture
def table():
    """Return differences that are better, worse, open, without an interval and not known."""
    rows = {
        "actmax": compared("faults", (0.25, 0.2, 0.3, 0.002, "better"), (-0.1, -0.15, -0.05, 0.01, "worse")),
        "relu6": compared("images", (0.01, -0.02, 0.04, 0.6, SHOWN), (0.3, None, None, None, SHOWN)),
        "ranger": None,
    }
    found = [DifferenceRow(Cell("net_1", protect, "none", "d", "r"), row) for protect, row in rows.items()]
    return DifferenceTable(data="d", faults="r", figure="top-1 accuracy", rates=(1e-6, 1e-5), rows=tuple(found))


def test_markdown_shows_points_intervals_and_verdicts(table):
    """An arrow where the corrected verdict says so, and a dash where a campaign is missing."""
    lines = markdown_of("study", [sheet_of_differences(table)]).splitlines()
    assert lines[2] == r"## net\_1 on d, r: top-1 accuracy minus that of the model as it is"
    assert lines[6:] == [
        "| actmax | +25.00 (+20.00 to +30.00) ↑ | -10.00 (-15.00 to -5.00) ↓ |",
        "| relu6 | +1.00 (-2.00 to +4.00) | +30.00 (no interval) |",
        "| ranger | - | - |",
        "",
        "In percentage points, with intervals of 95 per cent, and verdicts after Holm's correction for all differences "
        "of the study; ↑: better than what it is compared with; ↓: worse.",
    ]


def test_histories_have_their_times_in_every_form(table):
    """As the tables of accuracies have them."""
    rates = table.rows[0].compared.rates
    timed = tuple(replace(rate, hours=hours) for rate, hours in zip(rates, (1.0, 36.0), strict=True))
    row = DifferenceRow(table.rows[0].cell, replace(table.rows[0].compared, rates=timed))
    table = replace(table, rows=(table.rows[2], row))
    assert sheet_of_differences(table).columns == ("1e-6 (1h)", "1e-5 (36h)")
    assert differences_frame([table])["column"].to_list() == 2 * ["1e-6 (1h)", "1e-5 (36h)"]


def test_latex_has_the_intervals_below(table):
    """In rows of as many cells, with matching braces and dollars, and nothing that a row would take for its option."""
    text = latex_of([sheet_of_differences(table)])
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = re.findall(r"^(.*) \\\\(?:\[-0.5ex\])?$", body, re.MULTILINE)
    assert rows == [
        r"actmax & $+$25.00\rlap{$\,\uparrow$} & $-$10.00\rlap{$\,\downarrow$}",
        r" & {\scriptsize $+$20.00 to $+$30.00} & {\scriptsize $-$15.00 to $-$5.00}",
        r"relu6 & $+$1.00 & $+$30.00",
        r" & {\scriptsize $-$2.00 to $+$4.00} & {\scriptsize no interval}",
        "ranger & -- & --",
    ]


def test_csv_and_parquet_hold_every_difference(table):
    """With the p-values before and after the correction; what is missing is empty."""
    frame = differences_frame([table])
    rows = list(csv.DictReader(io.StringIO(csv_of(frame).decode())))
    assert rows[1] == {
        "model": "net_1",
        "data": "d",
        "faults": "r",
        "protect": "actmax",
        "quantize": "none",
        "column": "1e-5",
        "difference": "-0.1",
        "low": "-0.15",
        "high": "-0.05",
        "p_value": "0.005",
        "p_holm": "0.01",
        "outcome": "worse",
        "pairing": "faults",
    }
    assert [row["difference"] for row in rows] == ["0.25", "-0.1", "0.01", "0.3", "", ""]
    assert [row["p_holm"] for row in rows] == ["0.002", "0.01", "0.6", "", "", ""]
    kept = pl.read_parquet(io.BytesIO(parquet_of(frame))).to_dicts()
    assert rows == [{name: "" if value is None else str(value) for name, value in row.items()} for row in kept]


def test_notes_say_what_the_campaigns_share(table):
    """One sentence for all variants that share as much; none for what is not known."""
    assert table.notes == (
        "actmax against the model as it is: paired: the same fault patterns on the same batches.",
        "relu6 against the model as it is: partially paired: the same batches, but other fault patterns.",
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the result of two models at rates and under injections, one of them never measured as it is."""
    return ran(
        tmp_path_factory.mktemp("study"),
        models={"net": "digits", "twin": "digits", "other": "digits"},
        faults={"few": {"rate": [0.0, 1e-5]}, "many": {"rate": [1e-4, 1e-3]}, "one": {"faults_per_run": 1}},
        exclude=[
            {"model": "other", "protect": "none", "quantize": "none"},
            {"model": "other", "faults": ["many", "one"]},
        ],
    )


def test_differences_are_those_of_compare(study):
    """Between the folders of the study, model by model, on all rates above 0; injections have none."""
    few, many = study.differences
    assert (few.rates, many.rates) == ((1e-5,), (1e-4, 1e-3))
    for table in (few, many):
        for model in ("net", "twin"):
            rows = [row for row in table.rows if row.cell.model == model]
            assert [row.cell.variant for row in rows] == ["ptq", "actmax", "actmax + ptq"]
            plain = study.results[Cell(model, "none", "none", "digits", table.faults)]
            by_hand = compare([plain.results, *(study.results[row.cell].results for row in rows)])
            for row, expected in zip(rows, by_hand.models, strict=True):
                assert [each.difference for each in row.compared.rates] == [each.difference for each in expected.rates]
                assert row.compared.pairing == expected.pairing


def test_a_model_that_was_not_measured_as_it_is_has_no_differences(study):
    """Its rows stay, with nothing in them."""
    few, _ = study.differences
    rows = [row for row in few.rows if row.cell.model == "other"]
    assert [row.cell.variant for row in rows] == ["ptq", "actmax", "actmax + ptq"]
    assert {row.compared for row in rows} == {None}


def test_the_verdicts_of_a_study_are_corrected_together(study):
    """By Holm's method over all tables and models: the k-th smallest of n p-values times n - k + 1, never falling."""
    every = [each for table in study.differences for row in table.rows if row.compared for each in row.compared.rates]
    assert len(every) == 2 * 3 * (1 + 2)
    ordered = sorted(every, key=lambda each: each.difference.p_value)
    least = 0.0
    for place, each in enumerate(ordered):
        least = max(least, min(1.0, each.difference.p_value * (len(every) - place)))
        assert each.p_holm == pytest.approx(least)
        sure = each.p_holm <= 0.05 and each.difference.mean != 0
        assert (each.outcome != SHOWN) == sure
