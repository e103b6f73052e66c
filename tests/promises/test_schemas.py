"""Everything that is printed or kept as JSON has a published schema, which it fits."""

import doctest
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from campaign_kit import BASE, cli, cli_json
from jsonschema import Draft202012Validator
from schema_kit import SCHEMAS, misfits, require_described, schemas_of, validator
from study_kit import changed, write
from training_kit import write_factory, write_squares

from ftonnx.cli import app
from ftonnx.cli.commands import bench
from ftonnx.cli.lazy import SUMMARIES

DOCS = Path(__file__).parents[2] / "docs"
NAMES = sorted(path.stem for path in SCHEMAS.glob("*.json"))
SMALL = (*BASE, "--limit", "16", "--repeats", "2")
TRAINING = ("--epochs", 1, "--batch-size", 16, "--device", "cpu", "--threads", 1)
OPEN = {"RateOutcomes", "Layer", "Vulnerability", "Task"}
"""Objects whose other keys are named by the task."""


@pytest.fixture
def generator(monkeypatch):
    """The script that writes the schemas."""
    monkeypatch.syspath_prepend(DOCS)
    return import_module("json_schemas")


def measured():
    """Run campaigns, and what reads them."""
    rates = ("inject", *SMALL, "--rate", "1e-5", "--rate", "1e-4")
    plain = cli_json(*rates, "--results", "plain")
    cli_json(*rates, "--results", "other", "--seed", 1)
    single = cli_json("inject", *BASE, "--limit", 16, "--per-layer", 1, "--results", "single")
    plan = '[[guard]]\ntensors = ["*"]\nby = "secded"\n[[guard]]\ntensors = ["linear*"]\nby = "range"\n'
    Path("plan.toml").write_text("format = 1\n" + plan)
    guarded = (*rates, "--protection", "plan.toml")
    protected = cli_json(*guarded, "--results", "protected")
    early = cli_json("inject", *SMALL, "--rate", 1e-4, "--precision", 0.2, "--budget", "40units")
    space = ("rate", "--fit-per-mbit", 700)
    gate = ("gate", "digits", *BASE, "--limit", 16, "--format", "q15.16", "--max-drop", "1e-9:0.5")
    advise = ("advise", "digits", "--data", "digits", "--limit", 60, "--threads", 1, "--budget", "1500units")
    advise = (*advise, "--include", "linear*", "--include", "block1*")
    return {
        "inject": [plain, single, early, protected],
        "inject-dry-run": [cli_json(*rates, "--dry-run"), cli_json(*guarded, "--dry-run")],
        "campaign-file": [
            json.loads(Path(folder, "campaign.json").read_text()) for folder in ("plain", "single", "protected")
        ],
        "check": [cli_json("check", "digits", "--data", "digits", "--limit", 24)],
        "doctor": [cli_json("doctor")],
        "inspect": [cli_json("inspect", "digits"), cli_json("inspect", "digits", "--format", "ieee")],
        "faults": [
            cli_json("faults", "plain", "--rate", 1e-4, "--repeat", 0),
            cli_json("faults", "single", "--repeat", 1),
            cli_json("faults", "protected", "--rate", 1e-4, "--repeat", 0),
        ],
        "data": [cli_json("data", "digits"), cli_json("data", "digits", "--model", "digits", "--read")],
        "plan": [cli_json("plan", "digits"), cli_json("plan", "digits", "--claim", 0.01)],
        "plan-population": [cli_json("plan", "--population", "inf"), cli_json("plan", "--population", 1e6)],
        "rate": [cli_json(*space, "--scrub", "24h"), cli_json(*space, "--exposure", "24h", "digits")],
        "fit": [
            cli_json("fit", "single", "--fit-per-mbit", 700, "--budget-fit", 1e-6),
            cli_json("fit", "--sdc", 0, "--memory-bits", 1000, "--fit-per-mbit", 700, "--scrub", "24h"),
        ],
        "fit-at-rates": [
            cli_json("fit", "plain", "--fit-per-mbit", 700, "--scrub", "24h", "--inferences-per-hour", 10)
        ],
        "bench": [cli_json("bench", "--quick")],
        "gate": [cli_json(*gate, "--budget", "200units")],
        "advise": [
            cli_json(*advise, "--goal", "1e-8:0.9"),
            cli_json(*advise, "--goal", "1e-5:0.9", "--guards", "range"),
        ],
        "merge": [
            cli_json("merge", "plain", "-o", "whole"),
            cli_json("merge", "plain", "other", "--pool-seeds", "-o", "m"),
        ],
        "results": [cli_json("results", "check", "plain")],
        "compare": [cli_json("compare", "plain", "other")],
        "report": [cli_json("report", "plain", "-o", "report.html")],
    }


