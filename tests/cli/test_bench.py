"""``ftonnx bench``: what is measured, what is left out, and how it is printed."""

import dataclasses
import json
import re

import pytest
from campaign_kit import cli, cli_json, finish, one_error_line, process
from onnx import helper
from onnx_zoo import model_of, random_floats

import ftonnx.campaign.bench as bench_module
from ftonnx.campaign.bench import bench
from ftonnx.campaign.bench_result import BenchResult, Configuration
from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, UsageError
from ftonnx.inject import FaultSpace, load_model
from ftonnx.models import resolve

node = helper.make_node
SECONDS = 0.2


@pytest.fixture(autouse=True)
def two_cores_and_little_time(monkeypatch):
    """The same cases on every machine."""
    monkeypatch.setattr(bench_module, "cores", lambda: 2)
    monkeypatch.setattr("ftonnx.cli.commands.bench._QUICK_SECONDS", SECONDS)


def classifier(weight, *, shape=("batch", 3, 8, 8), squared=False):
    """Return a model with one convolution and four classes; a weight that is squared stays out of reach of live."""
    nodes = [
        node("Mul", ["w", "w"], ["f"]) if squared else node("Identity", ["w"], ["f"]),
        node("Conv", ["x", "f"], ["c"]),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["y"]),
    ]
    return load_model(model_of(nodes, [("w", weight)], inputs={"x": shape}), name="classifier")


@pytest.fixture(scope="module")
def measured():
    """The embedded model, measured once, as the dictionary of its JSON."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_module, "cores", lambda: 2)
        patch.setattr("ftonnx.cli.commands.bench._QUICK_SECONDS", SECONDS)
        return cli_json("bench", "--quick", "-q")


def test_the_json_holds_every_field_of_the_result(measured):
    """And nothing else but the schema's version."""
    fields = {field.name for field in dataclasses.fields(BenchResult)}
    assert measured.keys() == fields | {"schema_version"}
    space = FaultSpace.of(resolve("digits"))
    assert (measured["model"]["name"], measured["model"]["bits"]) == ("digits", space.bits)
    assert measured["expected_faults"] == pytest.approx(1e-6 * space.bits)
    assert (measured["batch_size"], measured["threads"], measured["data"]) == (32, 2, "random images")
    assert measured["machine"].keys() >= {"cpu", "cores", "onnxruntime"}


def test_both_strategies_are_measured_and_one_is_chosen(measured):
    """The chosen one comes first; the reason gives both times."""
    first, second = measured["strategies"]
    assert {first["name"], second["name"]} == {"live", "rebuild"}
    assert (first["chosen"], second["chosen"]) == (True, False)
    for each in (first, second):
        assert each["fault_free_ms"] > 0
        assert each["ratio"] == pytest.approx(each["faulty_ms"] / measured["ordinary_ms"])
        assert f"{each['name']} {each['ratio']:.2f}" in measured["why"]


def test_single_images_are_measured_too(measured):
    """The same comparison, with its own fault-free run; printed first."""
    one = measured["one_image"]
    assert one["batch_size"] == 1
    assert one["strategies"][0]["chosen"]
    assert {each["name"] for each in one["strategies"]} == {"live", "rebuild"}
    for each in one["strategies"]:
        assert each["ratio"] == pytest.approx(each["faulty_ms"] / one["ordinary_ms"])


def test_threads_batch_sizes_and_processes_are_tried(measured):
    """Each configuration once, its two speeds in agreement; the best is one of the fastest."""
    found = [Configuration(**each) for each in measured["configurations"]]
    tried = [(each.jobs, each.threads, each.batch_size) for each in found]
    assert len(set(tried)) == len(tried)
    assert {(1, 1, 32), (1, 2, 32)} <= set(tried)
    left_out = {int(each.split()[2]) for each in measured["left_out"] if each.startswith("batches of")}
    assert {size for _, _, size in tried} | left_out == {8, 32, 128, 512}
    assert [(jobs, threads) for jobs, threads, _ in tried if jobs > 1] == [(2, 1)]
    for each in found:
        assert each.images_per_second == pytest.approx(each.units_per_hour * each.batch_size / 3600)
    best = Configuration(**measured["best"])
    assert best in found
    assert best.images_per_second >= 0.97 * max(each.images_per_second for each in found)


