"""``--nan argmax``: outputs with NaN counted as published lists of single faults count them."""

import csv

import numpy as np
import pytest
from campaign_kit import COUNTS, DIGITS, cli, cli_json, counts, digits_batches, flipped, naive_outcomes, rows, session

import ftonnx
from ftonnx.errors import StoreError, UsageError
from ftonnx.inject import FaultList
from ftonnx.report import build, outcomes_table
from ftonnx.tasks import Classification

LINES = [
    ("block2.shortcut.0", (12, 7, 0, 0), 30),
    ("block3.shortcut.0", (5, 12, 0, 0), 30),
    ("block1.conv1", (9, 14, 1, 0), 30),
    ("conv", (0, 0, 0, 1), 30),
    ("conv", (1, 0, 0, 0), 2),
]
"""Single faults; the first three overflow to NaN in some outputs, the last one is harmless."""

RUN = {"batch_size": 20, "strategy": "live", "threads": 1}


@pytest.fixture
def faults(tmp_path):
    """A published list of single faults."""
    text = "Injection,Layer,TensorIndex,Bit\n"
    text += "".join(f'{number},{layer},"{index}",{bit}\n' for number, (layer, index, bit) in enumerate(LINES))
    (tmp_path / "faults.csv").write_text(text)
    return tmp_path / "faults.csv"


def expected(nan):
    """Return the outcomes of each listed fault on 40 images, image by image."""
    ((images, labels),) = digits_batches(40, 40)
    golden = session(DIGITS, live=True).run(None, {"input": images})[0]
    runs = [session(flipped(f"{layer}.weight", *place), live=True).run(None, {"input": images})[0]
            for layer, *place in LINES]  # fmt: skip
    return [naive_outcomes(outputs, golden, labels, nan) for outputs in runs]


@pytest.mark.parametrize("nan", ["due", "argmax"])
def test_a_fault_list_counts_as_a_loop_over_images_does(tmp_path, faults, nan):
    """Counts in the folder, and the classes of the written list, against files flipped by hand."""
    out, results = tmp_path / "out.csv", tmp_path / "r"
    found = cli_json(
        "inject", "digits", "--data", "digits", "--limit", 40, "--batch-size", 20, "--strategy", "live", "--threads", 1,
        "--fault-list", faults, "--fault-list-out", out, "--nan", nan, "--results", results,
    )  # fmt: skip
    assert found["task"] == {"name": "classification", "nan": nan}
    naive = expected(nan)
    assert sum(each["due"] for each in naive) > 0
    recorded = counts(results)
    for number, wanted in enumerate(naive):
        units = [row for (_, repeat, _), row in recorded.items() if repeat == number]
        assert {name: sum(unit[name] for unit in units) for name in COUNTS} == wanted
    with out.open(newline="") as file:
        for row, wanted in zip(csv.DictReader(file), naive, strict=True):
            critical = wanted["sdc1"] + (wanted["due"] if nan == "due" else 0)
            assert int(row["critical"]) == critical
            assert int(row["masked"]) == wanted["masked"]
            assert int(row["non_critical"]) == 40 - wanted["masked"] - critical


def test_both_rules_see_the_same_outputs(tmp_path, faults):
    """DUE, masked and the number of images agree; argmax finds the golden class in some outputs with NaN."""
    for nan in ("due", "argmax"):
        ftonnx.evaluate(
            "digits",
            digits_batches(20, 40),
            faults=FaultList.read(faults),
            task=Classification(nan=nan),
            **RUN,
            results=tmp_path / nan,
        )
    pairs = list(zip(counts(tmp_path / "due").values(), counts(tmp_path / "argmax").values(), strict=True))
    assert all((a["n"], a["due"], a["masked"]) == (b["n"], b["due"], b["masked"]) for a, b in pairs)
    critical = [sum(a["sdc1"] + a["due"] for a, _ in pairs), sum(b["sdc1"] for _, b in pairs)]
    assert critical[0] > critical[1]


