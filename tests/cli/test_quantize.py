"""``ftonnx quantize`` at the command line."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from campaign_kit import cli, cli_json, one_error_line
from onnx_zoo import ort_run, small_cnn
from quant_kit import batches, clipped, digits_accuracy, node

from ftonnx.models import resolve
from ftonnx.quant import quantize


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def npz(path, shape=(3, 8, 8), count=12, dtype=np.float32, fill=None):
    """Write a data set of random images with labels below 5."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(count, *shape)).astype(dtype) if fill is None else np.full((count, *shape), fill, dtype)
    np.savez(path, images=images, labels=rng.integers(0, 5, count))
    return f"npz:{path}"


def test_it_prints_size_accuracy_and_the_largest_error():
    """Before and after; the file is the model that was measured."""
    found = cli_json("quantize", "digits", "--data", "digits", "-o", "q.onnx")
    assert found["size"] == {"before": os.path.getsize(resolve("digits")), "after": os.path.getsize("q.onnx")}
    assert found["data"]["split"] == "train"
    assert found["accuracy"]["before"]["top1"] == pytest.approx(digits_accuracy(resolve("digits"), "test"))
    assert found["accuracy"]["after"]["top1"] == pytest.approx(digits_accuracy("q.onnx", "test"))
    assert found["accuracy"]["data"] == {"name": "digits", "split": "test", "samples": 360, "unseen": True}
    assert digits_accuracy("q.onnx", "test") >= digits_accuracy(resolve("digits"), "test") - 0.02
    worst = min(found["activations"], key=lambda activation: activation["snr_db"])
    assert found["worst"] == worst
    code, out, _ = cli("quantize", "digits", "--data", "digits", "-o", "q.onnx", "--force")
    assert code == 0
    assert "accuracy on 360 images of digits, test, none of which was used" in out
    assert f"{found['size']['after']:,}" in out
    assert f"{worst['snr_db']:.1f} dB" in out
    assert worst["tensor"] in out
    assert [path.name for path in Path().iterdir()] == ["q.onnx"]


