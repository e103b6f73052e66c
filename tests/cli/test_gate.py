"""``ftonnx gate``: exit codes, files for continuous integration, one object or one table on stdout."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from campaign_kit import BASE, cli, contents, one_error_line, rows

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = (*BASE, "--batch-size", 120, "--format", "q15.16")
PASSES, FAILS = ("--min-accuracy", "1e-8:0.9"), ("--max-sdc", "1e-4:0.1")


@pytest.mark.parametrize(
    ("options", "verdict", "code"),
    [
        (PASSES, "PASS", 0),
        (FAILS, "FAIL", 1),
        ((*PASSES, *FAILS), "FAIL", 1),
        ((*PASSES, "--budget", "6units"), "INCONCLUSIVE", 3),
    ],
)
def test_the_exit_code_is_the_verdict(options, verdict, code):
    """0, 1 and 3; with --json, stdout is one object."""
    done = cli("gate", "digits", *FAST, *options, "--json")
    assert done.code == code
    assert json.loads(done.out)["verdict"] == verdict
    shown = cli("gate", "digits", *FAST, *options)
    assert shown.code == code
    assert shown.out.startswith(f"{verdict}: digits on digits, fault-free top-1 98.06 %")


def test_the_json_has_exactly_the_documented_keys():
    """docs/gate.md lists them."""
    found = json.loads(cli("gate", "digits", *FAST, *FAILS, "--json").out)
    assert set(found) == {
        "verdict", "goals", "golden", "golden_images", "model", "data", "question", "confidence", "interval", "budget",
        "units", "warnings", "run",
    }  # fmt: skip
    assert set(found["goals"][0]) == {
        "kind", "bound", "rate", "name", "verdict", "estimate", "rounds", "patterns", "message",
    }  # fmt: skip


def test_junit_has_a_case_per_goal_and_an_undecided_one_is_an_error(tmp_path):
    """A failure ends the gate, so the other goal is undecided."""
    cli("gate", "digits", *FAST, *PASSES, *FAILS, "--junit", tmp_path / "gate.xml", "--seed", 3)
    suite = ElementTree.parse(tmp_path / "gate.xml").find("testsuite")
    assert [suite.get(key) for key in ("tests", "failures", "errors")] == ["2", "1", "1"]
    first, second = suite.findall("testcase")
    assert first.find("error").get("type") == "INCONCLUSIVE"
    assert second.get("name") == "SDC-1 at most 10 % at 0.0001"
    assert "limits" in second.find("failure").get("message")
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["seed"] == "3"
    cli("gate", "digits", *FAST, *PASSES, "--junit", tmp_path / "pass.xml")
    suite = ElementTree.parse(tmp_path / "pass.xml").find("testsuite")
    assert [suite.get(key) for key in ("tests", "failures", "errors")] == ["1", "0", "0"]


def test_markdown_is_a_headline_a_table_and_the_evidence(tmp_path):
    """Readable as it is, for a comment on a pull request."""
    cli("gate", "digits", *FAST, *PASSES, "--markdown", tmp_path / "gate.md", "--question", "these-images")
    lines = (tmp_path / "gate.md").read_text().splitlines()
    assert lines[0].startswith("**PASS: digits on digits")
    assert lines[2] == "| goal | verdict | found | at least | at most | fault patterns |"
    assert lines[4].startswith("| top-1 accuracy at least 90 % at 1e-08 | PASS | 98.06 % | 90.")
    assert lines[-1] == "At least and at most hold with 95 % confidence each, for these images."


def test_a_file_gives_goals_and_options_add_to_it_and_come_first(tmp_path):
    """The budget of the command line replaces that of the file, whose environment lies beside it."""
    (tmp_path / "orbit.toml").write_text('upsets_per_bit_day = 1e-7\nexposure = "1d"\n')
    (tmp_path / "gate.toml").write_text(
        'budget = "1min"\nconfidence = 0.9\nenvironment = "orbit.toml"\n[[goals]]\nmin_accuracy = 0.5\n'
    )
    done = cli("gate", "digits", *FAST, "--config", tmp_path / "gate.toml", *PASSES, "--budget", "6units", "--json")
    found = json.loads(done.out)
    assert [goal["rate"] for goal in found["goals"]] == pytest.approx([1e-7, 1e-8])
    assert (found["confidence"], found["budget"]) == (0.9, {"seconds": None, "units": 6})


def test_a_results_folder_is_continued(tmp_path):
    """With a larger budget; nothing is run twice."""
    common = ("gate", "digits", *FAST, *PASSES, "--results", tmp_path / "r")
    assert cli(*common, "--budget", "6units").code == 3
    assert cli(*common).code == 0
    done = rows(tmp_path / "r")
    before = contents(tmp_path / "r")
    assert cli(*common).code == 0
    assert rows(tmp_path / "r") == done
    assert contents(tmp_path / "r")["campaign.json"] == before["campaign.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "needs a goal"),
        (("--min-accuracy", "0.9"), "or an environment"),
        (("--min-accuracy", "1e-6"), "a rate was expected, as in 1e-6:|between 0 and 1|environment"),
        ((*PASSES, "--budget", "long"), "10min, 500units"),
        ((*PASSES, "--question", "all"), "use these-images or new-images"),
        ((*PASSES, "--confidence", "1.5"), "confidence between 0 and 1"),
        ((*PASSES, "--config", "missing.toml"), "missing.toml: options in TOML"),
        ((*PASSES, "--junit", "no/such/folder/x.xml"), "no/such/folder"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(options, message):
    """Before anything is run."""
    done = cli("gate", "digits", *FAST, *options)
    assert done.code == 2
    line = one_error_line(done)
    assert any(part in line for part in message.split("|")), line
