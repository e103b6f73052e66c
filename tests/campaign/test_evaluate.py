"""``ftonnx.evaluate``: any data, any model, and numbers that a plain loop over the recorded counts confirms."""

import hashlib
import json
import math
import os
import signal
import threading
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from campaign_kit import COUNTS, DIGITS, contents, counts, digits_batches, naive_outcomes, rows, session
from onnx_zoo import model_of, random_floats, small_cnn

import ftonnx
from ftonnx.campaign import Campaign, Settings
from ftonnx.campaign import campaign as campaign_module
from ftonnx.campaign.run.batch import BatchRunner
from ftonnx.errors import DataError, Interrupted, ModelError, UsageError
from ftonnx.inject import BitFlipRates
from ftonnx.stats import stratified_mean

pytestmark = pytest.mark.usefixtures("interruptible", "temporary_folder")

FAST = {"rates": [1e-5], "repeats": 2, "batch_size": 16, "strategy": "live", "threads": 1}


def left_behind(tmp_path):
    """Names in the temporary folder."""
    return sorted(entry.name for entry in (tmp_path / "tmp").iterdir())


def images(count, shape=(3, 8, 8), classes=5):
    """Random images and labels."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((count, *shape)).astype(np.float32), rng.integers(classes, size=count)


def test_the_result_sums_up_what_is_recorded(tmp_path):
    """Every mean is the plain mean over units and images; intervals take batches as strata."""
    result = ftonnx.evaluate(
        "digits", "digits", **(FAST | {"rates": [1e-5, 1e-6], "batch_size": 100}), results=tmp_path / "r"
    )
    recorded, golden = counts(tmp_path / "r"), rows(tmp_path / "r", "golden")
    assert [row["n"] for row in golden] == [100, 100, 100, 60]
    assert result.golden == {
        "top1": sum(r["correct1"] for r in golden) / 360,
        "top5": sum(r["correct5"] for r in golden) / 360,
    }
    assert [rate.rate for rate in result.rates] == [1e-6, 1e-5]
    for found in result.rates:
        mine = {unit: row for unit, row in recorded.items() if unit[0] == found.rate}
        assert found.units == len(mine) == 8
        assert found.faults_mean == sum(row["n_faults"] for row in mine.values()) / 8
        same_name = ("sdc1", "sdc5", "sdc10", "sdc20", "masked", "due", "beneficial")
        for name, column in {"top1": "correct1", "top5": "correct5", **{name: name for name in same_name}}.items():
            assert getattr(found, name).mean == pytest.approx(sum(row[column] for row in mine.values()) / 720)
            table = np.array([[mine[found.rate, r, b][column] for r in range(2)] for b in range(4)])
            before = np.array([row[column] for row in golden])
            assert getattr(found, name) == stratified_mean(table, np.array([100, 100, 100, 60]), golden=before)
    assert result.complete
    assert result.injections is None
    assert result.vulnerability == result.layers == ()


def test_the_golden_run_is_the_plain_model():
    """Fault-free accuracy equals that of a plain session with one argmax per image."""
    result = ftonnx.evaluate("digits", digits_batches(128), **(FAST | {"rates": [0]}))
    plain = session(DIGITS)
    right = sum(
        int(row.argmax() == label)
        for batch, labels in digits_batches(100)
        for row, label in zip(plain.run(None, {"input": batch})[0], labels, strict=True)
    )
    assert result.golden["top1"] == right / 360


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_rate_zero_is_exactly_the_golden_run(strategy):
    """No fault, every output bit-identical, accuracy golden, an interval of no width."""
    result = ftonnx.evaluate(
        "digits", digits_batches(50), **(FAST | {"rates": [0], "strategy": strategy, "repeats": 3})
    )
    (zero,) = result.rates
    assert zero.faults_mean == 0
    assert (zero.masked.mean, zero.sdc1.mean, zero.sdc5.mean, zero.due.mean) == (1, 0, 0, 0)
    assert zero.top1.low == zero.top1.mean == zero.top1.high == result.golden["top1"]


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_rate_one_flips_every_bit(tmp_path, strategy):
    """n_faults is N, and the outputs are those of a model whose own bits are all inverted."""
    model = small_cnn()
    batch, labels = images(6)
    ftonnx.evaluate(
        model,
        [(batch, labels)],
        rates=[1],
        repeats=1,
        format="ieee",
        strategy=strategy,
        threads=1,
        results=tmp_path / "r",
    )
    inverted = onnx.ModelProto()
    inverted.CopyFrom(model)
    elements = 0
    for tensor in inverted.graph.initializer:
        elements += math.prod(tensor.dims)
        tensor.raw_data = bytes(255 - byte for byte in tensor.raw_data)
    (row,) = rows(tmp_path / "r")
    assert row["n_faults"] == 32 * elements
    live = strategy == "live"
    golden = session(model, live=live).run(None, {"x": batch})[0]
    expected = naive_outcomes(session(inverted, live=live).run(None, {"x": batch})[0], golden, labels)
    assert {name: row[name] for name in COUNTS} == expected


def test_data_can_be_a_spec_a_list_a_generator_or_a_data_set(tmp_path):
    """The same images give the same counts however they are handed over."""
    sources = {
        "spec": "digits",
        "list": digits_batches(16),
        "generator": (batch for batch in digits_batches(7)),
        "float64": [(batch.astype(np.float64), labels.astype(np.uint8)) for batch, labels in digits_batches(90)],
        "data set": ftonnx.load_dataset("digits"),
    }
    found = []
    for name, data in sources.items():
        ftonnx.evaluate("digits", data, **(FAST | {"batch_size": 90}), results=tmp_path / name)
        found.append(counts(tmp_path / name))
    assert all(each == found[0] for each in found)
    assert len(found[0]) == 8


def test_a_model_can_be_a_name_a_path_a_proto_or_loaded(tmp_path):
    """All four are the same model; the proto, which has no file, is not changed either."""
    proto = onnx.load(DIGITS)
    before = proto.SerializeToString(deterministic=True)
    models = {
        "name": "digits",
        "path": DIGITS,
        "text": str(DIGITS),
        "proto": proto,
        "loaded": ftonnx.load_model(DIGITS),
    }
    for name, model in models.items():
        ftonnx.evaluate(model, digits_batches(8, 16), **FAST, results=tmp_path / name)
        assert counts(tmp_path / name) == counts(tmp_path / "name")
    assert proto.SerializeToString(deterministic=True) == before


def test_without_a_folder_the_results_lie_in_a_temporary_one_that_is_named(tmp_path):
    """The result says where, and the folder is complete."""
    result = ftonnx.evaluate("digits", digits_batches(8, 16), **FAST)
    assert left_behind(tmp_path) == [result.results.name]
    assert len(counts(result.results)) == 2


def test_the_result_has_the_contents_of_the_json(tmp_path):
    """to_dict() is plain JSON; repr shows the curve."""
    result = ftonnx.evaluate("digits", digits_batches(8, 16), **FAST, results=tmp_path / "r")
    content = json.loads(json.dumps(result.to_dict()))
    assert content["run"]["results"] == str(tmp_path / "r")
    assert content["rates"][0]["top1"]["mean"] == pytest.approx(result.rates[0].top1.mean, rel=1e-9)
    assert repr(result).startswith("CampaignResult('digits', golden 1.0000, top-1 at {1e-05: ")


def test_progress_counts_every_unit_once(tmp_path):
    """From 0 to the number of units, also when the campaign is resumed."""
    seen = []
    for _ in range(2):
        ftonnx.evaluate(
            "digits", digits_batches(8, 24), **FAST, results=tmp_path / "r", progress=lambda *now: seen.append(now)
        )
    assert seen == [*((done, 4) for done in range(5)), (4, 4)]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_unit_in_work_and_pieces_equal_one_go(tmp_path, signum):
    """Stopped again and again, every piece keeps its units; the sum is what one go gives."""
    settings = FAST | {"rates": [1e-5, 1e-4], "repeats": 3}
    ftonnx.evaluate("digits", digits_batches(16, 40), **settings, results=tmp_path / "whole")
    for stop in (1, 4, 5, 11):

        def ask(done, _, stop=stop):
            if done == stop:
                os.kill(os.getpid(), signum)

        with pytest.raises(Interrupted, match=f"{stop} of 18 units are recorded in {tmp_path}/pieces") as stopped:
            ftonnx.evaluate("digits", digits_batches(16, 40), **settings, results=tmp_path / "pieces", progress=ask)
        assert stopped.value.exit_code == 128 + signum
        assert len(rows(tmp_path / "pieces")) == stop
    ftonnx.evaluate("digits", digits_batches(16, 40), **settings, results=tmp_path / "pieces")
    assert counts(tmp_path / "pieces") == counts(tmp_path / "whole")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupted_campaign_in_a_temporary_folder_keeps_its_units(tmp_path):
    """The message names the folder, and naming it as results continues."""
    with pytest.raises(Interrupted) as stopped:
        ftonnx.evaluate(
            "digits",
            digits_batches(16, 40),
            **FAST,
            progress=lambda done, _: done == 3 and os.kill(os.getpid(), signal.SIGINT),
        )
    (name,) = left_behind(tmp_path)
    folder = tmp_path / "tmp" / name
    assert str(folder) in str(stopped.value)
    assert len(rows(folder)) == 3
    result = ftonnx.evaluate("digits", digits_batches(16, 40), **FAST, results=folder)
    assert result.rates[0].units == 6


def test_a_campaign_runs_in_a_thread_where_signals_cannot_be_caught(tmp_path):
    """A pipeline's worker thread gets the same counts."""
    ftonnx.evaluate("digits", digits_batches(8, 16), **FAST, results=tmp_path / "main")
    worker = threading.Thread(
        target=ftonnx.evaluate, args=("digits", digits_batches(8, 16)), kwargs=FAST | {"results": tmp_path / "thread"}
    )
    worker.start()
    worker.join()
    assert counts(tmp_path / "thread") == counts(tmp_path / "main")


