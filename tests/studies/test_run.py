"""Running studies: the numbers of the commands, every step once, nothing lost, nothing repeated."""

import json
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from campaign_kit import cli, cli_json, contents, counts
from study_kit import SMALL, files, means, ran, study, write_arrays

from ftonnx.campaign import CampaignResult
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.errors import IncompleteError, Interrupted, StoreError
from ftonnx.files import try_lock
from ftonnx.models import resolve
from ftonnx.studies import model_files, plan, run
from ftonnx.words import json_values

UNITS = 2 * 2 * 2
"""Of a cell of the small study."""
RUNNING = ("--strategy", "live", "--threads", "1", "--images-per-pattern", "10", "--repeats", "2", "--seed", "3")
CAMPAIGN = ("--data", "digits", "--limit", "20", "--rate", "1e-5", "--rate", "1e-4", *RUNNING)


@pytest.fixture
def work(monkeypatch):
    """Count what is done: units that are run, and models that are made."""
    done = Counter()

    def counted(name, function):
        def call(*arguments, **options):
            done[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(BatchRunner, "run", counted("units", BatchRunner.run))
    for name in ("protect", "quantize", "export_module"):
        monkeypatch.setattr(model_files, name, counted(name, getattr(model_files, name)))
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of the small study, which is run once, and its result; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, ran(folder)


@pytest.fixture
def kept(finished, tmp_path):
    """Return a copy of the small study's folder."""
    # which readers of databases make and leave
    passing = shutil.ignore_patterns("*-shm", "*-wal")
    return Path(shutil.copytree(finished[0], tmp_path / "kept", ignore=passing))


def results_of(folder, cell):
    """Return the only results folder of a cell."""
    (found,) = (folder / "campaigns").glob(f"{cell}.*")
    return found


def numbers(printed):
    """Return what the JSON of a campaign says, but for names and for how and where it was run."""
    others = ("run", "model", "fingerprint")
    return json.loads(json.dumps(json_values({key: value for key, value in printed.items() if key not in others})))


def test_a_study_finds_what_the_commands_find(finished, tmp_path, monkeypatch):
    """Counts of every unit, by hand: protect, quantize, and four times inject."""
    folder, result = finished
    monkeypatch.chdir(tmp_path)
    tuning = ("--data", "digits", "--split", "val", "--limit", "30")
    training = ("--data", "digits", "--split", "train", "--limit", "40")
    assert cli("protect", "digits", "--method", "actmax", *tuning, "-o", "actmax.onnx").code == 0
    assert cli("quantize", "digits", *training, "-o", "ptq.onnx").code == 0
    assert cli("quantize", "actmax.onnx", *training, "-o", "both.onnx").code == 0
    by_hand = {"none/none": "digits", "actmax/none": "actmax.onnx", "none/ptq": "ptq.onnx", "actmax/ptq": "both.onnx"}
    for variant, model in by_hand.items():
        results = variant.replace("/", "-")
        printed = cli_json("inject", model, *CAMPAIGN, "--results", results)
        kept = results_of(folder, f"net/{variant}/digits/rates")
        measured = counts(kept)
        assert measured == counts(results)
        assert len(measured) == UNITS
        assert numbers(CampaignResult.open(kept).to_dict()) == numbers(printed)
    assert result.failures == ()
    assert len(result.results) == 4


def test_images_are_prepared_as_the_model_says(tmp_path):
    """As inject prepares them: pixels of an archive, whose scale stands in the model."""
    images = write_arrays(tmp_path / "images.npz", 20)
    ran(tmp_path / "s", data={"mine": f"npz:{images}"}, matrix={"protect": ["none"], "quantize": ["none"]})
    by_hand = ("--data", f"npz:{images}", "--rate", "1e-5", "--rate", "1e-4", *RUNNING)
    assert cli("inject", "digits", *by_hand, "--results", tmp_path / "r").code == 0
    assert counts(results_of(tmp_path / "s", "net/none/none/mine/rates")) == counts(tmp_path / "r")


def test_several_processes_find_the_same(tmp_path, finished):
    """Where units run does not count, and the folder is the same one."""
    cell = "net/none/ptq/digits/rates"
    run(study(), tmp_path, only=[cell], jobs=2)
    assert results_of(tmp_path, cell).name == results_of(finished[0], cell).name
    assert counts(results_of(tmp_path, cell)) == counts(results_of(finished[0], cell))


def test_models_are_shared_by_the_cells_that_need_them(work, tmp_path):
    """Two kinds of faults on four variants: eight campaigns, and every model is made once."""
    faults = {"a": {"rate": 1e-5}, "b": {"faults_per_run": 1, "repeats": 3}}
    result = ran(tmp_path, faults=faults)
    assert len(result.results) == 8
    assert work["protect"] == 1
    assert work["quantize"] == 2
    assert len(files(tmp_path / "models", ".onnx")) == 3


def test_a_finished_study_does_nothing_again(kept, finished, work):
    """Not a unit, not a model, not a byte."""
    before = files(kept)
    again = ran(kept)
    assert work == {}
    assert files(kept) == before
    assert means(again) == means(finished[1])


ALL, CLIPPED, INT8, NOTHING = (4, 2, 2, 0)
"""Campaigns that are new."""


@pytest.mark.parametrize(
    ("tables", "protect", "quantize", "campaigns"),
    [
        ({"study": {"name": "another"}}, 0, 0, NOTHING),
        ({"study": {"repeats": 3}}, 0, 0, ALL),
        ({"study": {"limit": 10}}, 0, 0, ALL),
        ({"faults": {"rates": {"rate": [1e-5]}}}, 0, 0, ALL),
        ({"campaign": {"format": "ieee"}}, 0, 0, ALL),
        ({"study": {"task": "classification:nan=argmax"}}, 0, 0, ALL),
        ({"campaign": {"threads": 2}}, 0, 0, NOTHING),
        ({"campaign": {"strategy": "rebuild"}}, 0, 0, NOTHING),
        ({"campaign": {"unit_timeout": 100.0}}, 0, 0, NOTHING),
        ({"protection": {"scope": "channel"}}, 1, 1, CLIPPED),
        ({"protection": {"iterations": 3}}, 0, 0, NOTHING),
        ({"quantization": {"calibration": "minmax"}}, 0, 2, INT8),
        ({"qat": {"epochs": 3}}, 0, 0, NOTHING),
        ({"data": {"digits": SMALL["data"]["digits"] | {"training": {"spec": "digits", "limit": 39}}}}, 0, 2, INT8),
        (
            {"data": {"digits": SMALL["data"]["digits"] | {"tuning": {"spec": "digits", "limit": 29}}}},
            1,
            1,
            CLIPPED,
        ),
        ({"exclude": [{"quantize": "ptq", "protect": "actmax"}]}, 0, 0, NOTHING),
        ({"faults": {"rates": {"rate": [1e-5, 1e-4]}, "one": {"faults_per_run": 1, "repeats": 1}}}, 0, 0, ALL),
    ],
)
def test_a_changed_line_repeats_what_depends_on_it(kept, work, tables, protect, quantize, campaigns):
    """The work is counted, and what was there stays as it was, so that the old line finds it again."""
    before = files(kept)
    changed = ran(kept, **tables)
    assert changed.failures == ()
    assert (work["protect"], work["quantize"]) == (protect, quantize)
    after = files(kept)
    assert {name: after[name] for name in before} == before
    new = {name for name in after.keys() - before.keys() if name.endswith("campaign.json")}
    assert len(new) == campaigns
    assert bool(work["units"]) == bool(campaigns)
    work.clear()
    ran(kept)
    assert work == {}


def test_another_file_under_the_same_name_is_another_model(tmp_path, work):
    """The content counts, not the path."""
    model = tmp_path / "net.onnx"
    shutil.copy(resolve("digits"), model)
    matrix = {"protect": ["relu6"], "quantize": ["none"]}
    first = ran(tmp_path / "s", models={"net": str(model)}, matrix=matrix)
    assert work["protect"] == 1
    changed = onnx.load(model)
    changed.metadata_props.add(key="changed", value="yes")
    onnx.save(changed, model)
    second = ran(tmp_path / "s", models={"net": str(model)}, matrix=matrix)
    assert work["protect"] == 2
    assert means(first) == means(second)  # the same weights
    assert len(files(tmp_path / "s" / "models", ".onnx")) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "record", "gone"])