def test_several_processes_judge_alike(tmp_path, faults):
    """The rule travels to the workers."""
    for jobs in (1, 2):
        run = RUN | {"batch_size": 180, "jobs": jobs, "task": Classification(nan="argmax")}
        ftonnx.evaluate("digits", "digits", FaultList.read(faults), **run, results=tmp_path / str(jobs))
    assert counts(tmp_path / "1") == counts(tmp_path / "2")


@pytest.mark.parametrize(("first", "second"), [("due", "argmax"), ("argmax", "due")])
def test_a_folder_of_one_rule_is_not_continued_with_the_other(tmp_path, first, second):
    """They are different campaigns, and the message names the setting."""
    run = {"rates": [1e-5], "repeats": 2, **RUN, "results": tmp_path / "r"}
    ftonnx.evaluate("digits", digits_batches(20, 20), task=Classification(nan=first), **run)
    with pytest.raises(StoreError, match=f"recorded with task classification:nan={first}, asked for task"):
        ftonnx.evaluate("digits", digits_batches(20, 20), task=Classification(nan=second), **run)
    ftonnx.evaluate("digits", digits_batches(20, 20), task=Classification(nan=first), **run)
    assert len(rows(tmp_path / "r")) == 2


def test_shares_of_a_report_add_up_where_sdc_and_due_overlap(faults):
    """No output is left for DUE, and the page says why."""
    result = ftonnx.evaluate(
        "digits", digits_batches(20, 40), faults=FaultList.read(faults), task=Classification(nan="argmax"), **RUN
    )
    shares = dict(outcomes_table([result]).select("outcome", "share").iter_rows())
    (found,) = result.rates
    assert found.due.mean > 0
    assert sum(shares.values()) == pytest.approx(1)
    assert (shares["DUE"], shares["SDC"], shares["masked"]) == (0, found.sdc1.mean, found.masked.mean)
    assert "Here NaN counts by argmax" in build([result]).html()


def test_campaigns_of_different_rules_are_not_compared(tmp_path):
    """Their accuracies mean different things."""
    for nan in ("due", "argmax"):
        ftonnx.evaluate(
            "digits",
            digits_batches(20, 20),
            rates=[1e-5],
            repeats=2,
            task=Classification(nan=nan),
            **RUN,
            results=tmp_path / nan,
        )
    with pytest.raises(UsageError, match="the same task was expected"):
        ftonnx.compare([tmp_path / "due", tmp_path / "argmax"])


def test_a_golden_run_with_nan_has_a_class_by_argmax(tmp_path):
    """So a list can be written of it, which is refused where NaN is a detected error."""
    images = digits_batches(40, 40)[0][0].copy()
    images[3] = 3e38  # overflows in the first layer
    np.savez(tmp_path / "d.npz", images=images, labels=np.zeros(40, np.int64))
    run = ("inject", "digits", "--data", f"npz:{tmp_path}/d.npz", "--scale", 1, "--faults-per-run", 1, "--repeats", 3,
           "--format", "ieee", "--roles", "weight", "--strategy", "live", "--threads", 1)  # fmt: skip
    refused = cli(*run, "--fault-list-out", tmp_path / "due.csv", "--results", tmp_path / "due")
    assert (refused.code, "has NaN or Inf" in refused.err) == (4, True)
    made = cli(*run, "--nan", "argmax", "--fault-list-out", tmp_path / "argmax.csv", "--results", tmp_path / "argmax")
    assert made.code == 0, made.err
    with (tmp_path / "argmax.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert sum(int(row[name]) for name in ("masked", "non_critical", "critical")) == 40


def test_unknown_rules_are_refused():
    """By the task, from Python and from the command line; the message names those there are."""
    with pytest.raises(UsageError, match="nan 'ignore' is not known: use due or argmax"):
        Classification(nan="ignore")
    refused = cli("inject", "digits", "--nan", "ignore")
    assert (refused.code, "use due or argmax" in refused.err) == (2, True)
