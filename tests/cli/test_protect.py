"""``ftonnx protect`` and ``ftonnx activations`` at the command line."""

import csv
import hashlib
import io
import json
import os
import random
import signal
import time

import numpy as np
import onnx
import pytest
from campaign_kit import DIGITS, cli, cli_json, contents, finish, held, one_error_line, process
from mitigate_kit import images_of, one_activation, plain_run
from onnx import helper
from onnx_zoo import bits_of, model_of, random_floats, small_cnn

from ftonnx.datasets import load_dataset, stratified_subset
from ftonnx.export import clip_activations, find_activations, read_thresholds
from ftonnx.mitigate import Thresholds

RELUS = ["node_relu", *(f"node_relu_{i}" for i in range(1, 7))]
QUICK = ("--iterations", "2", "--rates", "1e-5,1e-4", "--limit", "32")


@pytest.fixture
def place(temporary_folder, tmp_path, monkeypatch):
    """A working folder with a model of 5 classes, its own answers as data, and a temporary folder of its own."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    onnx.save(small_cnn(), "m.onnx")
    images = images_of(10)
    np.savez("d.npz", images=images, labels=plain_run(small_cnn(), images)["y"].argmax(axis=1))
    return tmp_path / "work"


def sha256(path):
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plain_accuracy(model, data):
    """Return the share of right answers of a plain session."""
    ((images, labels),) = data.batches(len(data))
    return (plain_run(onnx.load(model), images)["logits"].argmax(axis=1) == labels).mean()


class TestProtect:
    """What the methods write and print."""

    @pytest.mark.parametrize("method", ["relu6", "actmax", "clipact"])
    def test_json_holds_the_method_the_model_and_all_thresholds(self, place, method):
        """One object on stdout; the same content in the thresholds file."""
        before = sha256(DIGITS)
        options = [] if method == "relu6" else ["--data", "digits", *QUICK, "--save-thresholds", "t.json"]
        got = cli_json("protect", "digits", "--method", method, *options, "-o", "o.onnx")
        assert (got["output"], got["activations"], got["method"], got["model"]) == ("o.onnx", RELUS, method, before)
        assert sha256(DIGITS) == before
        if method == "relu6":
            assert set(got) == {"output", "activations", "warnings", "on_exceed", "method", "model"}
            return
        assert set(got) == {
            "output", "activations", "warnings", "schema_version", "method", "scope", "on_exceed", "model",
            "thresholds", "search", "fault_free",
        }  # fmt: skip
        test = {"name": "digits", "split": "test", "samples": 32, "unseen": True}
        assert got["fault_free"]["data"] == test
        assert got["fault_free"]["before"]["top1"] == plain_accuracy(DIGITS, load_dataset("digits", limit=32))
        assert got["fault_free"]["after"]["top1"] == plain_accuracy("o.onnx", load_dataset("digits", limit=32))
        besides = ("output", "activations", "warnings", "fault_free")
        assert {k: v for k, v in got.items() if k not in besides} == json.loads((place / "t.json").read_text())
        held = read_thresholds(onnx.load("o.onnx"))
        assert {name: float(value) for name, value in held.items()} == {
            name: entry["values"][0] for name, entry in got["thresholds"].items()
        }
        data = load_dataset("digits", split="val", limit=32)
        assert (got["search"]["data"], got["search"]["samples"]) == (data.fingerprint, 32)
        if method == "clipact":
            assert got["search"]["settings"]["auc_axis"] == "log"
            assert len(got["search"]["evaluations"]) == 7 * 6
            for name in RELUS:
                points = [each for each in got["search"]["evaluations"] if each["activation"] == name]
                best = max(each["at_most"] for each in points)
                assert best == max(each["score"] or 0 for each in points), "what was left out could not be the best"
                for each in points:
                    assert each["score"] == (None if None in each["accuracy"] else each["at_most"])
        assert sorted(contents(place)) == ["d.npz", "m.onnx", "o.onnx", "t.json"]

    def test_the_table_names_every_activation_and_its_threshold(self, place):
        """On stdout; where the model lies, on stderr."""
        finished = cli("protect", "digits", "--method", "actmax", "--data", "digits", "-o", "o.onnx")
        follows = "next: ftonnx inject o.onnx --data digits --results run\n"
        assert (finished.code, finished.err) == (0, f"protected model: o.onnx\n{follows}")
        assert finished.out.startswith("digits: 7 activations clipped by actmax, 360 images of digits\n")
        held = read_thresholds(onnx.load("o.onnx"))
        for name in RELUS:
            assert f"{name} " in finished.out
            assert f"{float(held[name]):.6g}" in finished.out

    def test_clipact_says_how_far_thresholds_were_measured_and_golden_tensors_may_take_no_memory(self, place):
        """The numbers are those of the thresholds file; --cache-memory changes no byte of it."""
        common = ("protect", "m.onnx", "--method", "clipact", "--data", "npz:d.npz", *QUICK, "-o", "o.onnx")
        shown = cli(*common, "--save-thresholds", "t.json")
        assert shown.code == 0, shown.err
        tried = json.loads((place / "t.json").read_text())["search"]["evaluations"]
        scored = [each for each in tried if each["score"] is not None]
        assert 0 < len(scored) < len(tried)
        assert f"\n{len(tried)} thresholds tried, {len(scored)} of them at all rates; the others could" in shown.out
        assert cli(*common, "--save-thresholds", "u.json", "--cache-memory", "0", "--force").code == 0
        assert (place / "t.json").read_bytes() == (place / "u.json").read_bytes()

    def test_actmax_is_the_largest_value_on_the_validation_split(self, place):
        """A plain ONNX Runtime pass over all 360 images."""
        got = cli_json("protect", "digits", "--method", "actmax", "--data", "digits", "-o", "o.onnx")
        model = onnx.load(DIGITS)
        tensors = [a.output for a in find_activations(model)]
        model.graph.output.extend(helper.make_tensor_value_info(t, 1, None) for t in tensors)
        images, _ = next(load_dataset("digits", split="val").batches(360))
        values = plain_run(model, images)
        expected = [values[tensor].max() for tensor in tensors]
        assert [got["thresholds"][name]["values"][0] for name in RELUS] == pytest.approx(expected, rel=1e-5)

    def test_scope_channel_gives_one_threshold_per_channel(self, place):
        """Their largest is the threshold of scope node."""
        options = ("protect", "m.onnx", "--method", "actmax", "--data", "npz:d.npz", "-o", "o.onnx", "--force")
        node, channel = cli_json(*options), cli_json(*options, "--scope", "channel")
        assert channel["scope"] == "channel"
        assert [entry["shape"] for entry in channel["thresholds"].values()] == [[1, 16, 1, 1], [1, 12, 1, 1]]
        for name, entry in channel["thresholds"].items():
            assert max(entry["values"]) == node["thresholds"][name]["values"][0]
        shown = cli(*options, "--scope", "channel").out
        assert "16 values" in shown

    def test_a_clamp_holds_the_thresholds_in_plain_clips_and_a_file_keeps_its_form(self, place):
        """It may be applied in the other form; what is protected already is known by its nodes too."""
        options = ("protect", "m.onnx", *ACTMAX[:-2], "--save-thresholds", "t.json")
        got = cli_json(*options, "--on-exceed", "clamp", "-o", "o.onnx")
        assert got["on_exceed"] == "clamp"
        model = onnx.load("o.onnx")
        assert [node.op_type for node in model.graph.node].count("Clip") == 2
        assert not model.functions
        held = {name: float(value) for name, value in read_thresholds(model).items()}
        assert held == {name: entry["values"][0] for name, entry in got["thresholds"].items()}
        assert cli("protect", "m.onnx", "--thresholds", "t.json", "-o", "again.onnx").code == 0
        assert (place / "again.onnx").read_bytes() == (place / "o.onnx").read_bytes()
        zeroed = cli("protect", "m.onnx", "--thresholds", "t.json", "--on-exceed", "zero", "-o", "zeroed.onnx")
        assert "clamped" not in zeroed.out
        assert {float(value) for value in read_thresholds(onnx.load("zeroed.onnx")).values()} == set(held.values())
        shown = cli("activations", "o.onnx", "--data", "npz:d.npz", "--csv")
        assert [row["above"] for row in csv.DictReader(io.StringIO(shown.out))] == ["0.0", "0.0"]
        del model.metadata_props[:]
        onnx.save(model, "bare.onnx")
        again = cli("protect", "bare.onnx", "--method", "relu6", "-o", "x.onnx")
        assert (again.code, one_error_line(again)) == (
            4,
            "error: bare is protected by clipping already; start from the unprotected model",
        )
        channel = cli_json(*options, "--on-exceed", "clamp", "--scope", "channel", "-o", "x.onnx")
        assert [node.op_type for node in onnx.load("x.onnx").graph.node].count("Min") == 2
        assert [entry["shape"] for entry in channel["thresholds"].values()] == [[1, 16, 1, 1], [1, 12, 1, 1]]
        ranger = cli_json(
            "protect", "m.onnx", "--method", "ranger", "--per-channel", "--data", "npz:d.npz", "-o", "y.onnx"
        )
        assert (ranger["method"], ranger["thresholds"]) == ("ranger", channel["thresholds"])

    def test_thresholds_are_applied_without_data_and_give_the_same_file(self, place):
        """Byte for byte; the file's own table of thresholds can be saved again."""
        first = ("protect", "m.onnx", "--method", "actmax", "--scope", "channel", "--data", "npz:d.npz")
        assert cli(*first, "--save-thresholds", "t.json", "-o", "first.onnx").code == 0
        again = cli("protect", "m.onnx", "--thresholds", "t.json", "--save-thresholds", "u.json", "-o", "again.onnx")
        assert again.code == 0, again.err
        assert (place / "first.onnx").read_bytes() == (place / "again.onnx").read_bytes()
        assert (place / "t.json").read_bytes() == (place / "u.json").read_bytes()

    def test_stratified_draws_the_images_of_every_class_in_its_share(self, place):
        """The data fingerprint is that of the subset drawn with the seed."""
        options = ("protect", "digits", *ACTMAX[:-3], "digits", "--limit", "50", "-o", "o.onnx")
        got = cli_json(*options, "--stratified", "--seed", "5")
        subset = stratified_subset(load_dataset("digits", split="val"), 50, seed=5)
        assert got["search"] == {"data": subset.fingerprint, "samples": 50}
        assert cli_json(*options)["search"]["data"] == load_dataset("digits", split="val", limit=50).fingerprint

    def test_every_option_of_the_search_arrives(self, place):
        """As recorded in the settings."""
        got = cli_json(
            "protect", "m.onnx", "--method", "clipact", "--data", "npz:d.npz", "-o", "o.onnx", "--iterations", "2",
            "--rates", "1e-2, 1e-3", "--repeats", "2", "--auc-axis", "index", "--auc-include-clean", "0.5",
            "--resample", "6", "--batch-size", "4", "--seed", "9", "--on-exceed", "clamp",
            "--task", "classification", "--model-output", "y",
        )  # fmt: skip
        assert got["search"]["settings"] == {
            "iterations": 2, "rates": [0.001, 0.01], "repeats": 2, "auc_axis": "index", "include_clean": 0.5,
            "resample": 6, "batch_size": 4, "seed": 9, "on_exceed": "clamp",
            "task": {"name": "classification", "nan": "due"}, "output": "y",
        }  # fmt: skip

    def test_a_model_that_insists_on_a_batch_size_is_protected(self, place):
        """As exporters write it by default; all three methods, and the distributions."""
        model = small_cnn()
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4
        onnx.save(model, "fixed.onnx")
        common = ("--data", "npz:d.npz")
        for method in ("actmax", "clipact"):
            output = ("-o", f"{method}.onnx")
            assert cli("protect", "fixed.onnx", "--method", method, *common, *QUICK, *output).code == 0
        assert cli("activations", "fixed.onnx", *common, "--faults", "1e-3").code == 0
        wrong = cli("protect", "fixed.onnx", "--method", "actmax", *common, "--batch-size", "8", "-o", "p.onnx")
        assert wrong.code == 2
        assert "takes batches of exactly 4 images" in one_error_line(wrong)

    @pytest.mark.parametrize("method", ["relu6", "actmax", "clipact"])
    def test_inject_takes_the_protected_model_and_meets_the_same_flips(self, place, method):
        """The fault space has as many bits, the thresholds none."""
        data = () if method == "relu6" else ("--data", "digits", *QUICK)
        assert cli("protect", "digits", "--method", method, *data, "-o", "o.onnx").code == 0
        plain, protected = (cli_json("inspect", model) for model in (DIGITS, "o.onnx"))
        assert (protected["targets"], protected["bits"]) == (plain["targets"], plain["bits"])
        added = {each["reason"] for each in protected["left_out"]} - {each["reason"] for each in plain["left_out"]}
        assert added <= {"threshold", "single number"}
        faulty = [
            cli_json("inject", m, "--data", "digits", "--limit", "64", "--rate", "1e-5", "--repeats", "3")
            for m in (DIGITS, "o.onnx")
        ]
        assert faulty[0]["rates"][0]["faults_mean"] == faulty[1]["rates"][0]["faults_mean"]