def test_a_damaged_model_is_made_again(kept, work, damage):
    """To the same bytes; what was measured with it counts."""
    (path,) = (kept / "models" / "net").glob("actmax@*.onnx")
    record = path.with_suffix(".json")
    before = path.read_bytes()
    if damage == "flip":
        path.write_bytes(before[:100] + bytes([before[100] ^ 1]) + before[101:])
    elif damage == "cut":
        path.write_bytes(before[:100])
    elif damage == "record":
        record.write_text("{")
    else:
        path.unlink()
    result = ran(kept, faults={"more": {"rate": 1e-5}})
    assert result.failures == ()
    assert work["protect"] == 1
    assert path.read_bytes() == before
    assert json.loads(record.read_text())["step"] == "actmax"


def write_linear(path):
    """Write a classifier of digits without any activation, which nothing can clip."""
    linear = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,1,8,8] x) => (float[n,10] y) <float[64,10] w> '
        "{ f = Flatten(x) y = MatMul(f, w) }"
    )
    weights = np.ones((64, 10), np.float32)
    linear.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(linear, path)
    return str(path)


def test_a_cell_that_fails_is_named_and_the_others_are_done(tmp_path, work):
    """A missing file, data that are not there, and a step that a model does not take: each says why."""
    images = write_arrays(tmp_path / "images.npz")
    result = ran(
        tmp_path / "s",
        models={"net": write_linear(tmp_path / "linear.onnx"), "gone": str(tmp_path / "gone.onnx")},
        data={"digits": SMALL["data"]["digits"], "missing": f"npz:{tmp_path}/missing.npz", "mine": f"npz:{images}"},
        matrix={"protect": ["none", "ranger"], "quantize": ["none"]},
    )
    reasons = {failure.cell.name: failure.reason for failure in result.failures}
    assert set(means(result)) == {"net/none/none/digits/rates", "net/none/none/mine/rates"}
    assert len(reasons) == 12 - 2
    assert all("no such file" in reason for name, reason in reasons.items() if name.startswith("gone/"))
    assert "missing.npz" in reasons["net/none/none/missing/rates"]
    assert "no activation to clip" in reasons["net/ranger/none/digits/rates"]
    with pytest.raises(IncompleteError, match=r"10 of 12 cells failed: net/ranger/.* and 7 more; the others are done"):
        result.require_whole()


