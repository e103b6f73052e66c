"""Campaigns with faults in activations: in any process, in any order, on one strategy or another, the same counts."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from activations_kit import integer_cnn, integer_cnn_in_numpy
from campaign_kit import cli, cli_json, counts, edit_header, naive_outcomes, one_error_line
from onnx_zoo import random_floats

import ftonnx
from ftonnx.campaign import Settings
from ftonnx.campaign.store.folder import Store
from ftonnx.errors import UsageError
from ftonnx.inject import FaultSpace, load_model
from ftonnx.mitigate import measure_activations

IMAGES = random_floats(22, 3, 8, 8, seed=3, scale=1)
ACTIVATIONS = {"roles": ("activation",), "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the quantized network and data with the classes that it finds, the last three wrong."""
    made = tmp_path_factory.mktemp("activations")
    onnx.save(integer_cnn(), made / "net.onnx")
    labels = integer_cnn_in_numpy(integer_cnn(), IMAGES, []).reshape(len(IMAGES), -1).argmax(axis=1)
    labels[-3:] = (labels[-3:] + 1) % 5
    np.savez(made / "data.npz", images=IMAGES, labels=labels)
    return made


@pytest.fixture(scope="module")
def model(folder):
    """The network with scores (batch, classes)."""
    proto = onnx.load(folder / "net.onnx")
    proto.graph.node[-1].output[0] = "scores"
    proto.graph.node.append(onnx.helper.make_node("Flatten", ["scores"], ["y"], name="flatten"))
    del proto.graph.output[0].type.tensor_type.shape.dim[2:]
    onnx.save(proto, folder / "flat.onnx")
    return folder / "flat.onnx"


def data(folder):
    """Return the data's spec."""
    return f"npz:{folder / 'data.npz'}"


def naive_flips(faults, images):
    """Return replayed faults as (image of the batch, tensor, element, bit)."""
    sizes = {"xq": 3 * 64, "r1q": 16 * 64, "c2q": 5}
    flips = []
    for fault in faults:
        image, element = divmod(fault.index, sizes[fault.tensor])
        if image < images:
            flips.append((image, fault.tensor, element, fault.bit))
    return flips


@pytest.mark.parametrize("batch_size", [None, 4])
def test_every_unit_counts_what_the_network_in_numpy_does_with_its_replayed_faults(folder, model, tmp_path, batch_size):
    """At a rate every image of a batch meets flips of its own; the last batch is a short one."""
    results = tmp_path / "run"
    ftonnx.evaluate(
        model, data(folder), rates=3e-3, repeats=2, images_per_pattern=8, batch_size=batch_size, results=results,
        **ACTIVATIONS,
    )  # fmt: skip
    recorded = counts(results)
    assert len(recorded) == 6
    stored = np.load(folder / "data.npz")
    golden = integer_cnn_in_numpy(integer_cnn(), IMAGES, []).reshape(len(IMAGES), -1)
    for (rate, repeat, batch), found in recorded.items():
        own = slice(8 * batch, 8 * batch + 8)
        unit = ftonnx.replay(results, rate=rate, repeat=repeat, batch=batch)
        flips = naive_flips(unit.list(), len(IMAGES[own]))
        scores = integer_cnn_in_numpy(integer_cnn(), IMAGES[own], flips).reshape(-1, 5)
        expected = naive_outcomes(scores, golden[own], stored["labels"][own])
        assert {name: found[name] for name in expected if name in found} == {
            name: value for name, value in expected.items() if name in found
        }


@pytest.mark.parametrize(
    ("roles", "asked"),
    [
        (("activation",), {"rates": (1e-3, 1e-2), "repeats": 3}),
        (("weight", "activation"), {"faults": ftonnx.FaultCount(1), "repeats": 40}),
    ],
)
def test_processes_and_strategies_make_no_difference(folder, model, tmp_path, asked, roles):
    """Two processes, Dask's workers, and another strategy: the same counts."""
    ways = {"one": {}, "two": {"jobs": 2}, "rebuild": {"strategy": "rebuild"}}
    found = {}
    for name, way in ways.items():
        results = tmp_path / name
        ftonnx.evaluate(model, data(folder), **asked, roles=roles, threads=1, results=results, **way)
        found[name] = counts(results)
    assert found["one"] == found["two"] == found["rebuild"]


