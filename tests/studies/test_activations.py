"""Activations of a study: the numbers of the command, once, kept by content."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from campaign_kit import cli, cli_json
from study_kit import changed, files, ran, study, write

from ftonnx.datasets import load_dataset
from ftonnx.errors import Interrupted
from ftonnx.inject import FaultSpace, load_model
from ftonnx.mitigate import measure_activations
from ftonnx.models import resolve
from ftonnx.report import Activations
from ftonnx.studies import Study, plan, run
from ftonnx.studies import activations as step

TABLE = {"rates": [1e-4], "images": 30, "batch_size": 10}


def without_campaigns(**tables):
    """Return the tables of a study that measures activations only, with keys changed."""
    values = changed(**{"activations": {}} | tables)
    values["activations"] = TABLE | values["activations"]
    del values["faults"]
    return values


def measured(folder, **tables):
    """Run it and return its result."""
    return run(Study.from_dict(without_campaigns(**tables)), folder)


@pytest.fixture
def work(monkeypatch):
    """Count how often activations are measured."""
    done = []

    def counted(model, *arguments, **options):
        done.append(model.name)
        return measure_activations(model, *arguments, **options)

    monkeypatch.setattr(step, "measure_activations", counted)
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of the study without campaigns, which is run once, and its result; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, measured(folder)


@pytest.fixture
def kept(finished, tmp_path):
    """Return a copy of its folder."""
    return Path(shutil.copytree(finished[0], tmp_path / "kept"))


def kept_of(folder, cell="net/none/none/digits"):
    """Return the only file of a cell's activations."""
    (found,) = (folder / "activations").glob(f"{cell}.*.json")
    return found


def test_a_study_measures_what_the_command_measures(finished, tmp_path):
    """Every number of every variant that is not quantized, in the form that reports read."""
    folder, result = finished
    assert result.failures == ()
    assert result.tables == ()
    asked = ("--data", "digits", "--limit", 20, "--faults", "1e-4", "--batch-size", 10, "--seed", 3)
    (clipped,) = (folder / "models" / "net").glob("actmax@digits.*.onnx")
    for model, cell in (("digits", "net/none/none/digits"), (clipped, "net/actmax/none/digits")):
        by_hand = cli_json("activations", model, *asked)
        content = json.loads(kept_of(folder, cell).read_text())
        assert content["activations"] == by_hand["activations"]
        assert content["data"] == by_hand["data"]
    assert Activations.load(kept_of(folder)).model == "net"
    above = {cell.protect: found.rows[0]["above"] for cell, found in result.activations.items()}
    assert above["none"] is None
    assert 0 <= above["actmax"] < 0.01
    assert len(files(folder / "activations")) == 2


def test_activations_are_measured_once(kept, work):
    """And read the next time, to the same figures."""
    before = files(kept)
    again = measured(kept)
    assert work == []
    assert files(kept) == before
    assert [figure.name for figure in again.figures] == [
        "quartiles@digits+none",
        "quartiles@digits+actmax",
        "above@digits+actmax",
        "histograms@net+none+digits",
        "histograms@net+actmax+digits",
    ]


@pytest.mark.parametrize(
    ("tables", "times"),
    [
        ({"activations": {"rates": [1e-5]}}, 2),
        ({"activations": {"images": 10}}, 2),
        ({"activations": {"batch_size": 5}}, 2),
        ({"campaign": {"bits": [30]}}, 2),
        ({"study": {"seed": 4}}, 2),
        ({"protection": {"scope": "channel"}}, 1),
        ({"activations": {"histograms": ["node_relu"]}}, 0),
        ({"study": {"repeats": 9}}, 0),
        ({"quantization": {"calibration": "minmax"}}, 0),
    ],
)
def test_a_changed_line_measures_again_what_depends_on_it(kept, work, tables, times):
    """And nothing else; what was there stays."""
    before = files(kept)
    result = measured(kept, **tables)
    assert result.failures == ()
    assert len(work) == times
    after = files(kept)
    assert {name: after[name] for name in before} == before


def test_a_changed_rate_runs_no_campaign_again(tmp_path, work):
    """Campaigns and activations are steps of their own."""
    ran(tmp_path, activations=TABLE)
    before = files(tmp_path)
    ran(tmp_path, activations=TABLE | {"rates": [1e-5]})
    assert len(work) == 4
    new = files(tmp_path).keys() - before.keys()
    assert len(new) == 2
    assert all(name.startswith("activations/") for name in new)


