"""What the commands print, where, and in which form."""

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from campaign_kit import (
    BASE,
    COUNTS,
    DIGITS,
    cli,
    cli_json,
    contents,
    counts,
    digits_batches,
    environment,
    finish,
    process,
    rows,
)
from onnx import numpy_helper

from ftonnx.cli import app, main

SMALL = ("inject", *BASE, "--limit", "40", "--batch-size", "16", "--repeats", "2")
ESTIMATE = {"mean", "low", "high", "confidence"}


@pytest.fixture(autouse=True)
def working_folder(temporary_folder, tmp_path, monkeypatch):
    """Run in the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A results folder, and the object that ``ftonnx inject --json`` printed."""
    folder = tmp_path_factory.mktemp("campaign") / "r"
    return folder, cli_json(*SMALL, "--rate", "1e-4", "--rate", "1e-5", "--seed", "3", "--results", folder)


def test_inject_prints_exactly_the_promised_json(finished):
    """The keys of the contract, more only where it allows them."""
    folder, found = finished
    assert list(found) == [
        "schema_version", "model", "data", "fault_space", "faults", "task", "settings", "seeds", "golden", "warnings",
        "question", "stopping", "rates", "complete", "vulnerability", "layers", "run",
    ]  # fmt: skip
    assert found["schema_version"] == 3
    assert found["model"].keys() == {"name", "path", "sha256"}
    assert found["data"].keys() == {"name", "split", "samples", "classes", "sha256"}
    assert found["fault_space"].keys() == {"bits", "elements", "stored", "tensors", "formats"}
    assert found["settings"].keys() >= {"seed", "repeats", "batch_size"}
    assert found["seeds"] == [{"seed": 3, "repeats": found["settings"]["repeats"]}]
    assert found["run"].keys() == {"results", "engine", "settings", "pilot", "warnings"}
    assert found["run"]["engine"].keys() >= {"strategy", "providers", "threads", "onnxruntime"}
    assert found["golden"].keys() == {"top1", "top5"}
    assert found["run"]["results"] == str(folder)
    assert [rate["rate"] for rate in found["rates"]] == [1e-5, 1e-4]
    for rate in found["rates"]:
        assert list(rate) == [
            "rate", "units", "faults_mean", "interval", "top1", "top5", "sdc1", "sdc5", "sdc10", "sdc20", "masked",
            "due", "beneficial",
        ]  # fmt: skip
        assert rate["units"] == 3 * 2
        assert all(rate[name].keys() == ESTIMATE for name in list(rate)[4:])


def test_every_fraction_of_the_json_lies_in_the_unit_interval(finished):
    """Means within their intervals, intervals within [0, 1], top-1 within top-5."""
    _, found = finished
    for rate in found["rates"]:
        for name in ("top1", "top5", "sdc1", "sdc5", "masked", "due"):
            assert 0 <= rate[name]["low"] <= rate[name]["mean"] <= rate[name]["high"] <= 1
            assert rate[name]["confidence"] == 0.95
        assert rate["top1"]["mean"] <= rate["top5"]["mean"]
        assert rate["sdc5"]["mean"] <= rate["sdc1"]["mean"]
    assert 0 <= found["golden"]["top1"] <= found["golden"]["top5"] <= 1


def test_the_json_says_what_ran(finished):
    """Model, data, fault space, settings and engine are those of the command line."""
    _, found = finished
    assert found["model"]["name"] == "digits"
    assert (found["data"]["name"], found["data"]["split"], found["data"]["samples"]) == ("digits", "test", 40)
    stored = [numpy_helper.to_array(tensor) for tensor in onnx.load(DIGITS).graph.initializer]
    elements = sum(array.size for array in stored if array.dtype == np.float32)
    assert (found["fault_space"]["elements"], found["fault_space"]["bits"]) == (elements, 32 * elements)
    assert found["fault_space"]["formats"] == ["q15.16"]
    assert (found["settings"]["seed"], found["settings"]["repeats"], found["settings"]["batch_size"]) == (3, 2, 16)
    assert (found["run"]["engine"]["strategy"], found["run"]["engine"]["threads"]) == ("live", 1)
    assert found["run"]["engine"]["providers"] == ["CPUExecutionProvider"]


def test_one_pattern_gives_null_limits():
    """An interval is absent, not invented; the table says what it needs."""
    once = (*SMALL, "--repeats", "1", "--batch-size", "40", "--rate", "1e-4")
    (rate,) = cli_json(*once)["rates"]
    assert (rate["top1"]["low"], rate["top1"]["high"]) == (None, None)
    shown = cli(*once)
    assert "needs 2 patterns" in shown.out
    assert "1 fault pattern: no interval" in shown.err