def test_a_campaign_grows_and_an_interrupted_one_goes_on(folder, model, tmp_path):
    """With more repeats it has the units that it would have had at once."""
    for name, steps in {"grown": (2, 5), "whole": (5,)}.items():
        for repeats in steps:
            ftonnx.evaluate(
                model, data(folder), rates=1e-3, repeats=repeats, results=tmp_path / name, images_per_pattern=8,
                **ACTIVATIONS,
            )  # fmt: skip
    assert counts(tmp_path / "grown") == counts(tmp_path / "whole")


def test_an_injection_flips_one_bit_of_every_image(folder, model, tmp_path):
    """It is recorded with that bit, and judged tensor by tensor and bit by bit."""
    results = tmp_path / "run"
    found = ftonnx.evaluate(
        model, data(folder), faults=ftonnx.FaultCount(1), repeats=200, results=results, **ACTIVATIONS
    )
    assert {each.tensor for each in found.vulnerability} <= {"xq", "r1q", "c2q"}
    assert {each.bit for each in found.vulnerability} == set(range(8))
    assert sum(each.injections for each in found.vulnerability) == 200
    with Store.open(results) as store:
        faults = store.faults(7)
    assert len(faults) == 1
    unit = ftonnx.replay(results, repeat=7, batch=0)
    (fault,) = unit.list()
    flips = [(image, fault.tensor, fault.index, fault.bit) for image in range(len(IMAGES))]
    scores = integer_cnn_in_numpy(integer_cnn(), IMAGES, flips).reshape(-1, 5)
    golden = integer_cnn_in_numpy(integer_cnn(), IMAGES, []).reshape(-1, 5)
    changed = int((scores.argmax(axis=1) != golden.argmax(axis=1)).sum())
    assert unit.record.outcomes["sdc1"] == changed


def test_the_mean_number_of_flips_is_n_times_the_rate_per_image(folder, model, tmp_path):
    """Within five standard deviations, over all units."""
    found = ftonnx.evaluate(
        model, data(folder), rates=1e-2, repeats=30, images_per_pattern=11, results=tmp_path / "run", **ACTIVATIONS
    )
    expected = 1e-2 * found.fault_space.bits * 11
    (rate,) = found.rates
    assert abs(rate.faults_mean - expected) < 5 * (expected / 60) ** 0.5


def test_a_folder_without_the_setting_is_one_per_image(folder, model, tmp_path):
    """Those of earlier versions do not have it, and a campaign with the default does not write it."""
    results = tmp_path / "run"
    ftonnx.evaluate(model, data(folder), rates=1e-3, repeats=2, results=results, **ACTIVATIONS)
    header = json.loads((results / "campaign.json").read_text())
    assert "activations_per" not in header["identity"]["settings"]
    assert ftonnx.CampaignResult.open(results).settings.activations_per == "image"
    per_batch = tmp_path / "batch"
    ftonnx.evaluate(
        model, data(folder), rates=1e-3, repeats=2, results=per_batch, activations_per="batch", batch_size=4,
        **ACTIVATIONS,
    )  # fmt: skip
    header = json.loads((per_batch / "campaign.json").read_text())
    assert header["identity"]["settings"]["activations_per"] == "batch"
    again = ftonnx.CampaignResult.open(per_batch)
    assert again.settings.activations_per == "batch"
    assert again.fault_space.bits == 4 * ftonnx.CampaignResult.open(results).fault_space.bits


def test_a_look_before_a_campaign_says_its_n(folder, model):
    """Per image, or of a run."""
    for per, bits in {"image": 9768, "batch": 4 * 9768}.items():
        found = ftonnx.check(model, data(folder), seconds=0.1, activations_per=per, batch_size=4, **ACTIVATIONS)
        assert found.space.bits == bits
        assert found.units.strategy == "live"


def test_what_cannot_be_is_refused():
    """In one line that says what was expected."""
    with pytest.raises(UsageError, match="`activations_per`: image or batch was expected, got 'pixel'"):
        Settings(activations_per="pixel")


