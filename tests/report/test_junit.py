"""JUnit XML and Markdown: what other programs read."""

import xml.etree.ElementTree as ElementTree

import pytest

from ftonnx.report import Case, junit_xml, markdown_table

HOSTILE = "<b>&\"' ]]>\x00\x1b[31m\ud800 | `x`\n# y"


def test_each_verdict_is_what_junit_calls_it():
    """PASS passes, FAIL is a failure, INCONCLUSIVE an error, which no service shows as green."""
    cases = [
        Case(name="a", verdict="PASS", message="0.97 and more", seconds=1.25),
        Case(name="b", verdict="FAIL", message="0.80 to 0.82", seconds=2),
        Case(name="c", verdict="INCONCLUSIVE", message="budget is spent"),
    ]
    root = ElementTree.fromstring(junit_xml("gate", cases, properties={"seed": "3"}))
    suite = root.find("testsuite")
    counts = {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped", "time")}
    assert counts == {"name": "gate", "tests": "3", "failures": "1", "errors": "1", "skipped": "0", "time": "3.250"}
    assert [(e.get("name"), e.get("value")) for e in suite.iter("property")] == [("seed", "3")]
    passed, failed, unknown = suite.findall("testcase")
    assert (passed.get("name"), passed.get("time"), passed.find("failure")) == ("a", "1.250", None)
    assert failed.find("failure").get("message") == "0.80 to 0.82"
    assert unknown.find("error").get("message") == "budget is spent"
    assert unknown.find("failure") is None


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_any_name_gives_well_formed_xml(verdict):
    """Markup is escaped; characters that XML cannot hold are replaced."""
    text = junit_xml(HOSTILE, [Case(name=HOSTILE, verdict=verdict, message=HOSTILE)], properties={HOSTILE: HOSTILE})
    suite = ElementTree.fromstring(text.encode()).find("testsuite")
    assert suite.find("testcase").get("name").startswith("<b>&\"' ]]>??[31m? | `x`")


def test_markdown_cells_stay_in_their_cell():
    """No pipe, line break or markup of a name takes effect."""
    lines = markdown_table(["goal", "value"], [[HOSTILE, "1"], ["b", "2"]], left=1).splitlines()
    assert len(lines) == 4
    assert lines[1] == "| :--- | ---: |"
    assert lines[2].replace(r"\|", "").count("|") == 3
    for mark in ("<", ">", "`", "#"):
        assert lines[2].count(mark) == lines[2].count(f"\\{mark}") > 0