def made():
    """Protect and quantize models, and run a study."""
    images = ("--data", "digits", "--limit", 24)
    clipact = ("--iterations", 1, "--rates", "1e-5,1e-4", "--save-thresholds", "t.json")
    study = write(Path("s.toml"), changed(faults={"rates": {"rate": [1e-4]}}, matrix={"quantize": ["none"]}))
    plan = cli_json("study", study, "-o", "s", "--dry-run")
    return {
        "protect": [
            cli_json("protect", "digits", "--method", "relu6", "-o", "relu6.onnx"),
            cli_json("protect", "digits", *images, "--method", "actmax", "--scope", "channel", "-o", "actmax.onnx"),
            cli_json("protect", "digits", *images, "--method", "clipact", *clipact, "-o", "clipact.onnx"),
        ],
        "thresholds-file": [json.loads(Path("t.json").read_text())],
        "quantize": [
            cli_json("quantize", "actmax.onnx", *images, "-o", "int8.onnx", "--report", "q.json"),
            json.loads(Path("q.json").read_text()),
        ],
        "activations": [
            cli_json("activations", "digits", *images),
            cli_json("activations", "actmax.onnx", *images, "--faults", "1e-3"),
        ],
        "study-dry-run": [plan],
        "study": [cli_json("study", study, "-o", "s")],
        "study-presets": [cli_json("study", "--presets")],
        "study-file": [changed()],
    }


def trained():
    """Train and export small networks."""
    here = Path.cwd()
    write_squares(here)
    write_factory(here)
    images = ("--data", f"npz:{here}")
    qat = ("--qat-epochs", 1, "--calibration-images", 32)
    return {
        "pretrain": [
            cli_json("pretrain", "nets.py:pooled", "--method", "simsiam", *images, "-o", "backbone.pth", *TRAINING)
        ],
        "finetune": [cli_json("finetune", "nets.py:small", *images, "-o", "tuned.pth", *TRAINING)],
        "finetune-qat": [cli_json("finetune", "nets.py:small", *images, "--qat", "-o", "tuned8.onnx", *TRAINING, *qat)],
        "export": [cli_json("export", "nets.py:small", "--weights", "tuned.pth", "-o", "m.onnx")],
        "qat": [cli_json("qat", "m.onnx", *images, "-o", "q.onnx", *TRAINING, "--calibration-images", 32)],
        "training-log": lines("tuned.jsonl"),
        "pretraining-log": lines("backbone.jsonl"),
    }


def lines(file):
    """Return the objects of a log."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def test_the_schemas_and_their_page_are_what_the_types_say(generator):
    """They are generated; after a change run: python docs/json_schemas.py."""
    written = {path.stem: path.read_text(encoding="utf-8") for path in SCHEMAS.iterdir()}
    assert generator.schemas() == written
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page()


@pytest.mark.parametrize("name", ["json_schemas", "json_outputs.base"])
def test_the_generators_examples_give_what_they_show(generator, name):
    """As the package's own do."""
    found = doctest.testmod(sys.modules[name])
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_leaves_no_key_open(name):
    """Every object says all of its keys, but for those whose keys a task names."""
    schema = validator(name).schema
    Draft202012Validator.check_schema(schema)
    for title, definition in schema["$defs"].items():
        if "properties" in definition:
            assert (definition["additionalProperties"] is False) is (title not in OPEN), title


@pytest.mark.parametrize("command", SUMMARIES)
def test_a_command_has_a_schema_where_it_prints_json(command):
    """And only there."""
    parameters = typer.main.get_command(app).get_command(None, command).params
    assert any("--json" in each.opts for each in parameters) is bool(schemas_of(command))


@pytest.mark.slow
def test_what_is_printed_and_written_fits_its_schema(tmp_path, monkeypatch):
    """By the schema of its own form; a key more, a key less or another type does not fit."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "_QUICK_SECONDS", 0.3)
    outputs = {**measured(), **made(), **trained()}
    assert sorted(outputs) == NAMES
    for name, found in outputs.items():
        required = root(name)["required"]
        for values in found:
            assert misfits(name, values) == []
            assert misfits(name, {**values, "unheard_of": 1})
            for key in required:
                rest = {other: value for other, value in values.items() if other != key}
                assert misfits(name, rest), f"{name}: without {key}"
                assert misfits(name, {**rest, key: object()}), f"{name}: {key} of no type"


def root(name):
    """Return what a schema says of the whole output."""
    schema = validator(name).schema
    return schema["$defs"][schema["$ref"].rpartition("/")[2]]


def test_an_output_that_fits_no_form_is_refused():
    """As all tests do that read a command's JSON."""
    with pytest.raises(AssertionError, match="ftonnx rate --json"):
        require_described("rate", {"rate": 1e-6})
    assert cli("rate", "--fit-per-mbit", 700, "--scrub", "24h", "--json").code == 0