def test_a_step_that_failed_is_not_tried_for_the_next_cell(tmp_path, work, monkeypatch):
    """It would fail again, perhaps after hours."""
    result = ran(
        tmp_path / "s",
        models={"net": write_linear(tmp_path / "linear.onnx")},
        faults={"a": {"rate": 1e-5}, "b": {"rate": 1e-4}},
        matrix={"protect": ["none", "actmax"], "quantize": ["none"]},
    )
    assert work["protect"] == 1
    assert [failure.cell.name for failure in result.failures] == [
        "net/actmax/none/digits/a",
        "net/actmax/none/digits/b",
    ]
    assert len(result.results) == 2


def test_only_some_cells_are_run_and_the_others_are_shown(kept, work):
    """Results of earlier runs stand in the tables; of the others nothing is made."""
    values = study(faults={"rates": {"rate": [1e-5, 1e-4]}, "more": {"rate": 1e-6}})
    result = run(values, kept, only=["net/none/none/*/more"])
    assert work["units"] == UNITS // 2
    assert set(means(result)) == {
        "net/none/none/digits/more",
        *(f"net/{protect}/{quantize}/digits/rates" for protect in ("none", "actmax") for quantize in ("none", "ptq")),
    }


def test_the_progress_is_of_the_whole_study(tmp_path):
    """Every unit counts once, up to all of them."""
    seen = []
    run(study(), tmp_path, progress=lambda told: seen.append((told.done, told.total)))
    assert seen[-1] == (4 * UNITS, 4 * UNITS)
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {4 * UNITS}


def test_the_progress_leaves_out_what_fails(tmp_path):
    """In the end everything is done that can be."""
    seen = []
    linear = write_linear(tmp_path / "linear.onnx")
    values = study(
        models={"net": linear, "other": linear},
        matrix={"protect": ["none", "ranger"], "quantize": ["none"]},
    )
    result = run(values, tmp_path / "s", progress=lambda told: seen.append((told.done, told.total)))
    assert len(result.failures) == 2
    assert seen[-1] == (2 * UNITS, 2 * UNITS)


