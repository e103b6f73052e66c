"""``ftonnx advise``: exit codes, the plan's file, the chart, one object or tables on stdout, lines for bad input."""

import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest
from campaign_kit import cli, one_error_line
from schema_kit import require_described

from ftonnx.cli.commands import advise as command
from ftonnx.inject.guards import Guard, ProtectionPlan

pytestmark = pytest.mark.usefixtures("temporary_folder")

BASE = ("advise", "digits", "--data", "digits", "--limit", 60, "--threads", 1, "--include", "linear*")
BASE = (*BASE, "--include", "block1*", "--budget", "1500units")
MISSED, MET = ("--goal", "1e-5:0.90"), ("--goal", "1e-8:0.90")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run that writes everything, and its folder."""
    folder = tmp_path_factory.mktemp("advise")
    files = ("-o", folder / "plan.toml", "--chart", folder / "cost.svg", "--results", folder / "all")
    return cli(*BASE, *MISSED, "--guards", "range,parity", *files), folder


def test_the_plan_is_told_with_what_it_costs_and_buys(done):
    """Verdict, guards, what was tried, how much is known."""
    finished, _ = done
    assert finished.code == 0, finished.err
    lines = finished.out.splitlines()
    assert lines[0].startswith("PASS: the plan meets 90.00 % top-1 at 1e-05 in a campaign of its own")
    assert "without its last guard the plan misses the goal: a campaign shows that" in lines
    for name in ("as it is", "plan 1", "range"):
        assert any(line.startswith(name) for line in lines)
    assert "groups of bits need a guard" in lines[-1]


def test_the_plan_is_written_for_inject(done):
    """And the line after it says how to use it."""
    finished, folder = done
    plan = ProtectionPlan.read(folder / "plan.toml")
    assert {guard.by for guard in plan.guards} <= {"range", "parity"}
    (following,) = re.findall("^next: ftonnx (.*)$", finished.err, re.MULTILINE)
    asked = "--limit 60 --include 'linear*' --include 'block1*'"
    plan = folder / "plan.toml"
    assert following == f"inject digits --data digits --rate 1e-05 --protection {plan} --results run {asked}"
    words = [word if word != "run" else str(folder / "run") for word in shlex.split(following)]
    injected = cli(*words, "--repeats", 1)
    assert injected.code == 0, injected.err


def test_the_chart_names_what_was_tried(done):
    """Every protection has its name beside its point."""
    _, folder = done
    texts = {each.text for each in ElementTree.parse(folder / "cost.svg").iter("{http://www.w3.org/2000/svg}text")}
    assert {"as it is", "meets the goal", "misses it"} <= texts
    assert any("plan 1" in text for text in texts if text)


def test_the_same_folder_gives_the_same_object(done):
    """With --json; its schema describes it, and the plan is the file's."""
    _, folder = done
    again = cli(*BASE, *MISSED, "--guards", "range,parity", "--results", folder / "all", "--json")
    assert again.code == 0
    found = json.loads(again.out)
    require_described("advise", found)
    assert ProtectionPlan.from_dict(found["plan"]) == ProtectionPlan.read(folder / "plan.toml")
    assert found["run"]["results"] == str(folder / "all")


def test_the_plan_is_written_before_the_reader_of_the_tables_goes_away(tmp_path, monkeypatch):
    """As `head` does, which would end the command without its files."""
    monkeypatch.setattr(command, "_print", lambda *_: (_ for _ in ()).throw(BrokenPipeError))
    plan = ProtectionPlan([Guard("*", "parity")])
    written = command._OutputOptions(output=tmp_path / "plan.toml")
    with pytest.raises(BrokenPipeError):
        written.finish(SimpleNamespace(plan=plan, verdict="PASS"), ())
    assert ProtectionPlan.read(tmp_path / "plan.toml") == plan


def test_a_model_that_meets_the_goal_gets_no_plan(tmp_path):
    """No file is left that would pass for one, and nothing is said to follow."""
    (tmp_path / "plan.toml").write_text("of another run")
    finished = cli(*BASE, *MET, "-o", tmp_path / "plan.toml", "--force")
    assert finished.code == 0, finished.err
    assert finished.out.startswith("PASS: digits meets 90.00 % top-1 at 1e-08 as it is")
    assert not (tmp_path / "plan.toml").exists()
    assert "next:" not in finished.err


def test_a_goal_that_no_plan_meets_is_a_fail(tmp_path):
    """Where half of all bits flip, no code helps; the plan that was tried last says so, and nothing follows from it."""
    finished = cli(*BASE, "--goal", "0.2:0.90", "--guards", "tmr", "-o", tmp_path / "plan.toml")
    assert finished.code == 1, finished.err
    assert finished.out.startswith("FAIL: the plan misses 90.00 % top-1 at 0.2")
    assert f"plan, which misses 90.00 % top-1 at 0.2: {tmp_path / 'plan.toml'}" in finished.err
    assert "next:" not in finished.err
    assert (tmp_path / "plan.toml").read_text().startswith("# This plan misses 90.00 % top-1 at 0.2.\n")
    ProtectionPlan.read(tmp_path / "plan.toml")


def test_a_budget_that_is_too_small_is_inconclusive():
    """Nothing is known of the model after six patterns."""
    finished = cli(*BASE, "--goal", "2e-6:0.95", "--guards", "secded", "--budget", "6units")
    assert finished.code == 3, finished.err
    assert finished.out.startswith("INCONCLUSIVE: ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--goal", "often"), "a goal such as 'min-accuracy 1e-6:0.90' was expected, got 'often'"),
        (("--goal", "1e-6:90"), "90 % is 0.9"),
        (("--goal", "1e-6"), "RATE:ACCURACY such as 1e-6:0.90 was expected, got '1e-6'"),
        (("--goal", "max-drop 0.02"), "got a goal without a rate"),
        (("--goal", "max-sdc 1e-6:0.1"), "min-accuracy 1e-6:0.90 or max-drop 1e-6:0.02 was expected"),
        ((*MET, "--guards", "ecc"), "got 'ecc'"),
        ((*MET, "--word-bits", "16"), "32 or 64 was expected, got 16"),
        ((*MET, "--chart", "cost.gif"), ".png, .svg, .pdf was expected"),
        ((*MET, "--budget", "soon"), "a budget such as 10min"),
        ((*MET, "--also", "nowhere.onnx"), "nowhere.onnx"),
        ((*MET, "--roles", "weight,activation", "--include", "*"), "guards are of what a memory stores"),
        ((), "--goal"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(options, why, tmp_path):
    """Exit 2, or 4 where a model cannot be read."""
    finished = cli(*BASE, *options, "--results", tmp_path / "all")
    assert finished.code in (2, 4)
    assert why in one_error_line(finished)
    assert not (tmp_path / "all").exists()


def test_a_plan_is_not_written_over(tmp_path):
    """Before any work."""
    plan = tmp_path / "plan.toml"
    plan.write_text("mine")
    finished = cli(*BASE, *MET, "-o", plan)
    assert finished.code == 2
    assert "--force" in one_error_line(finished)
    assert plan.read_text() == "mine"
