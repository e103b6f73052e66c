"""A line on stderr says what usually follows a command."""

import pytest
from campaign_kit import BASE, cli

from ftonnx.cli.next_steps import next_step

FEW = ("inject", *BASE, "--limit", "16", "--rate", "1e-5", "--repeats", "2")


@pytest.mark.parametrize(
    ("command", "values", "follows"),
    [
        ("inject", {"results": "my run"}, "ftonnx report 'my run' -o report.html"),
        ("inject", {"results": "r", "report": "r.html"}, "ftonnx inject --results r --repeats MORE"),
        ("inject", {"results": "r", "shard": "1/2"}, "ftonnx merge PARTS... -o all"),
        ("inject", {"results": None}, None),
        ("inject", {"results": "r", "dry_run": True}, None),
        ("export", {"output": "m.onnx"}, "ftonnx inject m.onnx --data SPEC --results run"),
        ("protect", {"output": "c.onnx", "data": "digits"}, "ftonnx inject c.onnx --data digits --results run"),
        ("protect", {"output": "c.onnx", "data": None}, "ftonnx inject c.onnx --data SPEC --results run"),
        ("finetune", {"arch": "resnet18", "output": "t.pth"}, "ftonnx export resnet18 --weights t.pth -o model.onnx"),
        ("finetune", {"arch": "r", "output": "t.onnx", "data": "d"}, "ftonnx inject t.onnx --data d --results run"),
        ("compare", {"results": ["a", "b"]}, "ftonnx report a b -o report.html"),
        ("gate", {"results": None}, None),
        ("plan", {}, None),
    ],
)
def test_each_command_has_the_one_that_follows(command, values, follows):
    """Written for a shell; none where nothing does."""
    assert next_step(command, values) == follows


def test_it_is_said_to_people_only(tmp_path):
    """Not with --json or --quiet."""
    folder = tmp_path / "r"
    said = cli(*FEW, "--results", folder).err.splitlines()
    assert said[-1] == f"next: ftonnx report {folder} -o report.html"
    assert "next:" not in cli(*FEW, "--results", folder, "--json").err
    assert cli(*FEW, "--results", folder, "-q").err == ""


def test_a_verdict_is_coloured_where_colour_is_on(monkeypatch):
    """And only there."""
    asked = ("--min-accuracy", "1e-4:0.9", "--format", "q15.16")
    gate = ("gate", "digits", "--data", "digits", "--limit", "64", "--threads", "1", *asked)
    assert "\x1b[" not in cli(*gate).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31mFAIL: " in cli(*gate).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in cli(*gate).out