def test_two_processes_do_not_share_a_folder(tmp_path):
    """The second one is told so, and nothing is done."""
    with (tmp_path / ".lock").open("ab") as file:
        assert try_lock(file)
        with pytest.raises(StoreError, match="is in use by another process"):
            ran(tmp_path)
    assert list(contents(tmp_path)) == [".lock"]


@pytest.mark.parametrize(("step", "protect", "quantize"), [("protect", "relu6", "none"), ("quantize", "none", "ptq")])
def test_a_signal_while_a_model_is_made_ends_the_study(tmp_path, work, monkeypatch, step, protect, quantize):
    """In the step or right behind it, before the campaign; the next run goes on."""
    matrix = {"protect": [protect], "quantize": [quantize]}
    function = getattr(model_files, step)

    def signalled(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return function(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(model_files, step, signalled)
        with pytest.raises(Interrupted, match="SIGTERM: every finished step is kept") as caught:
            ran(tmp_path, matrix=matrix)
    assert caught.value.exit_code == 143
    assert work["units"] == 0
    assert ran(tmp_path, matrix=matrix).failures == ()
    assert work["units"] == UNITS


def test_thresholds_are_searched_and_kept(tmp_path, work):
    """What ClipAct measured lies beside the model, with its thresholds."""
    result = ran(
        tmp_path,
        matrix={"protect": ["clipact"], "quantize": ["none"]},
        protection={"iterations": 1, "rates": [1e-5, 1e-4]},
    )
    assert result.failures == ()
    endings = {re.sub(r"net/clipact@digits\.[0-9a-f]{8}", "", name) for name in files(tmp_path / "models")}
    assert endings == {".onnx", ".json", ".thresholds.json", ".search/search.jsonl"}


@pytest.mark.slow
def test_an_architecture_is_exported_and_trained_as_int8(tmp_path, work):
    """By torch; the file is that of ftonnx export, and another epoch trains again without exporting again."""
    tables = {
        "models": {"net": {"architecture": "digits"}},
        "matrix": {"protect": ["none"], "quantize": ["none", "qat"]},
    }
    first = ran(tmp_path / "s", **tables, qat={"epochs": 1, "frozen_epochs": 0, "threads": 1})
    assert first.failures == ()
    assert work["export_module"] == 1
    assert cli("export", "digits", "-o", tmp_path / "by-hand.onnx").code == 0
    (exported,) = (tmp_path / "s" / "models" / "net").glob("exported.*.onnx")
    assert exported.read_bytes() == (tmp_path / "by-hand.onnx").read_bytes()
    second = ran(tmp_path / "s", **tables, qat={"epochs": 2, "frozen_epochs": 0, "threads": 1})
    assert work["export_module"] == 1
    assert len(files(tmp_path / "s" / "models", ".onnx")) == 3
    assert first.results.keys() == second.results.keys()


@pytest.mark.slow
def test_images_without_splits_do_not_choose_the_best_epoch(tmp_path):
    """They would be those that it was trained on."""
    images = write_arrays(tmp_path / "images.npz")
    result = ran(tmp_path / "s", data={"mine": f"npz:{images}"}, matrix={"protect": ["none"], "quantize": ["qat"]})
    (failure,) = result.failures
    assert failure.reason.startswith("data.mine: images that say which epoch is best were expected")


def test_a_model_can_be_a_file_of_each_data_set(tmp_path):
    """And all that is made from it; the plan tells the files apart."""
    for name in ("a", "b"):
        model = onnx.load(resolve("digits"))
        model.producer_name = name
        onnx.save(model, tmp_path / f"net-{name}.onnx")
    tables = {
        "models": {"net": str(tmp_path / "net-{data}.onnx")},
        "data": {"a": "digits", "b": "digits"},
        "matrix": {"protect": ["none", "relu6"], "quantize": ["none"]},
    }
    result = ran(tmp_path / "study", **tables)
    assert result.failures == ()
    models = {cell.name: found.model.sha256 for cell, found in result.results.items()}
    assert len(set(models.values())) == len(models) == 4
    steps = plan(study(**tables), tmp_path / "study").steps
    made = [step.name for step in steps if step.kind == "model"]
    assert made == ["net/given@a", "net/relu6@a", "net/given@b", "net/relu6@b"]