def test_on_the_command_line(folder, model, tmp_path):
    """All that works with stored values does with activations: inject, faults, gate, compare, report, results."""
    arguments = (str(model), "--data", data(folder), "--roles", "activation", "--threads", "1")
    rate = ("--rate", "1e-3", "--repeats", "3")
    runs = [str(tmp_path / name) for name in "ab"]
    for results, more in zip(runs, ((), ("--activations-per", "batch", "--batch-size", "4")), strict=True):
        finished = cli("inject", *arguments, *rate, *more, "--results", results)
        assert finished.code == 0, finished.err
        assert "stored and computed elements" in finished.out
        assert cli("results", "check", results).code == 0
        listed = cli_json("faults", results, "--repeat", "0")
        assert {each["before"] for each in listed["faults"]} == {None}
        assert " - " in cli("faults", results, "--repeat", "0").out
    saved = cli("faults", runs[0], "--repeat", "0", "--save-model", str(tmp_path / "no.onnx"))
    assert saved.code == 2
    assert "computed while the model runs" in one_error_line(saved)
    assert not (tmp_path / "no.onnx").exists()
    assert cli("report", runs[0], "-o", str(tmp_path / "report.html")).code == 0
    assert "in activations, every bit flips alike" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert cli("compare", *runs).code == 0
    assert cli("gate", *arguments, "--format", "q15.16", "--min-accuracy", "1e-7:0.3", "--budget", "60units").code == 0
    assert cli("inject", *arguments, *rate, "--dry-run").code == 0
    harsh = ("--fit-per-mbit", "700", "--exposure", "24h")
    (tmp_path / "harsh.toml").write_text('fit_per_mbit = 700\nexposure = "24h"\n')
    for meaningless in (
        ("rate", str(model), "--roles", "activation", *harsh),
        ("fit", runs[0], *harsh),
        ("inject", *arguments, "--environment", str(tmp_path / "harsh.toml")),
        ("gate", *arguments, "--format", "ieee", "--environment", tmp_path / "harsh.toml", "--max-drop", "env:0.5"),
    ):
        refused = cli(*meaningless)
        assert refused.code == 2
        assert "bits of other roles than activation were expected" in one_error_line(refused)
    shown = cli_json("inspect", str(model), "--roles", "weight,activation")
    assert [each["role"] for each in shown["targets"]] == ["weight", "weight", *["activation"] * 3]
    assert {each["reason"] for each in shown["left_out"]} >= {"fused into its reader", "in memory quantized"}
    run = ("--activations-per", "batch", "--batch-size", "4")
    shown = cli_json("inspect", str(model), "--roles", "activation", *run)
    assert shown["bits"] == ftonnx.CampaignResult.open(runs[1]).fault_space.bits
    refused = cli("inspect", str(model), "--roles", "activations")
    assert refused.code == 2
    assert "got activations; did you mean activation?" in one_error_line(refused)


def test_the_distributions_of_activations_are_those_under_faults_in_stored_values(folder, model):
    """Bits of what is measured do not flip meanwhile."""
    space = FaultSpace.of("digits", roles=("activation",))
    with pytest.raises(UsageError, match="other `roles` were expected"):
        measure_activations(load_model("digits"), ftonnx.load_dataset("digits"), rates=(1e-6,), space=space)


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    """One after the other, as they stand."""
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "activations.md"
    commands = [line.split()[1:] for line in page.read_text().splitlines() if line.startswith("    ftonnx ")]
    assert len(commands) == 4
    for command in commands:
        assert cli(*command).code == 0


def test_a_changed_setting_is_another_campaign(folder, model, tmp_path):
    """A folder's N is not mixed with another one's."""
    results = tmp_path / "run"
    arguments = (str(model), "--data", data(folder), "--roles", "activation", "--rate", "1e-3", "--repeats", "2")
    assert cli("inject", *arguments, "--results", str(results)).code == 0
    finished = cli("inject", *arguments, "--activations-per", "batch", "--results", str(results))
    assert finished.code == 2 or finished.code == 4
    line = one_error_line(finished)
    assert "recorded with activations per image, asked for activations per batch: give --activations-per image" in line
    # where nothing computed flips it makes no difference
    stored = tmp_path / "stored"
    weights = [*arguments[:3], "--rate", "1e-3", "--repeats", "2", "--results", str(stored)]
    assert cli("inject", *weights).code == 0
    assert cli("inject", *weights, "--activations-per", "batch").code == 0
    edit_header(results, lambda header: header["identity"]["settings"].update(activations_per="pixel"))
    assert cli("report", str(results), "-o", str(tmp_path / "r.html")).code != 0