def test_new_images_from_one_batch_give_no_interval_and_the_reason():
    """Whatever the number of patterns; in the table, on stderr and in JSON."""
    new = (*SMALL, "--repeats", "20", "--batch-size", "40", "--rate", "1e-4", "--question", "new-images")
    shown = cli(*new)
    assert "needs 2 batches" in shown.out
    assert "one batch of images says nothing of new ones" in shown.err
    found = cli_json(*new)
    assert found["rates"][0]["top1"]["low"] is None
    assert found["warnings"] == [
        "one batch of images says nothing of new ones, so there are no intervals: let fewer images share a pattern"
    ]


def test_the_table_shows_the_curve_under_the_fault_free_accuracy():
    """Rate, mean number of faults, top-1 with its interval, SDC-1 and DUE; the results folder goes to stderr."""
    shown = cli(*SMALL, "--rate", "1e-5", "--rate", "0", "--results", "r")
    (zero, faulty) = cli_json(*SMALL, "--rate", "1e-5", "--rate", "0", "--results", "r")["rates"]
    lines = shown.out.splitlines()
    assert lines[0].startswith(
        "digits on digits, 40 images (16 share a pattern): fault-free top-1 100.00 %, top-5 100.00 %"
    )
    assert lines[2].startswith("floats are flipped as Q15.16 fixed point")
    assert lines[2].endswith("--format ieee")
    assert re.split(r"\s{2,}", lines[4].strip()) == ["rate", "faults (mean)", "top-1", "95 % interval", "SDC-1", "DUE"]
    assert re.split(r"\s{2,}", lines[5].strip()) == [
        "0", "0", "100.00 %", "100.00 to 100.00 %", "0.00 %", "0.00 %",
    ]  # fmt: skip
    cells = re.split(r"\s{2,}", lines[6].strip())
    assert cells[:2] == ["1e-05", f"{faulty['faults_mean']:.3g}"]
    assert cells[2] == f"{100 * faulty['top1']['mean']:.2f} %"
    assert cells[3] == f"{100 * faulty['top1']['low']:.2f} to {100 * faulty['top1']['high']:.2f} %"
    assert cells[4:] == [f"{100 * faulty[name]['mean']:.2f} %" for name in ("sdc1", "due")]
    assert zero["faults_mean"] == 0
    few, folder, follows = shown.err.splitlines()
    assert few.startswith("warning: 6 fault patterns: harm that up to 46 % of patterns do may not have been drawn")
    assert folder == f"results: {os.path.abspath('r')}"
    assert follows == "next: ftonnx report r -o report.html"


def test_stdout_is_one_json_object_and_quiet_means_no_notes(tmp_path):
    """As separate process: nothing but JSON on stdout, nothing at all on stderr with -q, no bar without a terminal."""
    loud = finish(process(*SMALL, "--rate", "1e-5", "--json", "--results", "r", folder=tmp_path))
    quiet = finish(process("-q", *SMALL, "--rate", "1e-5", "--json", "--results", "r", folder=tmp_path))
    assert (loud.code, quiet.code) == (0, 0)
    assert json.loads(loud.out) == json.loads(quiet.out)
    assert [line.split(":")[0] for line in loud.err.splitlines()] == ["warning", "results"]
    assert quiet.err == ""


@pytest.mark.parametrize("quiet", [(), ("-q",)], ids=["loud", "quiet"])
def test_progress_is_shown_on_a_terminal_only(tmp_path, quiet):
    """A bar with counts and an ETA, whatever characters the model's name has; none with -q."""
    (tmp_path / "m{0}[bold]{x}.onnx").write_bytes(DIGITS.read_bytes())
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "ftonnx", *quiet, "inject", "m{0}[bold]{x}.onnx", *SMALL[1:], "--rate", "1e-5"]
    variables = environment(tmp_path, TERM="xterm", COLUMNS="120")
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, env=variables, text=True
    )
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert out.startswith("m{0}[bold]{x} on digits, 40 images")
    if quiet:
        assert shown == b""
    else:
        assert b"m{0}[bold]{x} on digits" in shown
        assert " 6/6 " in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def _rates(*arguments):
    return [expected["rate"] for expected in cli_json("inject", *arguments, "--dry-run", *BASE[2:])["expected_faults"]]


def test_the_default_rates_are_the_papers_and_the_embedded_models_own():
    """The paper's eight; a grid where something happens for a model 457 times smaller than ResNet-50."""
    assert _rates(DIGITS, "--data", "digits") == [1e-8, 3e-8, 1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5]
    assert _rates() == _rates("digits") == [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4]
    assert _rates("--rate", "1e-3", "--rate", "0.01") == [1e-3, 0.01]


