"""``ftonnx study``, its exit codes, and what a kill or a signal leaves."""

import csv
import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from campaign_kit import (
    cli,
    cli_json,
    contents,
    counts,
    finish,
    one_error_line,
    process,
    recorded,
    wait_for_units,
)
from study_kit import SMALL, changed, write

from ftonnx.errors import StoreError
from ftonnx.models import resolve
from ftonnx.studies import StudyResult

TABLES = tuple(f"{name}.{ending}" for name in ("tables", "differences") for ending in ("md", "csv", "tex", "parquet"))


def tables(folder):
    """Return the bytes of the files of tables."""
    return {name: (Path(folder) / name).read_bytes() for name in TABLES}


@pytest.fixture
def file(tmp_path):
    """Return the small study as a file."""
    return write(tmp_path / "s.toml", SMALL)


def test_the_command_writes_tables_charts_and_reports(file, tmp_path):
    """What is printed is what is written; all stands in the study's folder."""
    folder = tmp_path / "s"
    done = cli("study", file, "-o", folder)
    assert done.code == 0, done.err
    assert "net on digits, rates: top-1 accuracy" in done.out
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "campaigns",
        "charts",
        *sorted(name for name in TABLES if name.startswith("differences")),
        "models",
        "report.html",
        "reports",
        *sorted(name for name in TABLES if name.startswith("tables")),
    ]
    assert {path.name for path in (folder / "charts").iterdir()} == {
        f"digits+rates.{ending}" for ending in ("png", "svg", "pdf")
    }
    page = (folder / "reports" / "net@digits+rates.html").read_text()
    assert all(name in page for name in ("net actmax + ptq", "net ptq", "net actmax"))
    rows = list(csv.DictReader((folder / "tables.csv").read_text().splitlines()))
    for row in rows:
        variant = [step for step in (row["protect"], row["quantize"]) if step != "none"]
        (line,) = re.findall(rf"^{re.escape(' + '.join(variant) or 'as it is')} {{2,}}.*$", done.out, re.MULTILINE)
        assert f" {100 * float(row['value']):.2f} " in line
    found = cli_json("study", file, "-o", folder)
    assert [entry["value"] for entry in found["entries"]] == [float(row["value"]) for row in rows]
    assert found["failures"] == []
    rows = list(csv.DictReader((folder / "differences.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2
    assert [str(each["p_holm"]) for each in found["differences"]] == [row["p_holm"] for row in rows]
    (warning,) = found["warnings"]
    assert re.fullmatch(r"4 fault patterns: .* \(all campaigns\)", warning)
    assert f"warning: {warning}" in done.err


def test_a_dry_run_prints_a_tree_and_writes_nothing(file, tmp_path):
    """The steps below what they are made from, the units of every campaign and of all."""
    done = cli("study", file, "-o", tmp_path / "s", "--dry-run")
    assert done.code == 0
    assert not (tmp_path / "s").exists()
    assert "net/actmax/ptq/digits/rates: to do, 0 of 8 units" in done.out
    total = (
        r"4 campaigns, 32 units to run, about \d+ s here, not counting quantizing \(2\), measuring thresholds \(1\); no"
    )
    assert re.search(total, done.out)
    lines = done.out.splitlines()
    depth = {line.split(":")[0].lstrip("│├└─ "): len(line) - len(line.lstrip("│├└─ ")) for line in lines}
    assert depth["net/given"] < depth["net/actmax@digits"] < depth["net/actmax+ptq@digits"]
    assert len(cli_json("study", file, "-o", tmp_path / "s", "--dry-run")["steps"]) == 8


def test_a_failing_cell_is_a_line_and_exit_code_5(tmp_path):
    """The others are done and stand in the tables; the next run tries it again."""
    missing = tmp_path / "late.onnx"
    values = changed(models={"net": "digits", "late": str(missing)}, matrix={"protect": ["none"], "quantize": ["none"]})
    file = write(tmp_path / "s.toml", values)
    first = cli("study", file, "-o", tmp_path / "s")
    assert first.code == 5
    warning, patterns, where, error = first.err.splitlines()
    assert patterns.startswith("warning: 4 fault patterns")
    assert warning.startswith("warning: late/none/none/digits/rates: ")
    assert "late.onnx" in warning
    assert where == f"tables, charts and reports: {tmp_path / 's'}"
    assert error == "error: 1 of 2 cells failed: late/none/none/digits/rates; the others are done"
    assert "| late | as it is | - | - | - |" in (tmp_path / "s" / "tables.md").read_text()
    shutil.copy(resolve("digits"), missing)
    assert cli("study", file, "-o", tmp_path / "s").code == 0
    assert "| - |" not in (tmp_path / "s" / "tables.md").read_text()


def test_what_failed_is_said_even_where_the_tables_cannot_be_written(tmp_path, monkeypatch):
    """As on a full disk, which is what ends the command."""

    def save(*_):
        raise StoreError("tables.md cannot be written: no space is left")

    monkeypatch.setattr(StudyResult, "save", save)
    models = {"net": "digits", "late": str(tmp_path / "late.onnx")}
    values = changed(models=models, matrix={"protect": ["none"], "quantize": ["none"]})
    done = cli("study", write(tmp_path / "s.toml", values), "-o", tmp_path / "s")
    assert done.code == 4
    warning, error = done.err.splitlines()
    assert warning.startswith("warning: late/none/none/digits/rates: ")
    assert error == "error: tables.md cannot be written: no space is left"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a study FILE.toml was expected; --example prints one"),
        (("s.toml",), "-o DIR is missing"),
        (("no.toml", "-o", "s"), "no.toml: a study in TOML was expected"),
        (("wrong.toml", "-o", "s"), "wrong.toml:1: study.reapeats is not known; did you mean repeats?"),
        (("s.toml", "-o", "s", "--only", "nett/*"), "--only nett/* fits no cell"),
        (("s.toml", "-o", "s", "--jobs", "0"), "--jobs: auto, or a number of processes"),
        (("s.toml", "-o", "s", "--scheduler", "tcp://a:1"), "--scheduler is one of Dask's"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(arguments, message, tmp_path, monkeypatch):
    """With exit code 2."""
    monkeypatch.chdir(tmp_path)
    write("s.toml", SMALL)
    write("wrong.toml", changed(study={"reapeats": 3}))
    done = cli("study", *arguments)
    assert done.code == 2
    assert message in one_error_line(done)
    assert not Path("s").exists()


def test_the_schema_and_the_example_are_printed(tmp_path, monkeypatch):
    """Without a file; the example is planned as it stands."""
    monkeypatch.chdir(tmp_path)
    assert json.loads(cli("study", "--schema").out)["$defs"]["Document"]["required"] == [
        "study",
        "models",
        "data",
    ]
    Path("e.toml").write_text(cli("study", "--example").out)
    assert cli("study", "e.toml", "-o", "e", "--dry-run").code == 0


@pytest.mark.slow
def test_the_example_runs_as_it_stands(tmp_path, monkeypatch):
    """On the embedded model and data."""
    monkeypatch.chdir(tmp_path)
    Path("e.toml").write_text(cli("study", "--example").out)
    done = cli("study", "e.toml", "-o", "e")
    assert done.code == 0, done.err
    assert len(Path("e/tables.md").read_text().splitlines()) == 15


LONGER = changed(study={"repeats": 150}, matrix={"protect": ["none", "actmax"], "quantize": ["none"]})
"""Long enough that a signal finds a campaign at work."""
FIRST_CELL = "campaigns/net/none/none/digits"


def first_results(folder):
    """Return the results folder of the first cell, once it is there; one without units before."""
    found = list((folder / FIRST_CELL).glob("rates.*"))
    return found[0] if found else folder / FIRST_CELL


def wait_for_first_units(folder, running):
    """Wait until the first campaign has recorded something."""
    deadline = time.monotonic() + 60
    while not (folder / FIRST_CELL).exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while not list((folder / FIRST_CELL).glob("rates.*")):
        time.sleep(0.01)
    wait_for_units(first_results(folder), running)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_study_which_then_goes_on(signum, code, tmp_path):
    """After the unit in work, with one line; what is recorded stays."""
    file = write(tmp_path / "s.toml", LONGER)
    running = process("study", file, "-o", "s", folder=tmp_path)
    wait_for_first_units(tmp_path / "s", running)
    running.send_signal(signum)
    stopped = finish(running)
    assert stopped.code == code
    assert signal.Signals(signum).name in one_error_line(stopped)
    assert not (tmp_path / "s" / "tables.md").exists()
    before = recorded(first_results(tmp_path / "s"))
    assert 0 < before < 600
    assert cli("study", file, "-o", tmp_path / "s").code == 0
    assert recorded(first_results(tmp_path / "s")) == 600


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_study_killed_at_random_moments_ends_with_the_same_tables(tmp_path):
    """SIGKILL anywhere, start again, five times: byte for byte the tables of an uninterrupted study, and all counts."""
    file = write(tmp_path / "s.toml", changed(study={"repeats": 60}))
    assert cli("study", file, "-o", tmp_path / "whole").code == 0
    moments = random.Random(5)
    for _ in range(5):
        running = process("study", file, "-o", "s", folder=tmp_path)
        time.sleep(moments.uniform(0.5, 6))
        running.kill()
        finish(running)
    assert finish(process("study", file, "-o", "s", folder=tmp_path)).code == 0
    assert tables(tmp_path / "s") == tables(tmp_path / "whole")
    campaigns = {path.parent.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("campaign.json")}
    assert len(campaigns) == 4
    for name in campaigns:
        assert counts(tmp_path / "s" / name) == counts(tmp_path / "whole" / name)
    assert not list((tmp_path / "s").rglob("*.part"))


def test_a_finished_folder_that_cannot_be_written_to_is_printed(file, tmp_path, monkeypatch):
    """As it was printed before, and it is said that nothing was written."""
    folder = tmp_path / "s"
    before = cli("study", file, "-o", folder)
    kept = contents(folder)
    allowed = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode: allowed(path, mode) and not (mode & os.W_OK and Path(path).is_relative_to(folder)),
    )
    again = cli("study", file, "-o", folder)
    assert (again.code, again.out) == (0, before.out)
    assert again.err.splitlines()[-1] == f"{folder} cannot be written to, and was only read"
    assert contents(folder) == kept


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_second_process_is_sent_away_and_the_first_goes_on(tmp_path):
    """With one line and exit code 4; the first one's tables are whole."""
    file = write(tmp_path / "s.toml", LONGER)
    running = process("study", file, "-o", "s", folder=tmp_path)
    wait_for_first_units(tmp_path / "s", running)
    second = cli("study", file, "-o", tmp_path / "s")
    assert second.code == 4
    assert "is in use by another process; wait for it to end" in one_error_line(second)
    assert cli("study", file, "-o", tmp_path / "s", "--dry-run").code == 0
    assert finish(running).code == 0
    assert recorded(first_results(tmp_path / "s")) == 600


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_twice_ends_a_study_which_then_goes_on(tmp_path):
    """With 130, within seconds; nothing that is recorded is lost."""
    file = write(tmp_path / "s.toml", LONGER)
    running = process("study", file, "-o", "s", folder=tmp_path)
    wait_for_first_units(tmp_path / "s", running)
    running.send_signal(signal.SIGINT)
    running.send_signal(signal.SIGINT)
    assert finish(running).code == 130
    before = counts(first_results(tmp_path / "s"))
    assert before
    assert cli("study", file, "-o", tmp_path / "s").code == 0
    after = counts(first_results(tmp_path / "s"))
    assert len(after) == 600
    assert before.items() <= after.items()