@pytest.mark.parametrize("damage", ["cut", "number", "key", "list"])
def test_a_damaged_file_is_measured_again(kept, work, damage):
    """To the same bytes."""
    path = kept_of(kept)
    before = path.read_bytes()
    content = json.loads(before)
    if damage == "cut":
        path.write_bytes(before[:1000])
    elif damage == "list":
        path.write_text("[]")
    else:
        if damage == "number":
            content["activations"][0]["mean"] += 1.0
        else:
            content["key"] = "0" * 64
        path.write_text(json.dumps(content))
    measured(kept)
    assert work == ["net"]
    assert path.read_bytes() == before


def test_the_plan_names_activations_behind_their_models(kept, tmp_path):
    """As steps of their own kind, to do and done."""
    empty = plan(Study.from_dict(without_campaigns()), tmp_path / "none")
    name = "net/actmax/none/digits/activations"
    (step_of,) = empty.after("net/actmax@digits")
    assert (step_of.name, step_of.kind, step_of.state) == (name, "activations", "to do")
    assert [each.state for each in plan(Study.from_dict(without_campaigns()), kept).steps] == [
        "given",
        "done",
        "done",
        "done",
    ]


def test_only_some_activations_are_measured(tmp_path, work):
    """By the names of their cells, together with campaigns or alone."""
    values = study(activations=TABLE)
    result = run(values, tmp_path, only=["*/actmax/*/activations"])
    assert work == ["net actmax"]
    assert result.results == {}
    assert [cell.name for cell in result.activations] == ["net/actmax/none/digits/activations"]


def test_cells_of_activations_are_chosen_by_the_table_and_left_out_by_exclude():
    """Models, protections and data of its own; int8 files are not among them."""
    chosen = study(
        models={"net": "digits", "other": "digits"},
        activations=TABLE | {"models": ["other"], "protect": ["none", "relu6", "ranger"]},
        exclude=[{"faults": "activations", "protect": "relu6"}],
    )
    assert [cell.name for cell in chosen.activation_cells] == [
        "other/none/none/digits/activations",
        "other/ranger/none/digits/activations",
    ]
    assert len(chosen.cells) == 8


def test_a_model_without_activations_fails_alone(tmp_path):
    """It is named as its cell, the others are done, and the exit code is 5."""
    linear = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,1,8,8] x) => (float[n,10] y) <float[64,10] w> '
        "{ f = Flatten(x) y = MatMul(f, w) }"
    )
    linear.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((64, 10), np.float32), "w"))
    onnx.save(linear, tmp_path / "linear.onnx")
    values = without_campaigns(
        models={"net": "digits", "linear": str(tmp_path / "linear.onnx")},
        matrix={"protect": ["none"], "quantize": ["none"]},
    )
    done = cli("study", write(tmp_path / "s.toml", values), "-o", tmp_path / "s")
    assert done.code == 5
    assert "warning: linear/none/none/digits/activations: linear has no activation that ftonnx knows" in done.err
    assert "error: 1 of 2 cells failed: linear/none/none/digits/activations; the others are done" in done.err
    assert (tmp_path / "s" / "charts" / "quartiles@digits+none.png").exists()


def test_a_pattern_of_histograms_that_fits_nothing_is_said(kept):
    """With what there is."""
    result = measured(kept, activations={"histograms": ["layer9*", "node_relu"]})
    (warning,) = result.warnings
    assert warning.startswith("activations.histograms: layer9* fits no activation; there are node_relu, node_relu_1")


def test_a_signal_while_activations_are_measured_ends_the_study(tmp_path, monkeypatch):
    """Nothing half is kept; the next run goes on."""

    def signalled(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return measure_activations(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(step, "measure_activations", signalled)
        with pytest.raises(Interrupted, match="SIGTERM"):
            measured(tmp_path)
    assert not (tmp_path / "activations").exists()
    assert measured(tmp_path).failures == ()


def test_only_the_bits_of_the_space_flip():
    """Before the layers whose bits they are nothing changes."""
    model = load_model(resolve("digits"))
    space = FaultSpace.of(model, include=["block3.*"])
    found = measure_activations(model, load_dataset("digits", limit=10), rates=[0.01], space=space)
    means = {(each.activation, each.rate): each.mean for each in found.distributions}
    names = list(dict.fromkeys(each.activation for each in found.distributions))
    assert means[names[0], 0.0] == means[names[0], 0.01]
    assert means[names[-1], 0.0] != means[names[-1], 0.01]