def test_a_model_with_a_fixed_batch_gets_full_batches(tmp_path):
    """The last batch is filled up and only the real images are counted."""
    free = small_cnn()
    fixed = onnx.ModelProto()
    fixed.CopyFrom(free)
    dimension = fixed.graph.input[0].type.tensor_type.shape.dim[0]
    dimension.ClearField("dim_param")
    dimension.dim_value = 4
    data = [images(10)]
    for name, model in (("free", free), ("fixed", fixed)):
        ftonnx.evaluate(
            model,
            data,
            rates=[1e-3],
            repeats=2,
            images_per_pattern=4,
            threads=1,
            strategy="live",
            results=tmp_path / name,
        )
    assert counts(tmp_path / "fixed") == counts(tmp_path / "free")
    assert [row["n"] for row in rows(tmp_path / "fixed", "golden")] == [4, 4, 2]
    assert ftonnx.evaluate(fixed, data, rates=[0], repeats=1).settings.batch_size == 4
    with pytest.raises(UsageError, match="exactly 4 images, got `batch_size=8`"):
        ftonnx.evaluate(fixed, data, rates=[0], batch_size=8)


@pytest.mark.parametrize("run", [None, 1])
def test_a_run_that_the_flips_make_impossible_counts_as_detected_errors(tmp_path, run):
    """A flipped index that ONNX Runtime refuses is a DUE for the whole batch, in however many runs."""
    node = onnx.helper.make_node
    model = model_of(
        [
            node("Flatten", ["x"], ["f"], name="flatten"),
            node("MatMul", ["f", "w"], ["m"], name="fc"),
            node("Add", ["m", "b"], ["s"], name="bias"),
            node("ArgMax", ["b"], ["i"], axis=0, keepdims=0),
            node("Gather", ["limits", "i"], ["l"], axis=0),
            node("Expand", ["one", "l"], ["e"]),
            node("Mul", ["s", "e"], ["y"]),
        ],
        [
            ("w", random_floats(192, 5)),
            ("b", np.array([9, 0, 0, 0, 0], np.float32)),
            ("limits", np.array([[1, 1], [1, 7], [1, 7], [1, 7], [1, 7]], np.int64)),
            ("one", np.ones((1, 1), np.float32)),
        ],
    )
    ftonnx.evaluate(
        model,
        [images(4)],
        rates=[0.3],
        repeats=12,
        batch_size=run,
        strategy="rebuild",
        include=["b"],
        results=tmp_path / "r",
        threads=1,
    )
    found = counts(tmp_path / "r").values()
    crashed = [row for row in found if row["due"] == row["n"] == 4]
    assert crashed
    assert all(row["correct1"] == row["correct5"] == row["sdc1"] == row["masked"] == 0 for row in crashed)