def test_a_dry_run_prints_sizes_and_writes_nothing(tmp_path):
    """N, units, expected faults and an estimate; no folder, no temporary file."""
    arguments = (*SMALL, "--rate", "1e-5", "--results", "r", "--dry-run")
    found = cli_json(*arguments)
    assert (found["bits"], found["units"], found["batches"], found["strategy"]) == (1790784, 6, 3, "live")
    assert found["expected_faults"] == [{"rate": 1e-5, "faults": pytest.approx(17.90784)}]
    assert found["seconds"] > 0
    text = cli(*arguments).out
    assert "N = 1,790,784 bits" in text
    assert "6 units, about " in text
    assert contents(tmp_path) == {}


def test_a_dry_run_refuses_what_a_run_would_refuse(finished):
    """A foreign results folder is found before hours of work are planned on it."""
    folder, _ = finished
    before = contents(folder)
    assert cli(*SMALL, "--rate", "1e-5", "--results", folder, "--dry-run").code == 4
    assert cli(*SMALL, "--rate", "1e-5", "--results", folder.parent, "--dry-run").code == 4
    assert contents(folder) == before


def test_a_results_folder_is_resumed_and_not_run_again():
    """The second time every unit is there already, and the same bytes are printed."""
    first = cli(*SMALL, "--rate", "1e-5", "--results", "r", "--json")
    stamps = rows("r")
    again = cli(*SMALL, "--rate", "1e-5", "--results", "r", "--json")
    assert again.out == first.out
    assert again.err == f"all 6 units are recorded: nothing is left to run\n{first.err}"
    assert rows("r") == stamps


def test_the_strategies_agree_on_the_counts():
    """Live and rebuild give the same right answers, unit by unit; only ties in rounding could differ."""
    for strategy in ("live", "rebuild", "auto"):
        cli_json(*SMALL, "--rate", "1e-5", "--rate", "1e-4", "--strategy", strategy, "--results", strategy)
    keep = ("n", "correct1", "correct5", "due", "n_faults")
    live, rebuild, auto = (
        {unit: [row[name] for name in keep] for unit, row in counts(name).items()}
        for name in ("live", "rebuild", "auto")
    )
    assert live == rebuild == auto


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), lambda name, role: True),
        (("--include", "linear.*"), lambda name, role: name.startswith("linear.")),
        (
            ("--exclude", "linear.*", "--exclude", "*.bias"),
            lambda name, role: name[:7] != "linear." and name[-5:] != ".bias",
        ),
        (
            ("--include", "*weight", "--exclude", "linear*"),
            lambda name, role: name[-6:] == "weight" and name[:6] != "linear",
        ),
        (("--roles", "bias"), lambda name, role: role == "bias"),
        (("--roles", "weight"), lambda name, role: role == "weight"),
    ],
)
def test_what_can_flip_is_chosen_by_name_and_role(options, kept):
    """Inspect and inject agree, tensor by tensor and in N."""
    everything = cli_json("inspect", "digits")["targets"]
    expected = [target for target in everything if kept(target["tensor"], target["role"])]
    found = cli_json("inspect", "digits", *options)
    assert found["targets"] == expected
    assert 0 < len(expected) <= len(everything)
    assert found["bits"] == sum(target["bits"] for target in expected)
    injected = cli_json(*SMALL, "--rate", "1e-4", *options, "--results", "r")
    assert injected["fault_space"]["bits"] == found["bits"]
    listed = cli_json("faults", "r", "--rate", "1e-4", "--repeat", "0", "--batch", "0")["faults"]
    assert {fault["tensor"] for fault in listed} <= {target["tensor"] for target in expected}