ONE = ("--data", "npz:d.npz", "-o", "o.onnx")
ACTMAX = ("--force", "--method", "actmax", *ONE)
CLIPACT = ("--force", "--method", "clipact", *ONE)


def save(make, name="m.onnx"):
    """Return a step that saves a model."""
    return lambda: onnx.save(make(), name)


def images(values):
    """Return a step that writes other images."""
    return lambda: np.savez("d.npz", images=values, labels=np.zeros(len(values), np.int64))


def linear():
    """Return a model without any activation."""
    return model_of([helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
                    [("w", random_floats(192, 5))])  # fmt: skip


def quantized():
    """Return a QDQ model."""
    node = helper.make_node
    nodes = [node("QuantizeLinear", ["x", "s"], ["q"]), node("DequantizeLinear", ["q", "s"], ["d"]),
             node("Flatten", ["d"], ["f"]), node("MatMul", ["f", "w"], ["m"]), node("Relu", ["m"], ["y"])]  # fmt: skip
    return model_of(nodes, [("s", np.float32(0.1)), ("w", random_floats(192, 5))])


def others_thresholds():
    """Write the thresholds of another model."""
    onnx.save(small_cnn(seed=9), "other.onnx")
    assert cli("protect", "other.onnx", *ACTMAX[:-1], "p.onnx", "--save-thresholds", "t.json").code == 0
    os.unlink("p.onnx")


BAD = {
    "no activations": (save(linear), ACTMAX, 4, "has no activation to clip"),
    "int8": (save(quantized), ACTMAX, 4, "is quantized; protect its FP32 model"),
    "clipped already": (
        save(lambda: clip_activations(small_cnn(), {"relu1": np.float32(2)})[0]), ACTMAX, 4, "already; start from",
    ),
    "relu6 already": (
        lambda: cli("protect", "m.onnx", "--method", "relu6", "-o", "m6.onnx"),
        ("--method", "relu6", "-o", "o.onnx"), 4, "is protected by relu6 already", "m6.onnx",
    ),
    "no relu for relu6": (
        save(lambda: one_activation("elu")), ("--method", "relu6", "-o", "o.onnx"), 4, "use actmax or clipact",
    ),
    "old opset": (
        save(lambda: model_of([helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["m"]),
                               helper.make_node("Relu", ["m"], ["y"])], [("w", random_floats(192, 5))], opset=9)),
        ACTMAX, 4, "opset 12 or newer was expected, got 9",
    ),
    "never fires": (
        save(lambda: model_of([helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Abs", ["c"], ["a"]),
                               helper.make_node("Neg", ["a"], ["n"]), helper.make_node("Relu", ["n"], ["y"], name="r")],
                              [("w", random_floats(4, 3, 3, 3))])), ACTMAX, 4, "'r' never fires on these 10 images",
    ),
    "thresholds of another model": (
        others_thresholds, ("--thresholds", "t.json", "-o", "o.onnx"), 4, "the thresholds were found for the model",
    ),
    "a model as thresholds": (None, ("--thresholds", "m.onnx", "-o", "o.onnx"), 4, "is not a thresholds file"),
    "no thresholds file": (None, ("--thresholds", "t.json", "-o", "o.onnx"), 4, "cannot be read"),
    "no model": (None, ACTMAX, 4, "expected a model", "none.onnx"),
    "empty data": (images(np.zeros((0, 3, 8, 8), np.float32)), ACTMAX, 4, "at least one sample"),
    "NaN data": (images(np.full((2, 3, 8, 8), np.nan, np.float32)), ACTMAX, 4, "NaN or Inf"),
    "wrong shape": (images(np.ones((2, 1, 8, 8), np.float32)), ACTMAX, 4, "the data gives (2, 1, 8, 8)"),
    "wrong shape, clipact": (images(np.ones((2, 1, 8, 8), np.float32)), CLIPACT, 4, "the data gives (2, 1, 8, 8)"),
    "too many classes": (
        lambda: np.savez("d.npz", images=images_of(2), labels=np.array([0, 7])), CLIPACT, 4, "scores only 5",
    ),
    "no data": (None, ("--method", "actmax", "-o", "o.onnx"), 2, "actmax needs images"),
    "no split": (None, (*ACTMAX, "--split", "val"), 2, "a single .npz has no split"),
    "no method": (None, ONE, 2, "--method relu6, actmax, ranger or clipact, or --thresholds"),
    "both": (None, (*ACTMAX, "--thresholds", "t.json"), 2, "or --thresholds"),
    "unknown method": (None, ("--method", "relu7", *ONE), 2, "use relu6, actmax, ranger, clipact; did you mean relu6?"),
    "unknown scope": (None, (*ACTMAX, "--scope", "layer"), 2, "'layer' is not known: use node, channel"),
    "two scopes": (None, (*ACTMAX, "--per-channel", "--scope", "neuron"), 2, "no --scope neuron was expected"),
    "unknown scope, relu6": (None, ("--method", "relu6", "--scope", "layer", *ONE), 2, "'layer' is not known"),
    "unknown axis": (None, (*CLIPACT, "--auc-axis", "ln"), 2, "'ln' is not known: use log, linear, index"),
    "rates": (None, (*CLIPACT, "--rates", "1e-7;1e-6"), 2, "--rates: numbers such as"),
    "one rate": (None, (*CLIPACT, "--rates", "1e-7"), 2, "two or more rates"),
    "clean": (None, (*CLIPACT, "--auc-include-clean", "1"), 2, "must be in [0, 1)"),
    "cache memory": (None, (*CLIPACT, "--cache-memory", "much"), 2, "--cache-memory: bytes such as 512M or 2G"),
    "seed": (None, (*ACTMAX, "--seed", "-1", "--stratified", "--limit", "5"), 2, "seed must be"),
    "stratified alone": (None, (*ACTMAX, "--stratified"), 2, "--stratified draws --limit N images"),
    "limit": (None, (*ACTMAX, "--limit", "0"), 2, "at least 1 image"),
    "the model itself": (None, (*ACTMAX[:-1], "m.onnx"), 2, "is the model itself"),
    "the model itself, another way": (None, (*ACTMAX[:-1], "../work/./m.onnx"), 2, "is the model itself"),
    "thresholds over the model": (None, (*ACTMAX, "--save-thresholds", "m.onnx"), 2, "is the model itself"),
    "thresholds over the output": (None, (*ACTMAX, "--save-thresholds", "./o.onnx"), 2, "choose two names"),
    "relu6 thresholds": (None, ("--method", "relu6", *ONE, "--save-thresholds", "t.json"), 2, "no thresholds to save"),
    "no folder": (None, (*ACTMAX[:-1], "none/o.onnx"), 2, "no folder"),
    "a folder": (lambda: os.mkdir("d"), (*ACTMAX[:-1], "d"), 2, "expected the name of a file to write, got a folder"),
    "no folder for thresholds": (None, (*ACTMAX, "--save-thresholds", "none/t.json"), 2, "no folder"),
}  # fmt: skip


