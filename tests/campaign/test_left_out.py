"""Stored values that may be weights and cannot flip: said wherever N, or a number that rests on it, is shown."""

import numpy as np
import onnx
import pytest
from campaign_kit import DIGITS, cli, cli_json
from onnx import helper, numpy_helper

import ftonnx
from ftonnx.campaign import CampaignResult
from ftonnx.datasets import load_dataset
from ftonnx.gates.goals import Goal
from ftonnx.report import build

pytestmark = pytest.mark.usefixtures("temporary_folder")

FAST = {"strategy": "live", "threads": 1, "batch_size": 60, "repeats": 2}
RUN = ("--data", "digits", "--limit", "60", "--strategy", "live", "--threads", "1", "--repeats", "2")
SHARE = "1.77 %"
SAYS = f"{SHARE} of the stored values may be weights but cannot flip (not followed: Where {SHARE}), such as 'other'"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The digits' model with a Where behind its first activation, whose 1,024 values are never chosen."""
    model = onnx.load(DIGITS)
    index, first = next((at, node) for at, node in enumerate(model.graph.node) if node.op_type == "Relu")
    output = first.output[0]
    first.output[0] = "before"
    model.graph.node.insert(index + 1, helper.make_node("Where", ["chosen", "before", "other"], [output]))
    stored = {"chosen": np.ones((16, 8, 8), bool), "other": np.full((16, 8, 8), 0.3, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in stored.items())
    onnx.save(model, tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_that_shows_numbers_says_what_is_left_out(place):
    """On stderr as a warning, and in the JSON object; not for a model without such values."""
    folders = [place / "a", place / "b"]
    for folder in folders:
        done = cli("inject", "m.onnx", *RUN, "--rate", "1e-5", "--results", folder, "--seed", len(folder.name))
        assert (done.code, done.err.count(f"warning: {SAYS}")) == (0, 1)
        assert "in 96.46 % of the 58,014 stored elements" in done.out
    found = cli_json("inject", "m.onnx", *RUN, "--rate", "1e-5", "--results", folders[0], "--seed", "1")
    assert sum(text.startswith(SAYS) for text in found["warnings"]) == 1
    assert found["fault_space"]["stored"] == 58014
    compared = cli_json("compare", *folders)
    assert [text for text in compared["warnings"] if SAYS in text] == [f"m: {SAYS}; see ftonnx inspect"] * 2
    assert SAYS in cli("report", folders[0], "-o", "r.html").err
    assert SAYS in cli("inject", "m.onnx", *RUN, "--rate", "1e-5", "--dry-run").err
    gate = ("gate", "m.onnx", "--data", "digits", "--limit", "60", "--min-accuracy", "1e-9:0.5", "--budget", "2units")
    assert SAYS in cli(*gate, "--format", "ieee").out
    assert "cannot flip" not in cli("inject", "digits", *RUN, "--rate", "1e-5").err


def test_inspect_names_what_is_left_out_and_adds_it_by_name_and_role(place):
    """As a table and as JSON; a pattern without a role says how to write it."""
    text = cli("inspect", "m.onnx").out.splitlines()
    assert text[-1].endswith("96.46 % of the 58,014 stored elements")
    (line,) = [line for line in text if "not followed: Where" in line]
    assert line.split()[-4:] == ["1", "1,024", "1.77", "%"]
    left = cli_json("inspect", "m.onnx")["left_out"]
    assert {each["tensor"]: each["reason"] for each in left}["other"] == "not followed: Where"
    added = cli_json("inspect", "m.onnx", "--include", "other=weight")
    assert added["targets"][-1]["tensor"] == "other"
    assert added["bits"] == cli_json("inspect", "m.onnx")["bits"] + 32 * 1024
    refused = cli("inspect", "m.onnx", "--include", "oth*")
    assert refused.code == 2
    assert "--include oth*=weight adds them" in refused.err


def test_results_remember_what_is_left_out_and_what_was_added(place):
    """The folder reads back; with another choice of tensors it is another campaign."""
    settings = {**FAST, "results": place / "r"}
    data = load_dataset("digits", limit=60)
    result = ftonnx.evaluate("m.onnx", data, rates=[1e-4], include=["other=weight"], **settings)
    assert result.fault_space.tensors[-1].tensor == "other"
    assert result.settings.include == ("other=weight",)
    again = CampaignResult.open(place / "r")
    assert again.fault_space.coverage == result.fault_space.coverage
    assert not any("cannot flip" in text for text in again.warnings)
    with pytest.raises(ftonnx.StoreError, match="another campaign"):
        ftonnx.evaluate("m.onnx", data, rates=[1e-4], **settings)


def test_the_report_tells_shares_and_the_largest_tensors(place):
    """In the section of the fault space, by reason."""
    result = ftonnx.evaluate("m.onnx", load_dataset("digits", limit=60), rates=[1e-4], **FAST)
    (section,) = [part for part in build([result]).sections if part.name == "fault-space"]
    assert section.text[1] == "m: 96.46 % of the 58,014 stored elements can flip."
    (table,) = [table for table in section.tables if table.caption == "Stored but left out"]
    assert list(table.rows[0]) == ["m", "shape, index or condition", "chosen, val_106, val_111", "3", "1,028", "1.77 %"]
    assert list(table.rows[1]) == ["m", "not followed: Where", "other", "1", "1,024", "1.77 %"]


def test_flips_in_an_added_tensor_are_run_and_replayed(place):
    """All of them, in a mask that lets some of its values through."""
    model = onnx.load("m.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "chosen":
            tensor.CopyFrom(numpy_helper.from_array(np.arange(1024).reshape(16, 8, 8) % 7 > 0, "chosen"))
    onnx.save(model, "m.onnx")
    options = ("--include", "other=weight", "--exclude", "[bcl]*", "--results", "r")
    cli_json("inject", "m.onnx", *RUN, "--rate", "3e-3", *options)
    listed = cli_json("faults", "r", "--repeat", "1", "--batch", "0", "--save-model", "f.onnx")
    assert {fault["tensor"] for fault in listed["faults"]} == {"other"}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load("f.onnx").graph.initializer}
    changed = np.flatnonzero(stored["other"].ravel() != np.float32(0.3))
    assert changed.tolist() == sorted({fault["index"] for fault in listed["faults"]})
    assert listed["recorded"]["masked"] < 60


def test_a_goal_is_a_promise_about_what_can_flip(place):
    """The verdict's warnings say what cannot."""
    goal = Goal("min_accuracy", 0.5, 1e-9)
    verdict = ftonnx.gate("m.onnx", load_dataset("digits", limit=60), [goal], budget="2units", strategy="live")
    assert any(text.startswith(SAYS) for text in verdict.warnings)
