"""``ftonnx report``, from results folders to files, and the command that repeats a campaign."""

import json
import os
import resource
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from campaign_kit import BASE, cli, cli_json, contents, counts, one_error_line
from report_kit import campaign

import ftonnx
from ftonnx.campaign import CampaignResult, Settings
from ftonnx.inject import FaultList
from ftonnx.report import repeat_command

SMALL = ("inject", *BASE, "--limit", "20", "--batch-size", "10", "--repeats", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A results folder of a campaign over rates."""
    path = tmp_path_factory.mktemp("campaign") / "run"
    assert cli(*SMALL, "--rate", "1e-5", "--rate", "1e-4", "--seed", "7", "--results", path).code == 0
    return path


def test_a_report_is_written_and_its_verdict_printed(folder, tmp_path):
    """The page, charts and tables; the results folder is only read."""
    before = contents(folder)
    done = cli("report", folder, "-o", tmp_path / "out", "--charts", tmp_path / "c", "--tables", tmp_path / "t")
    assert done.code == 0
    assert "digits classifies 100.00 % of 20 images correctly without faults" in done.out
    few, written = done.err.splitlines()
    assert few.startswith("warning: 4 fault patterns")
    assert written == f"report: {tmp_path / 'out' / 'report.html'}"
    assert "Accuracy under bit flips: digits" in (tmp_path / "out" / "report.html").read_text()
    assert (tmp_path / "c" / "accuracy.pdf").stat().st_size > 1000
    assert (tmp_path / "t" / "rates.csv").read_text().startswith("model,rate,")
    assert {name: held for name, held in contents(folder).items() if not name.endswith(("-wal", "-shm"))} == before


def test_json_lists_what_was_written(folder, tmp_path, monkeypatch):
    """One object with the verdict and the files; the page lies here by default; a relative folder is found."""
    monkeypatch.chdir(folder.parent)
    found = cli_json("report", folder.name, "--tables", tmp_path)
    assert found["files"][0] == "report.html"
    assert (folder.parent / "report.html").exists()
    assert str(tmp_path / "rates.parquet") in found["files"]
    assert "digits classifies" in found["verdict"]
    assert found["warnings"][0].startswith("4 fault patterns")


def test_loss_and_environment_decide(folder, tmp_path):
    """The page names both. Neither leaves a file where it makes no sense."""
    (tmp_path / "orbit.toml").write_text('upsets_per_bit_day = 1e-4\nscrub = "90min"\n')
    page = tmp_path / "report.html"
    done = cli("report", folder, "-o", page, "--loss", "0.025", "--environment", tmp_path / "orbit.toml")
    assert done.code == 0, done.err
    text = page.read_text()
    assert "where a loss of up to 2.5 points is allowed" in text
    assert "a bit is found flipped with probability 3.125e-06" in text
    (tmp_path / "none.toml").write_text("upsets_per_bit_day = 1e-4\n")
    for options, message in (
        (("--loss", "1"), "--loss: from 0 to below 1 was expected"),
        (("--environment", tmp_path / "none.toml"), "an exposure or a scrub interval"),
        (("--environment", tmp_path / "no.toml"), "an environment in TOML was expected"),
    ):
        done = cli("report", folder, "-o", tmp_path / "wrong.html", *options)
        assert done.code == 2
        assert message in one_error_line(done)
    assert not (tmp_path / "wrong.html").exists()


def test_the_activations_command_feeds_the_report(folder, tmp_path):
    """Its JSON is taken as it is."""
    printed = cli("activations", "digits", "--data", "digits", "--limit", "20", "--faults", "1e-3", "--json")
    (tmp_path / "a.json").write_text(printed.out)
    assert cli("report", folder, "-o", tmp_path / "r.html", "--activations", tmp_path / "a.json").code == 0
    assert 'id="chart-activations"' in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("report", "missing"), 4, "holds no campaign"),
        (("report",), 2, "RESULTS"),
        (("report", "FOLDER", "--activations", "missing.json"), 4, "run ftonnx activations"),
        (("report", "FOLDER", "-o", "/dev/null/x.html"), 4, "cannot be written"),
    ],
)
def test_bad_input_gives_one_line(folder, arguments, code, message, tmp_path, monkeypatch):
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    done = cli(*(folder if argument == "FOLDER" else argument for argument in arguments))
    assert done.code == code
    assert message in one_error_line(done)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "options",
    [
        ("--rate", "1e-5", "--rate", "2.5e-4", "--include", "block*", "--include", "conv.*", "--exclude", "*bias*"),
        ("--rate", "1e-5", "--split", "val", "--scale", "1/32", "--format", "q7.8", "--roles", "weight"),
        ("--faults-per-run", "3", "--seed", "18446744073709551615"),
        ("--per-layer", "2", "--bits", "0,30-31"),
        ("--exhaustive", "--include", "linear.bias", "--bits", "31"),
    ],
)
def test_the_shown_command_repeats_the_campaign(options, tmp_path):
    """Another folder gets the same identity and the same counts."""
    injected = not options[0].startswith("--rate")
    base = SMALL[:-2] if injected and options[0] != "--faults-per-run" else SMALL
    assert cli(*base, *options, "--results", tmp_path / "first").code == 0
    command = shlex.split(repeat_command(CampaignResult.open(tmp_path / "first")))
    assert command[:2] == ["ftonnx", "inject"]
    again = cli(*command[1:], "--results", tmp_path / "second")
    assert again.code == 0, again.err
    headers = [json.loads((tmp_path / name / "campaign.json").read_text()) for name in ("first", "second")]
    assert headers[0]["identity"] == headers[1]["identity"]
    assert counts(tmp_path / "first") == counts(tmp_path / "second")


def test_a_published_list_of_faults_is_asked_for_by_file():
    """Its path is not known, and the number of injections follows from it."""
    listed = campaign(faults=FaultList(None, "ab" * 32), settings=Settings(format="ieee", repeats=9))
    command = shlex.split(repeat_command(listed))
    assert command[:4] == ["ftonnx", "inject", "/models/net.onnx", "--data"]
    assert command[command.index("--fault-list") + 1] == "FILE.csv"
    assert not {"--rate", "--repeats"} & set(command)


def test_what_only_a_program_had_cannot_be_repeated_from_a_shell(tmp_path):
    """Images from memory have no spec."""
    images = np.zeros((4, 1, 8, 8), np.float32)
    data = [(images, np.arange(4))]
    result = ftonnx.evaluate("digits", data, rates=[1e-5], repeats=2, strategy="live", results=tmp_path / "r")
    assert repeat_command(result) is None


def test_a_tight_ulimit_is_one_line_and_leaves_the_older_page(folder, tmp_path):
    """The renderer's V8 would abort the process; it reserves more addresses than any memory has."""
    page = tmp_path / "page.html"
    page.write_text("older")
    command = [sys.executable, "-m", "ftonnx", "report", str(folder), "-o", str(page), "--force"]
    surroundings = os.environ | {"PYTHONPATH": str(Path(ftonnx.__file__).parents[1])}
    limited = partial(resource.setrlimit, resource.RLIMIT_AS, (32 << 30, 32 << 30))
    done = subprocess.run(
        command, env=surroundings, preexec_fn=limited, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: charts are drawn by V8, which reserves 66 GiB of addresses, and `ulimit -v`")
    assert page.read_text() == "older"