def test_the_table_says_what_is_fastest(measured):
    """On stdout: the strategies, the configurations and the options to use; progress goes to stderr."""
    shown = cli("bench", "digits", "--quick")
    assert shown.code == 0
    assert shown.out.index("Single images, 2 threads") < shown.out.index("Batches of 32 images, 2 threads")
    assert re.search(r"^live +\S+ +\S+ +\d+\.\d\d +chosen$", shown.out, re.MULTILINE)
    assert re.search(r"second: --jobs \d+ --threads \d+ --images-per-pattern \d+ with [\d,]+ units per hour", shown.out)
    assert shown.err.splitlines() == [
        f"measuring {part} ..." for part in ("strategies", "threads", "batch sizes", "processes")
    ]


@pytest.mark.slow
def test_a_process_prints_one_json_object_and_nothing_else(tmp_path):
    """Quiet, as a script calls it; nothing is left behind."""
    finished = finish(process("bench", "--quick", "--json", "-q", folder=tmp_path))
    assert (finished.code, finished.err) == (0, "")
    assert json.loads(finished.out)["model"]["name"] == "digits"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_processes_that_would_not_fit_into_memory_are_left_out(monkeypatch):
    """With the sizes, so that a person can judge."""
    monkeypatch.setattr(bench_module, "free_memory", lambda: 2**20)
    result = bench(classifier(random_floats(4, 3, 3, 3)), seconds=SECONDS)
    assert all(each.jobs == 1 for each in result.configurations)
    assert any(re.fullmatch(r"2 processes: about \d+ MiB, 1 MiB are free", each) for each in result.left_out)


def test_batches_that_would_take_too_long_are_left_out(monkeypatch):
    """By the time of the size that is known."""
    monkeypatch.setattr(bench_module, "free_memory", lambda: 0)
    result = bench(classifier(random_floats(4, 3, 3, 3)), seconds=1e-9)
    assert {each.batch_size for each in result.configurations} == {32}
    assert [each.split(":")[0] for each in result.left_out[:3]] == [
        f"batches of {size} images" for size in (8, 128, 512)
    ]


def test_a_strategy_that_is_not_possible_is_not_measured(monkeypatch):
    """And the reason is part of the answer."""
    monkeypatch.setattr(bench_module, "free_memory", lambda: 0)
    result = bench(classifier(random_floats(4, 3, 3, 3), squared=True), seconds=SECONDS)
    (only,) = result.strategies
    assert (only.name, only.chosen) == ("rebuild", True)
    assert "live is not possible" in only.note
    assert result.why.startswith(only.note)


def test_a_fixed_batch_size_is_the_only_one(monkeypatch):
    """No other would run."""
    monkeypatch.setattr(bench_module, "free_memory", lambda: 0)
    result = bench(classifier(random_floats(4, 3, 3, 3), shape=(3, 3, 8, 8)), seconds=SECONDS)
    assert {each.batch_size for each in result.configurations} == {3}
    assert result.one_image is None


def test_given_images_are_used(monkeypatch):
    """No batch is larger than the data."""
    monkeypatch.setattr(bench_module, "free_memory", lambda: 0)
    data = load_dataset("digits", limit=20)
    result = bench(load_model(resolve("digits"), name="digits"), data, seconds=5)
    assert result.data == data.name
    assert {each.batch_size for each in result.configurations} == {8, 20}


def test_an_open_image_shape_asks_for_data(tmp_path):
    """Exit code 2, the input's name, and what to do."""
    model = classifier(random_floats(4, 3, 3, 3), shape=("batch", 3, "height", "width"))
    with pytest.raises(UsageError, match="'x' open; give `data`"):
        bench(model)
    path = tmp_path / "open.onnx"
    path.write_bytes(model.proto.SerializeToString())
    finished = cli("bench", str(path))
    assert finished.code == 2
    assert "give --data" in one_error_line(finished)


def test_a_huge_image_is_refused_before_it_is_made():
    """A file can claim any shape."""
    with pytest.raises(DataError, match="too large"):
        bench(classifier(random_floats(4, 3, 3, 3), shape=("batch", 3, 2**20, 2**20)))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(seconds):
    """Before anything is opened."""
    with pytest.raises(UsageError, match="above 0 seconds"):
        bench(load_model(resolve("digits")), seconds=seconds)


def test_bad_options_are_one_line_with_exit_code_two():
    """A rate above 1, a provider that is not there."""
    for arguments in (("--rate", "2"), ("--providers", "abacus")):
        finished = cli("bench", "digits", "--quick", *arguments)
        assert finished.code == 2
        one_error_line(finished)