def test_include_and_exclude_choose_what_can_flip(tmp_path):
    """Only matching tensors are hit; the fault space says how many bits are left."""
    for name, chosen, bits in (("only", {"include": ["w3"]}, 60 * 32), ("but", {"exclude": ["w?", "b1"]}, 17 * 32)):
        result = ftonnx.evaluate(small_cnn(), [images(4)], rates=[0.5], repeats=1, results=tmp_path / name, **chosen)
        assert result.fault_space.bits == bits


def test_the_forecast_names_sizes_and_writes_nothing(tmp_path):
    """Expected faults are rate times N; nothing is left on disk."""
    data = ftonnx.datasets.as_dataset(digits_batches(16, 40))
    settings = Settings(repeats=3, batch_size=16, strategy="live")
    faults = BitFlipRates((1e-6, 1e-5))
    campaign = Campaign(ftonnx.load_model(DIGITS), data, faults, settings=settings, results=tmp_path / "r")
    forecast = campaign.forecast()
    assert (forecast["units"], forecast["batches"], forecast["bits"]) == (18, 3, 1790784)
    assert forecast["expected_faults"] == pytest.approx({1e-6: 1.790784, 1e-5: 17.90784})
    assert forecast["seconds"] > 0
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("strategy", "units"), [("live", 0), ("rebuild", 1)])
def test_a_long_golden_run_tells_what_a_unit_takes_in_the_same_session(monkeypatch, strategy, units):
    """It is not run only to be timed; a strategy that opens a session for it is."""
    data = ftonnx.datasets.as_dataset(digits_batches(16, 40))
    settings = Settings(repeats=3, batch_size=16, strategy=strategy, threads=1)
    campaign = Campaign(ftonnx.load_model(DIGITS), data, BitFlipRates((1e-6,)), settings=settings)
    ran = []
    real = BatchRunner.run
    monkeypatch.setattr(BatchRunner, "run", lambda *arguments: (ran.append(1), real(*arguments))[1])
    monkeypatch.setattr(campaign_module, "_TELLING_SECONDS", 0.0)
    assert campaign.forecast()["seconds"] > 0
    assert len(ran) == units