class TestBadInput:
    """One line, the right code, nothing left behind."""

    @pytest.mark.parametrize("case", BAD)
    def test_bad_input_gives_one_line_and_leaves_nothing(self, place, case):
        """No output, no thresholds, no temporary file."""
        before, options, code, message, *model = BAD[case]
        if before is not None:
            before()
        there = contents(place)
        finished = cli("protect", *(model or ["m.onnx"]), *options)
        assert message in one_error_line(finished)
        assert finished.code == code
        assert contents(place) == there
        assert contents(place.parent / "tmp") == {}

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written_is_refused_before_the_work(self, place):
        """Not after a search of hours."""
        os.mkdir("locked", 0o500)
        assert "cannot be written" in one_error_line(cli("protect", "m.onnx", *CLIPACT[:-1], "locked/o.onnx"))

    def test_a_full_disk_leaves_no_partial_file(self, place, monkeypatch):
        """The old output stays what it was."""
        (place / "o.onnx").write_bytes(b"old")
        there = contents(place)

        def full(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        finished = cli("protect", "m.onnx", *ACTMAX)
        monkeypatch.undo()
        assert "No space left on device" in one_error_line(finished)
        assert finished.code in (2, 4)
        assert contents(place) == there

    def test_a_model_that_changes_meanwhile_is_noticed(self, place):
        """The thresholds would be of another model than the file's."""
        (place / "loader.py").write_text(
            "import numpy as np, onnx\n"
            "def load():\n"
            "    with open('m.onnx', 'ab') as file: file.write(b'')\n"
            "    model = onnx.load('m.onnx'); model.doc_string = 'other'; onnx.save(model, 'm.onnx')\n"
            "    yield np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype('f4'), np.zeros(4, int)\n"
        )
        finished = cli("protect", "m.onnx", "--method", "actmax", "--data", "loader.py:load", "-o", "o.onnx")
        assert finished.code == 4
        assert "changed or vanished while it was in use" in one_error_line(finished)
        assert not (place / "o.onnx").exists()


SEARCH = (
    "protect", "digits", "--method", "clipact", "--data", "digits", "--iterations", "4", "--repeats", "2",
    "--rates", "1e-6,1e-5,1e-4", "--limit", "250", "--seed", "4",
)  # fmt: skip


def known(folder):
    """Return how many measurements a search log holds."""
    file = folder / "search.jsonl"
    return max(file.read_bytes().count(b"\n") - 1, 0) if file.exists() else 0


class TestResume:
    """Searches that are killed, stopped, and gone on with."""

    @pytest.mark.slow
    def test_killed_at_random_moments_it_ends_with_the_same_bytes(self, tmp_path):
        """SIGKILL three times, then to the end: model and thresholds file as of one uninterrupted run."""
        whole = finish(process(*SEARCH, "--save-thresholds", "t.json", "-o", "whole.onnx", folder=tmp_path))
        assert whole.code == 0, whole.err
        command = (*SEARCH, "--results", "r", "--save-thresholds", "u.json", "-o", "resumed.onnx")
        moments, seen = random.Random(5), []
        for _ in range(3):
            enough = known(tmp_path / "r") + moments.randint(4, 20)
            running = process(*command, folder=tmp_path)
            deadline = time.monotonic() + 60
            while known(tmp_path / "r") < enough:
                assert running.poll() is None, running.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            running.kill()
            assert finish(running).code == -signal.SIGKILL, "the search was too short to be killed"
            seen.append(known(tmp_path / "r"))
            assert not (tmp_path / "u.json").exists()
            assert not (tmp_path / "resumed.onnx").exists()
        assert seen == sorted(set(seen))
        last = finish(process(*command, folder=tmp_path))
        assert last.code == 0, last.err
        assert (tmp_path / "u.json").read_bytes() == (tmp_path / "t.json").read_bytes()
        assert (tmp_path / "resumed.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()
        evaluations = Thresholds.load(tmp_path / "u.json").search["evaluations"]
        assert len(evaluations) == 7 * 10
        lines = (tmp_path / "r" / "search.jsonl").read_text().splitlines()[1:]
        assert len(set(lines)) == len(lines), "nothing was measured twice"
        kept = {tuple(entry["key"]): entry["evaluation"] for entry in map(json.loads, lines)}
        images = [each.pop("images") for each in kept.values()]
        assert all(set(marks) - {"?"} for marks in images)
        untouched = [each for each in evaluations if each not in kept.values()]
        assert len(untouched) + len(kept) == len(evaluations)
        assert {(each["at_most"], *each["accuracy"]) for each in untouched} <= {(1.0, None, None, None)}
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "r", "resumed.onnx", "t.json", "tmp", "u.json", "whole.onnx",
        ]  # fmt: skip
        assert list((tmp_path / "tmp").iterdir()) == []

    @pytest.mark.slow
    def test_a_signal_ends_it_with_its_code_and_a_second_process_is_refused_meanwhile(self, tmp_path):
        """One line says how far it came; what is done is kept."""
        longer = ("30" if each == "2" else each for each in SEARCH)
        command = (*longer, "--results", "r", "-o", "o.onnx")
        running = process(*command, folder=tmp_path)
        while not known(tmp_path / "r"):
            assert running.poll() is None, running.communicate()
            time.sleep(0.002)
        with held(running):
            second = finish(process(*command, "--json", folder=tmp_path))
        running.send_signal(signal.SIGTERM)
        stopped = finish(running)
        assert second.code == 4
        assert "search.jsonl is in use by another process" in one_error_line(second)
        assert stopped.code == 143
        assert "measurements are done; --results DIR keeps them" in one_error_line(stopped)
        assert not (tmp_path / "o.onnx").exists()

    def test_another_search_in_the_folder_is_refused(self, place):
        """Another seed, other data, another scope."""
        first = ("protect", "m.onnx", *CLIPACT, *QUICK, "--results", "r")
        fewer = ("9" if each == "32" else each for each in first)
        assert cli(*first).code == 0
        there = contents(place)
        others = ((*first, "--seed", "1"), fewer, (*first, "--scope", "channel"), (*first, "--auc-axis", "index"))
        for other in others:
            finished = cli(*other)
            assert (finished.code, contents(place)) == (4, there)
            assert "belongs to another search; repeat its settings or choose another folder" in one_error_line(finished)
        assert cli(*first).code == 0, "the same search is just read"
        assert contents(place) == there


class TestActivations:
    """Distributions at the command line."""

    def test_json_has_every_activation_at_every_rate(self, place):
        """Fault-free first; the same rate given twice counts once."""
        got = cli_json(
            "activations", "digits", "--data", "digits", "--limit", "32", "--faults", "1e-4", "--faults", "1e-4",
            "--faults", "1e-3",
        )  # fmt: skip
        assert set(got) == {"model", "data", "warnings", "activations"}
        assert got["data"] == load_dataset("digits", limit=32).fingerprint
        assert [(row["activation"], row["rate"]) for row in got["activations"]] == [
            (name, rate) for rate in (0.0, 1e-4, 1e-3) for name in RELUS
        ]
        assert set(got["activations"][0]) == {
            "activation", "rate", "count", "not_finite", "minimum", "maximum", "mean", "quartile1", "median",
            "quartile3", "sparsity", "above", "edges", "histogram",
        }  # fmt: skip
        assert got["activations"][0]["count"] == 32 * 16 * 8 * 8

    def test_csv_holds_the_same_numbers(self, place):
        """Histograms as numbers joined by spaces, an empty cell where there is no threshold."""
        options = ("activations", "m.onnx", "--data", "npz:d.npz", "--faults", "1e-3")
        finished, rows = cli(*options, "--csv"), cli_json(*options)["activations"]
        read = list(csv.DictReader(io.StringIO(finished.out)))
        assert len(read) == len(rows) == 4
        for got, row in zip(read, rows, strict=True):
            assert got["activation"] == row["activation"]
            assert got["above"] == ""
            assert float(got["median"]) == row["median"]
            assert [int(n) for n in got["histogram"].split()] == row["histogram"]
            assert [float(n) for n in got["edges"].split()] == row["edges"]

    def test_the_share_above_comes_from_the_models_own_thresholds_or_a_file(self, place):
        """The same numbers either way; without any there is none."""
        protect = ("protect", "m.onnx", *ACTMAX, "--limit", "1", "--save-thresholds", "t.json")
        assert cli(*protect).code == 0
        common = ("--data", "npz:d.npz", "--faults", "1e-2")
        own = cli_json("activations", "o.onnx", *common)["activations"]
        given = cli_json("activations", "m.onnx", *common, "--thresholds", "t.json")["activations"]
        none = cli_json("activations", "m.onnx", *common)["activations"]
        assert [row["above"] for row in own[:1]] == [row["above"] for row in given[:1]]
        assert given[0]["above"] > 0, "the thresholds come from the first image only"
        assert own[2]["above"] > own[0]["above"]
        assert {row["above"] for row in none} == {None}
        shown = cli("activations", "m.onnx", *common)
        assert shown.code == 0
        assert "above T" in shown.out
        assert "relu2" in shown.out

    @pytest.mark.parametrize(
        ("before", "options", "code", "message"),
        [
            (save(linear), (), 4, "has no activation that ftonnx knows"),
            (None, ("--json", "--csv"), 2, "--json and --csv exclude each other"),
            (None, ("--faults", "2"), 2, "0 to 1 was expected; got 2.0"),
            (None, ("--batch-size", "0"), 2, "batch size of at least 1"),
            (None, ("--seed", "-1", "--faults", "1e-3"), 2, "from 0 to 2**64 - 1"),
            (others_thresholds, ("--thresholds", "t.json"), 4, "the thresholds were found for the model"),
            (images(np.ones((2, 1, 8, 8), np.float32)), (), 4, "the data gives (2, 1, 8, 8)"),
        ],
    )
    def test_bad_input_gives_one_line(self, place, before, options, code, message):
        """The model, the data, the options."""
        if before is not None:
            before()
        finished = cli("activations", "m.onnx", "--data", "npz:d.npz", *options)
        assert message in one_error_line(finished)
        assert finished.code == code

    def test_both_runs_of_the_same_command_print_the_same(self, place):
        """Byte for byte."""
        options = ("activations", "digits", "--data", "digits", "--limit", "16", "--faults", "1e-4", "--json")
        assert cli(*options).out == cli(*options).out

    def test_a_protected_relu6_network_shows_both_its_activations(self, place):
        """The CReLU that was put in and the Clip behind it."""
        onnx.save(one_activation("relu6"), "six.onnx")
        np.savez("e.npz", images=3 * images_of(4, (1, 4, 4)), labels=np.zeros(4, np.int64))
        assert cli("protect", "six.onnx", "--method", "actmax", "--data", "npz:e.npz", "-o", "o.onnx").code == 0
        rows = cli_json("activations", "o.onnx", "--data", "npz:e.npz")["activations"]
        assert [(row["activation"], row["above"]) for row in rows] == [("act/CReLU", 0.0), ("act", None)]
        assert bits_of([read_thresholds(onnx.load("o.onnx"))["act/CReLU"]])[0][0] == ()
