"""The script of the study on EuroSAT: which commands it calls, with which options, and that none is called twice."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftonnx.cli import app

SCRIPT = Path(__file__).parents[2] / "docs" / "pretraining_study.py"
SAID = {"golden": {"top1": 0.9}, "rates": [{"top1": {"mean": 0.5, "low": 0.4, "high": 0.6}}] * 8}


@pytest.fixture
def study():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("pretraining_study", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def calls(study, monkeypatch):
    """The commands that would run; each leaves the file that it is asked for."""
    found = []

    def run(command, **_):
        words = command[3:]
        found.append(words)
        if "-o" in words:
            Path(words[words.index("-o") + 1]).touch()
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(SAID))

    monkeypatch.setattr(study.subprocess, "run", run)
    return found


def test_every_step_is_done_once(tmp_path, study, calls, monkeypatch, capsys):
    """Three networks, two of them from backbones; five variants of each, and their campaigns."""
    monkeypatch.setattr(sys, "argv", ["study", "EuroSAT", "--work", str(tmp_path / "work"), "--threads", "1"])
    study.main()
    names = [words[0] for words in calls]
    expected = {"pretrain": 2, "finetune": 3, "export": 3, "protect": 6, "quantize": 3, "qat": 3, "inject": 15}
    assert {name: names.count(name) for name in names} == expected
    out = capsys.readouterr().out
    assert out.count("| int8-qat | 90.0 | 50.0 (40.0-60.0) |") == 3
    assert json.loads((tmp_path / "work/study.json").read_text())["ssql"]["float"] == SAID
    calls.clear()
    study.main()
    # campaigns that are done say again what they found
    assert {words[0] for words in calls} == {"inject"}


@pytest.mark.slow
def test_every_option_that_it_gives_is_one(tmp_path, study, calls, monkeypatch):
    """Of the command that it gives it to."""
    monkeypatch.setattr(sys, "argv", ["study", "E", "--work", str(tmp_path), "--threads", "1", "--test-images", "5"])
    study.main()
    given = {(words[0], word) for words in calls for word in words if word.startswith("--")}
    helps = {name: CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "300"}).output for name, _ in given}
    for name, option in given:
        assert option in helps[name], (name, option)