def test_a_model_file_that_changes_meanwhile_is_noticed(tmp_path):
    """The hash is checked at the end; a temporary folder is not left behind."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(DIGITS.read_bytes())
    with pytest.raises(ModelError, match="changed"):
        ftonnx.evaluate(
            copy,
            digits_batches(8, 16),
            **FAST,
            progress=lambda done, _: done == 1 and copy.write_bytes(b"another model"),
        )
    assert left_behind(tmp_path) == []


def test_data_that_changes_between_passes_is_an_error(tmp_path):
    """An augmenting loader would make golden and faulty runs see different images."""

    class Shuffled:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield np.full((4, 1, 8, 8), self.passes, np.float32), np.zeros(4, np.int64)

    with pytest.raises(DataError, match="same 4 images"):
        ftonnx.evaluate("digits", Shuffled(), **FAST)
    assert left_behind(tmp_path) == []


def test_the_input_model_file_is_never_written(tmp_path):
    """Bytes, time stamp and neighbours of the file are what they were."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "copy.onnx").write_bytes(DIGITS.read_bytes())
    before, stamp = contents(folder), (folder / "copy.onnx").stat().st_mtime_ns
    result = ftonnx.evaluate(folder / "copy.onnx", digits_batches(8, 16), **(FAST | {"strategy": "auto"}))
    assert contents(folder) == before
    assert (folder / "copy.onnx").stat().st_mtime_ns == stamp
    assert result.model.sha256 == hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    assert Path(result.model.path) == folder / "copy.onnx"


def test_nothing_warns_on_a_model_that_faults_drive_to_nan_and_infinity():
    """Overflow and NaN in faulty arithmetic are data, not warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = ftonnx.evaluate("digits", digits_batches(40, 40), **(FAST | {"rates": [0.01], "format": "ieee"}))
    assert result.rates[0].due.mean > 0.5