def test_inspect_lists_every_stored_tensor_as_the_file_has_it():
    """Names, shapes and types by reading the file with onnx; N is the sum."""
    found = cli_json("inspect", DIGITS)
    assert found.keys() == {"inputs", "outputs", "bits", "targets", "stored", "left_out"}
    assert found["inputs"] == [{"name": "input", "dtype": "float32", "shape": ["batch", 1, 8, 8]}]
    assert found["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}]
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(DIGITS).graph.initializer}
    nodes = {node.name: node for node in onnx.load(DIGITS).graph.node}
    for target in found["targets"]:
        assert list(target) == ["tensor", "role", "node", "op_type", "shape", "dtype", "format", "bits"]
        array = stored[target["tensor"]]
        assert (target["shape"], target["dtype"]) == (list(array.shape), array.dtype.name)
        assert (target["format"], target["bits"]) == ("q15.16", 32 * array.size)
        assert target["tensor"] in nodes[target["node"]].input
        assert target["op_type"] == nodes[target["node"]].op_type
        assert target["role"] == ("weight" if array.ndim > 1 else "bias")
    assert found["bits"] == sum(target["bits"] for target in found["targets"])
    named = [target["tensor"] for target in found["targets"]]
    others = [(name, array.size, 8 * array.nbytes) for name, array in stored.items() if name not in named]
    assert [(each["tensor"], each["elements"], each["bits"]) for each in found["left_out"]] == others
    assert {each["reason"] for each in found["left_out"]} == {"shape, index or condition"}
    assert found["stored"] == sum(array.size for array in stored.values())
    text = cli("inspect", DIGITS).out
    assert f"N = {found['bits']:,} bits" in text
    assert text.splitlines()[-1].endswith(f"99.99 % of the {found['stored']:,} stored elements")
    assert ["shape,", "index", "or", "condition", "val_106", "2", "4", "0.01", "%"] in map(str.split, text.splitlines())
    assert all(target["tensor"] in text for target in found["targets"])
    shares = [float(line.split()[-2]) for line in text.splitlines() if "q15.16" in line]
    assert sum(shares) == pytest.approx(100, abs=0.01 * len(shares))


@pytest.mark.parametrize(("form", "bits"), [("ieee", 32), ("q7.8", 16), ("q0.1", 2), ("auto", 32), ("q15.16", 32)])
def test_the_format_decides_the_bits_per_element(form, bits):
    """N is elements times bits of the format."""
    found = cli_json("inspect", "digits", "--format", form)
    assert found["bits"] == bits * 55962
    assert {target["format"] for target in found["targets"]} == {"q15.16" if form == "auto" else form}


def test_faults_prints_exactly_the_promised_json(finished):
    """Unit, recorded counts and one entry per flipped bit, in file order."""
    folder, _ = finished
    for (rate, repeat, batch), row in counts(folder).items():
        found = cli_json("faults", folder, "--rate", rate, "--repeat", repeat, "--batch", batch)
        assert list(found) == ["unit", "recorded", "warnings", "faults"]
        assert found["unit"] == {"rate": rate, "repeat": repeat, "batch": batch, "n_faults": row["n_faults"]}
        assert found["recorded"] == {name: row[name] for name in COUNTS}
        assert len(found["faults"]) == row["n_faults"]
        order = [target["tensor"] for target in cli_json("inspect", "digits")["targets"]]
        keys = [(order.index(fault["tensor"]), fault["index"], fault["bit"]) for fault in found["faults"]]
        assert keys == sorted(set(keys))
        for fault in found["faults"]:
            assert list(fault) == ["tensor", "index", "bit", "before", "after"]
            assert 0 <= fault["bit"] < 32


def test_faults_shows_a_table_and_names_the_file_it_wrote(finished):
    """The table and the counts on stdout, the note on stderr."""
    folder, _ = finished
    shown = cli("faults", folder, "--rate", "1e-05", "--repeat", "0", "--batch", "0", "--save-model", "out.onnx")
    listed = cli_json("faults", folder, "--rate", "0.00001", "--repeat", "0", "--batch", "0")
    assert shown.code == 0
    assert shown.err == "faulty model: out.onnx\n"
    assert shown.out.count("\n") == len(listed["faults"]) + 3
    assert f"{len(listed['faults'])} faults; of 16 images" in shown.out
    onnx.checker.check_model("out.onnx")


def test_data_shows_what_a_spec_resolves_to():
    """Counts per class, shape, preprocessing and fingerprint, for people and as JSON."""
    found = cli_json("data", "digits", "--split", "test")
    labels = np.concatenate([labels for _, labels in digits_batches(100)])
    assert found["counts"] == np.bincount(labels).tolist()
    assert (found["name"], found["split"], found["samples"], found["classes"]) == ("digits", "test", 360, 10)
    assert found["shape"] == [1, 8, 8]
    assert found["preprocess"]["scale"] == 1 / 16
    assert re.fullmatch("[0-9a-f]{64}", found["sha256"])
    text = cli("data", "digits").out
    assert found["sha256"] in text
    assert "360 images of shape (1, 8, 8)" in text


def test_the_same_data_has_the_same_fingerprint_in_data_and_inject(finished):
    """So that a result can be traced to its data."""
    _, injected = finished
    assert cli_json("data", "digits", "--limit", "40")["sha256"] == injected["data"]["sha256"]


