"""``ftonnx doctor``: what an installation is made of, and whether what everything rests on works."""

import json
import sys
from importlib import metadata

import pytest
from campaign_kit import DIGITS, cli, cli_json, naive_outcomes
from onnx import load
from onnx_zoo import ort_run

from ftonnx.campaign.doctor import installation as installation_module
from ftonnx.campaign.doctor import self_test as self_test_module
from ftonnx.datasets import load_dataset
from ftonnx.inject import BitFlipRates, FaultSpace, faulty_model
from ftonnx.runtime import FaultySession

pytestmark = pytest.mark.usefixtures("temporary_folder")


def test_all_that_a_bug_report_needs_is_one_object():
    """Versions, providers, processor, folders, and every part of the test passed."""
    found = cli_json("doctor")
    assert found["versions"]["ftonnx"] == metadata.version("ftonnx")
    assert found["versions"]["onnx"] == metadata.version("onnx")
    assert "pytest" not in found["versions"]
    assert "CPUExecutionProvider" in found["providers"]
    assert found["processor"]["cores"] >= 1
    assert found["working_folder"]["free"] > 0
    assert [each["name"] for each in found["checks"] if not each["passed"]] == []
    assert len(found["checks"]) == 6


def test_the_page_says_the_same_in_lines():
    """With what is not installed, and a line per check."""
    shown = cli("doctor")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].startswith(f"versions: ftonnx {metadata.version('ftonnx')}, ")
    assert sum("  ok  " in line for line in lines) == 6
    assert "FAILED" not in shown.out


def test_it_works_where_torch_is_absent(monkeypatch):
    """Nothing is imported to learn its version."""
    monkeypatch.setitem(sys.modules, "torch", None)
    version = metadata.version

    def without_torch(name):
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(installation_module.metadata, "version", without_torch)
    shown = cli("doctor")
    assert shown.code == 0
    (absent,) = [line for line in shown.out.splitlines() if line.startswith("not installed: ")]
    assert "torch" in absent


def test_flips_that_do_not_arrive_fail_the_test(monkeypatch):
    """A session that only looks as if it ran with faults: 70, a line on stderr, and all that was found on stdout."""
    monkeypatch.setattr(FaultySession, "run", lambda self, batch, faults: self.golden(batch))
    shown = cli("doctor", "--json")
    assert shown.code == 70
    (line,) = shown.err.splitlines()
    assert line.startswith("error: the self-test failed (flips arrive")
    failed = {each["name"] for each in json.loads(shown.out)["checks"] if not each["passed"]}
    assert failed == {"flips arrive as in a session on a flipped file", "the known unit has the known outcome"}


def test_memory_that_is_not_restored_fails_the_test(monkeypatch):
    """The same session gives something else after a run with faults."""
    ran = []
    run, golden = FaultySession.run, FaultySession.golden
    monkeypatch.setattr(FaultySession, "run", lambda self, *given: ran.append(1) or run(self, *given))
    monkeypatch.setattr(FaultySession, "golden", lambda self, batch: [each + len(ran) for each in golden(self, batch)])
    failed = [each.name for each in self_test_module.self_test() if not each.passed]
    assert "memory is restored bit for bit" in failed


def test_what_a_part_raises_is_what_it_found(monkeypatch):
    """Whatever it is; the other parts are tried all the same."""

    def broken(*given, **named):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(self_test_module, "load_dataset", broken)
    found = {each.name: each for each in self_test_module.self_test()}
    assert not found["fault-free accuracy is the known one"].passed
    assert found["fault-free accuracy is the known one"].found == "RuntimeError: no kernel"
    assert found["a known unit draws the known flips"].passed
    assert found["temporary files are written and read"].passed


def test_what_is_known_is_what_onnx_runtime_alone_finds():
    """On a file that carries the known unit's flips, counted image by image."""
    model = load(DIGITS)
    space = FaultSpace.of(model)
    faults = BitFlipRates(3e-6).unit_pattern(space, 0, level=3e-6, repeat=0, batch=0)
    images, labels = next(load_dataset("digits").batches(360))
    (golden,) = ort_run(model, {"input": images})
    (faulty,) = ort_run(faulty_model(model, space, faults), {"input": images})
    counts = naive_outcomes(faulty, golden, labels)
    assert abs(counts["sdc1"] - self_test_module._SILENT) <= self_test_module._OTHER_KERNELS
    right = naive_outcomes(golden, golden, labels)["correct1"]
    assert abs(right - self_test_module._RIGHT) <= self_test_module._OTHER_KERNELS