def test_the_report_keeps_everything():
    """The same content as --json, as strict JSON also where a threshold is infinite."""
    onnx.save(clipped(small_cnn(), [2.0, np.inf]), "m.onnx")
    arguments = ("quantize", "m.onnx", "--data", npz("d.npz"), "-o", "q.onnx", "--report", "r.json")
    printed = cli_json(*arguments)
    kept = json.loads(Path("r.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert kept == printed
    assert [entry["threshold"] for entry in kept["clipped"]] == [[2.0], ["Infinity"]]
    assert kept["clipped"][0]["quantized_threshold"] == [254]


def test_options_reach_the_quantizer():
    """Every option, and the data set's limit."""
    options = (
        "--split", "val", "--limit", "40", "--calibration", "percentile", "--percentile", "99.9", "--per-tensor",
        "--quant-format", "qoperator", "--activation-type", "int8", "--weight-type", "int8",
        "--exclude-nodes", "*relu_6",
    )  # fmt: skip
    found = cli_json("quantize", "digits", "--data", "digits", "-o", "q.onnx", *options)
    assert (found["data"]["split"], found["data"]["samples"], found["images"]) == ("val", 40, 40)
    assert found["settings"] == {
        "calibration": "percentile", "percentile": 99.9, "per_channel": False, "quant_format": "qoperator",
        "activation_type": "int8", "weight_type": "int8", "exclude_nodes": ["*relu_6"], "error_images": 32,
    }  # fmt: skip
    assert found["excluded_nodes"] == ["node_relu_6"]


def test_a_cache_is_written_and_used():
    """Ranges are found once; another method is refused and nothing is written."""
    first = cli_json("quantize", "digits", "--data", "digits", "-o", "a.onnx", "--calibration-cache", "c.json")
    again = cli_json("quantize", "digits", "--data", "digits", "-o", "b.onnx", "--calibration-cache", "c.json")
    assert (first["from_cache"], again["from_cache"]) == (False, True)
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    finished = cli(
        "quantize", "digits", "--data", "digits", "-o", "c.onnx", "--calibration-cache", "c.json",
        "--calibration", "minmax",
    )  # fmt: skip
    assert finished.code == 4
    assert "another calibration" in one_error_line(finished)
    assert sorted(path.name for path in Path().iterdir()) == ["a.onnx", "b.onnx", "c.json"]


def test_the_result_goes_through_inject():
    """A campaign on the int8 file sees int8 weights and int32 biases, not the thresholds."""
    onnx.save(clipped(onnx.load(resolve("digits")), [4.0] * 7), "m.onnx")
    assert cli("quantize", "m.onnx", "--data", "digits", "--limit", "64", "-o", "q.onnx")[0] == 0
    found = cli_json("inject", "q.onnx", "--data", "digits", "--limit", "32", "--rate", "1e-4", "--repeats", "2")
    assert found["fault_space"]["formats"] == ["int32", "int8"]
    assert found["fault_space"]["tensors"] == 20
    assert found["golden"]["top1"] > 0.9


def test_fixed_batches_are_filled_up():
    """Calibration and accuracy with a model that insists on 5 images."""
    model = small_cnn()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 5
    onnx.save(model, "m.onnx")
    found = cli_json("quantize", "m.onnx", "--data", npz("d.npz"), "-o", "q.onnx")
    assert found["images"] == 12
    images = np.load("d.npz")["images"]
    padded = np.concatenate([images, images[:3]]).reshape(3, 5, 3, 8, 8)
    scores = np.concatenate([ort_run(model, {"x": batch})[0] for batch in padded])[:12]
    assert found["accuracy"]["before"]["top1"] == (scores.argmax(1) == np.load("d.npz")["labels"]).mean()


def segmentation():
    """Write a net whose output is a map of scores per class."""
    from onnx_zoo import model_of, random_floats

    model = model_of(
        [node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])],
        [("w", random_floats(5, 3, 3, 3))],
        outputs={"y": ["batch", 5, 8, 8]},
    )
    onnx.save(model, "m.onnx")
    return model


def test_a_model_that_is_no_classifier_is_quantized_without_accuracy():
    """One note says why there is none; everything else is told."""
    segmentation()
    code, out, err = cli("quantize", "m.onnx", "--data", npz("d.npz"), "-o", "q.onnx")
    assert code == 0
    assert err.splitlines() == [
        "no accuracy was measured: a classifier's output, numbers of shape (batch, classes), was expected; got float32 "
        "of shape (12, 5, 8, 8) for 12 images; name another --model-output or --task",
        "quantized model: q.onnx",
        "next: ftonnx inject q.onnx --data npz:d.npz --results run",
    ]
    assert "top-1" not in out
    assert f"{os.path.getsize('q.onnx'):,}" in out
    found = cli_json("quantize", "m.onnx", "--data", "npz:d.npz", "-o", "q.onnx", "--force")
    accuracy = found["accuracy"]
    assert (accuracy["before"], accuracy["after"]) == (None, None)
    assert accuracy["note"].startswith("a classifier's output")
    assert found["weights"] == 1


def test_labels_that_a_classifier_has_no_score_for_are_refused():
    """That the outputs fit is no reason to be silent about the labels."""
    onnx.save(small_cnn(), "m.onnx")
    np.savez("d.npz", images=np.zeros((4, 3, 8, 8), np.float32) + 0.5, labels=np.array([0, 1, 2, 5]))
    finished = cli("quantize", "m.onnx", "--data", "npz:d.npz", "-o", "q.onnx")
    assert finished.code == 4
    assert "the labels name 6 classes, but the model scores only 5" in one_error_line(finished)
    assert not Path("q.onnx").exists()