def test_preprocessing_comes_from_the_command_line_first():
    """Options beat the model's metadata; data --model shows the latter."""
    model = onnx.load(DIGITS)
    del model.metadata_props[:]
    model.metadata_props.add(key="ftonnx.preprocess", value=json.dumps({"mean": [0.25], "std": [0.5]}))
    onnx.save(model, "m.onnx")
    from_model = cli_json("data", "digits", "--model", "m.onnx")["preprocess"]
    assert (from_model["mean"], from_model["std"]) == ([0.25], [0.5])
    both = cli_json("data", "digits", "--model", "m.onnx", "--mean", "0.75", "--scale", "1/8")["preprocess"]
    assert (both["mean"], both["std"], both["scale"]) == ([0.75], [0.5], 0.125)
    used = cli_json("inject", "m.onnx", *SMALL[1:], "--rate", "0", "--mean", "0.75", "--scale", "1/8")
    assert used["data"]["sha256"] == cli_json(
        "data", "digits", "--limit", "40", "--mean", "0.75", "--std", "0.5", "--scale", "1/8"
    )["sha256"]  # fmt: skip


@pytest.mark.parametrize("name", ["cpu", "CPU", "cpuexecutionprovider"])
def test_providers_are_found_by_part_of_their_name_in_any_case(name):
    """The full name is what is recorded."""
    found = cli_json(*SMALL, "--rate", "0", "--providers", name)
    assert found["run"]["engine"]["providers"] == ["CPUExecutionProvider"]


def test_two_v_show_details_on_stderr():
    """Never on stdout."""
    detailed = cli("-vv", *SMALL, "--rate", "1e-5", "--json")
    assert json.loads(detailed.out)["schema_version"] == 3


def test_markup_and_emoji_codes_in_tensor_names_are_shown_as_they_are():
    """A name such as [/x] or :smile: is neither an error nor decoration."""
    model = onnx.load(DIGITS)
    old, new = model.graph.initializer[0].name, "layer[0][/x]:smile:[red]"
    model.graph.initializer[0].name = new
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
    onnx.save(model, "m.onnx")
    assert new in cli("inspect", "m.onnx").out
    assert cli("inject", "m.onnx", *SMALL[1:], "--rate", "1e-3", "--results", "r").code == 0
    assert new in cli("faults", "r", "--rate", "1e-3", "--repeat", "0", "--batch", "0").out


def _commands():
    return typer.main.get_command(app).commands


def test_the_four_commands_of_the_contract_exist():
    """inject, inspect, faults, data."""
    assert {"data", "faults", "inject", "inspect"} <= _commands().keys()


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_command_and_option_has_help(name):
    """Nothing is left to guess, and options have dashes, not underscores."""
    command = _commands()[name]
    assert len(command.help) > 30
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert not any("_" in option for option in parameter.opts if option.startswith("-"))
    text = cli(name, "--help")
    assert text.code == 0
    assert text.err == ""
    for parameter in command.params:
        if parameter.opts[0].startswith("-"):
            # the tables of a gate's file are for files only
            assert (max(parameter.opts, key=len) in text.out) != parameter.hidden


def test_inject_has_every_option_of_the_contract():
    """As listed in the issue, with its defaults."""
    parameters = {option: p for p in _commands()["inject"].params for option in p.opts}
    expected = (
        "rate data split limit format roles include exclude repeats batch-size seed strategy providers threads "
        "results dry-run json scale mean std resize crop channels"
    )
    assert {f"--{name}" for name in expected.split()} <= parameters.keys()
    defaults = {"--format": "auto", "--repeats": None, "--seed": 0, "--strategy": "auto", "--providers": "cpu"}
    assert {option: parameters[option].default for option in defaults} == defaults
    assert "128" in parameters["--batch-size"].help


def test_units_are_given_in_the_help_of_the_rate():
    """Flips per stored bit."""
    rate = next(p for p in _commands()["inject"].params if "--rate" in p.opts)
    assert "flips per stored bit" in rate.help


def test_version_and_short_help():
    """--version is one line on stdout, -h works everywhere."""
    version = cli("--version")
    assert version.code == 0
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert version.out == f"ftonnx {project['version']}\n"
    for command in ((), ("inject",), ("faults",)):
        assert cli(*command, "-h").code == 0


@pytest.mark.parametrize(
    "arguments", [["-q", "inspect", "digits"], ["inspect", "digits", "-q"], ["inspect", "-v", "digits"]]
)
def test_verbosity_stands_before_or_behind_the_command(arguments, capsys):
    """-v and -q belong to every command."""
    assert main(arguments) == 0
    assert "N = 1,790,784 bits" in capsys.readouterr().out
