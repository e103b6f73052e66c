"""A campaign becomes a run of MLflow, in a local file store."""

import json
import sys
from pathlib import Path

import pytest

import ftonnx
from ftonnx.cli import main
from ftonnx.plugins.mlflow_log import log_result
from ftonnx.report import build

mlflow = pytest.importorskip("mlflow")

RATES = [1e-6, 1e-4]


@pytest.fixture(autouse=True)
def private(monkeypatch):
    """MLflow tells nobody what the tests do."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A client of an empty file store, which is also where everything is logged."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return mlflow.MlflowClient()


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A small campaign."""
    folder = tmp_path_factory.mktemp("campaign") / "results"
    data = ftonnx.load_dataset("digits", limit=40)
    return ftonnx.evaluate("digits", data, rates=RATES, repeats=3, batch_size=20, threads=1, results=folder)


def history(store, run, metric):
    """Return a metric's values in the order of the steps."""
    return [point.value for point in sorted(store.get_metric_history(run, metric), key=lambda point: point.step)]


def test_metrics_have_one_step_per_fault_rate(store, result):
    """With the interval's limits, and the rate itself as a metric."""
    run = log_result(result)
    assert history(store, run, "rate") == RATES
    assert history(store, run, "top1") == [rate.top1.mean for rate in result.rates]
    assert history(store, run, "sdc1_low") == [rate.sdc1.low for rate in result.rates]
    assert history(store, run, "masked_high") == [rate.masked.high for rate in result.rates]
    assert history(store, run, "golden_top1") == [result.golden["top1"]]


def test_settings_and_hashes_stand_in_the_run(store, result):
    """Settings as parameters, fingerprints and versions as tags."""
    found = store.get_run(log_result(result)).data
    assert json.loads(found.params["rates"]) == RATES
    assert {name: found.params[name] for name in ("seed", "repeats", "format", "model")} == {
        "seed": "0", "repeats": "3", "format": "auto", "model": "digits",
    }  # fmt: skip
    assert set(result.settings.to_dict()) < set(found.params)
    assert int(found.params["fault_space_bits"]) == result.fault_space.bits
    assert found.tags["ftonnx.model.sha256"] == result.model.sha256
    assert found.tags["ftonnx.data.sha256"] == result.data.sha256
    assert found.tags["ftonnx.version.ftonnx"] == result.versions["ftonnx"]


def test_what_a_reader_must_know_first_is_a_tag(store, result, tmp_path):
    """So that runs can be filtered by it; right data that met enough patterns have no such tag."""
    right = ftonnx.evaluate("digits", ftonnx.load_dataset("digits", limit=20), rates=RATES, repeats=20, threads=1)
    assert "ftonnx.warnings" not in store.get_run(log_result(right)).data.tags
    assert "6 fault patterns" in store.get_run(log_result(result)).data.tags["ftonnx.warnings"]
    batches = [(images, (labels + 1) % 10) for images, labels in ftonnx.load_dataset("digits", limit=40).batches(20)]
    wrong = ftonnx.evaluate("digits", batches, rates=RATES, repeats=1, batch_size=20, threads=1, results=tmp_path / "r")
    assert "near chance" in store.get_run(log_result(wrong)).data.tags["ftonnx.warnings"]


def test_the_report_is_an_artifact(store, result, tmp_path):
    """The same page and the same JSON as elsewhere."""
    run = log_result(result)
    assert {item.path for item in store.list_artifacts(run)} == {"report.html", "result.json"}
    page = mlflow.artifacts.download_artifacts(run_id=run, artifact_path="report.html", dst_path=str(tmp_path))
    assert Path(page).read_text(encoding="utf-8") == build([result]).html()
    content = mlflow.artifacts.load_dict(f"runs:/{run}/result.json")
    assert content == json.loads(json.dumps(result.to_dict()))


def test_with_one_repeat_there_are_no_limits_to_log(store):
    """A metric is a number or absent."""
    data = ftonnx.load_dataset("digits", limit=20)
    run = log_result(ftonnx.evaluate("digits", data, rates=[1e-5], repeats=1, images_per_pattern=20, threads=1))
    assert "top1" in store.get_run(run).data.metrics
    assert "top1_low" not in store.get_run(run).data.metrics


def test_inside_an_open_run_the_campaign_is_a_nested_one(store, result):
    """So that its parameters collide with nothing."""
    with mlflow.start_run() as outer:
        inner = log_result(result)
        assert mlflow.active_run().info.run_id == outer.info.run_id
    assert store.get_run(inner).data.tags["mlflow.parentRunId"] == outer.info.run_id


def test_inject_logs_the_finished_campaign(store, capsys, tmp_path):
    """The command line says which run it is, on stderr."""
    arguments = ["inject", "--rate", "1e-5", "--limit", "20", "--repeats", "2", "--threads", "1", "--log", "mlflow"]
    assert main([*arguments, "--results", str(tmp_path / "results"), "--json"]) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    run = captured.err.split("MLflow run: ")[1].split()[0]
    assert store.get_run(run).data.metrics["top1"] == printed["rates"][0]["top1"]["mean"]
    assert store.get_run(run).info.status == "FINISHED"


def test_a_store_that_refuses_is_one_clear_line(result, monkeypatch):
    """It says where the campaign is."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    with pytest.raises(ftonnx.StoreError, match=r"MLflow does not take the run .*the campaign is in ") as caught:
        log_result(result)
    assert str(result.results) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_mlflow_nothing_is_run(monkeypatch, capsys, tmp_path):
    """The missing extra is named before the campaign starts, not after it."""
    monkeypatch.setitem(sys.modules, "mlflow", None)
    folder = tmp_path / "results"
    assert main(["inject", "--rate", "1e-5", "--log", "mlflow", "--results", str(folder)]) == 2
    assert "pip install 'ftonnx[mlflow]'" in capsys.readouterr().err
    assert not folder.exists()


def test_an_unknown_tool_is_refused(capsys):
    """There is one so far."""
    assert main(["inject", "--rate", "1e-5", "--log", "wandb"]) == 2
    assert "--log: mlflow was expected, got 'wandb'" in capsys.readouterr().err
