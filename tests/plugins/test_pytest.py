"""What ftonnx adds to other people's test suites."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import ftonnx
from ftonnx.plugins.pytest_plugin import assert_fault_tolerant

pytest_plugins = ["pytester"]

NUMBERS = 'settings = dict(batch_size=40, threads=1, strategy="live")\ndata = ftonnx.load_dataset("digits", limit=40)\n'


def run(pytester, code, *arguments):
    """Run a test file in a pytest of its own, with this project's plugin loaded."""
    pytester.makepyfile(f"import ftonnx\n\n{NUMBERS}\n{code}")
    loaded = ("-p", "ftonnx.plugins.pytest_plugin") if not _installed() else ()
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *loaded, *arguments)


def _installed():
    return any(point.value == "ftonnx.plugins.pytest_plugin" for point in entry_points(group="pytest11"))


def test_the_installed_package_registers_the_plugin():
    """As an entry point, so that no test suite has to name it."""
    assert _installed()


def test_loading_the_plugin_costs_nothing(tmp_path):
    """Pytest loads it wherever ftonnx is installed, also in projects that never use it."""
    code = (
        "import sys, ftonnx.plugins.pytest_plugin; print({'numpy', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_campaign_fixture_measures_and_keeps_the_results_with_the_test(pytester):
    """One folder per call, below the test's own."""
    code = """
def test_it(ftonnx_campaign, tmp_path):
    first = ftonnx_campaign("digits", data, rates=[0.0], repeats=2, **settings)
    second = ftonnx_campaign("digits", data, rates=[1e-4], repeats=2, **settings)
    assert first.rates[0].top1.mean == first.golden["top1"] > second.rates[0].top1.mean
    assert first.results.parent == second.results.parent == tmp_path
    assert first.results != second.results
"""
    run(pytester, code).assert_outcomes(passed=1)


@pytest.mark.slow
def test_results_can_be_kept_elsewhere_and_are_then_read_again(pytester, tmp_path):
    """The second time nothing is run: the same folder, the same units."""
    code = """
def test_it(ftonnx_campaign):
    print("folder", ftonnx_campaign("digits", data, rates=[1e-5], repeats=2, **settings).results)
"""
    kept = tmp_path / "kept"
    run(pytester, code, f"--ftonnx-results={kept}").assert_outcomes(passed=1)
    (units,) = kept.rglob("units.sqlite")
    before = units.stat().st_mtime_ns
    result = run(pytester, code, f"--ftonnx-results={kept}", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*folder {units.parent}*"])
    assert units.stat().st_mtime_ns == before


def test_a_reached_goal_passes_and_a_missed_one_fails_with_the_evidence(pytester):
    """Without the plugin's own frames in the traceback."""
    code = """
def test_good(assert_fault_tolerant):
    assert_fault_tolerant("digits", data, ["max-drop 1e-9:0.5"], **settings)

def test_bad(assert_fault_tolerant):
    assert_fault_tolerant("digits", data, ["max-drop 1e-9:0.5", "min-accuracy 1e-3:0.90"], **settings)
"""
    result = run(pytester, code)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["E*AssertionError: FAIL: digits on digits*", "E*FAIL: top-1 accuracy at least 90 % at 0.001: *fault patterns*"]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_what_the_budget_does_not_decide_fails_too(tmp_path):
    """A gate that knows nothing must not be green; the message says why."""
    data = ftonnx.load_dataset("digits", limit=40)
    with pytest.raises(AssertionError, match=r"INCONCLUSIVE.*not decided within the budget of 2 units") as caught:
        assert_fault_tolerant(
            "digits",
            data,
            ["min-accuracy 1e-9:0.9"],
            budget="2units",
            images_per_pattern=40,
            threads=1,
            strategy="live",
            results=tmp_path / "r",
        )
    assert f"results: {tmp_path / 'r'}" in str(caught.value)


def test_the_verdict_is_returned(tmp_path):
    """For those who want to look closer."""
    data = ftonnx.load_dataset("digits", limit=40)
    verdict = assert_fault_tolerant(
        "digits", data, ["max-drop 1e-9:0.5"], threads=1, strategy="live", results=tmp_path / "r"
    )
    assert isinstance(verdict, ftonnx.GateVerdict)
    assert verdict.verdict == "PASS"


def test_errors_are_not_turned_into_failed_assertions(tmp_path):
    """A missing model is no verdict."""
    with pytest.raises(ftonnx.FtonnxError, match=r"absent\.onnx"):
        assert_fault_tolerant(tmp_path / "absent.onnx", "digits", ["max-drop 1e-9:0.5"])