def test_a_node_that_the_quantizer_fails_at_is_named_with_the_flag(monkeypatch):
    """One line, and exit code 4."""
    from onnxruntime.quantization.operators.conv import QDQConv

    def fail(self):
        raise KeyError("scale")

    monkeypatch.setattr(QDQConv, "quantize", fail)
    onnx.save(small_cnn(), "m.onnx")
    finished = cli("quantize", "m.onnx", "--data", npz("d.npz"), "-o", "q.onnx")
    assert finished.code == 4
    line = one_error_line(finished)
    assert "cannot handle node 'conv1' (Conv): KeyError: 'scale'; leave it in floating point with" in line
    assert line.endswith(" --exclude-nodes conv1")


def _quantized():
    onnx.save(quantize(small_cnn(), batches(2, 4)).proto, "int8.onnx")
    return "int8.onnx"


def _nothing():
    from onnx_zoo import model_of

    onnx.save(model_of([node("Relu", ["x"], ["y"])]), "relu.onnx")
    return "relu.onnx"


def _file(name, content=b"x"):
    Path(name).write_bytes(content)
    return name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (lambda: ("m.onnx", "--data", npz("d.npz", (3, 9, 9))), 4, "got shape"),
        (lambda: ("m.onnx", "--data", npz("d.npz", (1, 8, 8))), 4, "got shape"),
        (lambda: ("m.onnx", "--data", npz("d.npz", count=0)), 4, "at least one sample"),
        (lambda: ("m.onnx", "--data", npz("d.npz", fill=np.nan)), 4, "NaN"),
        (lambda: (_quantized(), "--data", npz("d.npz")), 4, "quantized already"),
        (lambda: (_nothing(), "--data", npz("d.npz")), 4, "nothing to quantize"),
        (lambda: (_file("text.onnx"), "--data", npz("d.npz")), 4, "not an ONNX file"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--exclude-nodes", "covn*"), 2, "no node matches"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--percentile", "101"), 2, "percentile"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--percentile", "0"), 2, "percentile"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--calibration", "magic"), 2, "expected one of histogram"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--weight-type", "int4"), 2, "expected one of int8"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--quant-format", "x"), 2, "expected one of qdq"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--activation-type", "x"), 2, "expected one of uint8"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--calibration-cache", _file("c.json")), 4, "delete it"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--report", "none/r.json"), 2, "no folder"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--report", "q.onnx"), 2, "written twice"),
        (lambda: ("m.onnx", "--data", npz("d.npz"), "--calibration-cache", "q.onnx"), 2, "written twice"),
        (lambda: ("m.onnx", "--data", "nonsense"), 2, "data"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_no_file(arguments, code, message):
    """With its exit code; an earlier output stays as it was."""
    onnx.save(small_cnn(), "m.onnx")
    Path("q.onnx").write_text("earlier")
    given = arguments()
    before = {path.name for path in Path().iterdir()}
    finished = cli("quantize", *given, "-o", "q.onnx", "--force")
    assert finished.code == code
    assert message in one_error_line(finished)
    assert Path("q.onnx").read_text() == "earlier"
    assert {path.name for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    ("output", "message"), [("none/q.onnx", "no folder"), (".", "folder"), ("m.onnx", "never written to")]
)
def test_an_output_that_cannot_be_written_is_found_out_first(output, message):
    """Before any data is read; the model itself is never written to."""
    onnx.save(small_cnn(), "m.onnx")
    before = Path("m.onnx").read_bytes()
    finished = cli("quantize", "m.onnx", "--data", "npz:none.npz", "-o", output)
    assert finished.code in (2, 4)
    assert message in one_error_line(finished)
    assert Path("m.onnx").read_bytes() == before
    assert [path.name for path in Path().iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("missing", ["--data", "-o"])
def test_data_and_output_are_required(missing):
    """As usage errors."""
    options = {"--data": "digits", "-o": "q.onnx"}
    del options[missing]
    finished = cli("quantize", "digits", *(part for pair in options.items() for part in pair))
    assert finished.code == 2
    assert missing in one_error_line(finished)
