"""``ftonnx finetune``: from a data set to a checkpoint that ``export`` takes."""

import json

import numpy as np
import onnx
import pytest
from campaign_kit import cli, cli_json
from training_kit import write_factory, write_maps, write_squares

pytest.importorskip("torch")

QUICK = ("--epochs", 4, "--batch-size", 16, "--learning-rate", 0.02, "--no-flips", "--device", "cpu", "--threads", 1)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Let every test work in its own folder, with a data set and a factory."""
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path)
    write_factory(tmp_path)
    return tmp_path


def refused(code, *arguments):
    """Return what a command says that ends with an exit code."""
    ended = cli(*arguments)
    assert ended.code == code, ended.err
    return ended.err


def test_a_network_is_trained_exported_and_evaluated(here):
    """What the checkpoint says of classes, shape, preprocessing needs no option again."""
    run = ("finetune", "nets.py:small", "--data", f"npz:{here}", "-o", "out.pth", *QUICK)
    found = cli_json(*run, "--chart", "out.png")
    assert (found["classes"], found["data"]["split"], found["validation"]["split"]) == (3, "train", "val")
    best = found["epochs"][found["best_epoch"] - 1]
    assert best["val_accuracy"] > 0.9
    assert (here / "out.png").read_bytes().startswith(b"\x89PNG")
    exported = cli_json("export", "nets.py:small", "--weights", "out.pth", "-o", "m.onnx")
    assert (exported["classes"], exported["input"]["shape"]) == (3, ["batch", 3, 8, 8])
    campaign = ("inject", "m.onnx", "--data", f"npz:{here}", "--rate", 0, "--repeats", 1)
    val = cli_json(*campaign, "--split", "val")
    assert val["golden"]["top1"] == pytest.approx(best["val_accuracy"])


def test_label_maps_are_learnt_exported_and_evaluated(here):
    """A U-Net; class-mean accuracies of training are those of a campaign without faults on the int8 file."""
    (here / "maps").mkdir()
    maps = write_maps(here / "maps")
    run = ("finetune", "nets.py:unet", "--data", maps, "-o", "out.onnx", *QUICK, "--epochs", 25, "--qat")
    int8 = ("--qat-epochs", 2, "--qat-learning-rate", 0.001, "--calibration-images", 24, "--frozen-epochs", 1)
    found = cli_json(*run, *int8)
    best = found["epochs"][found["best_epoch"] - 1]
    campaign = ("--data", maps, "--split", "val", "--rate", 0, "--repeats", 1)
    accuracies = found["qat"]["accuracy"]
    assert accuracies["float"] == pytest.approx(best["val_accuracy"], abs=1e-3)
    val = cli_json("inject", "out.onnx", *campaign)
    assert val["task"]["name"] == "segmentation"
    assert val["golden"]["class_accuracy"] == pytest.approx(accuracies["int8"])
    assert accuracies["int8"] > 0.8
    operators = {node.op_type for node in onnx.load("out.onnx").graph.node}
    assert {"ConvTranspose", "Concat", "MaxPool"} <= operators


def test_one_step_ends_in_an_int8_model(here):
    """What the file does is what is printed; repeated, it takes the checkpoint that is there."""
    run = ("finetune", "nets.py:small", "--data", f"npz:{here}", "--qat", "-o", "q.onnx", *QUICK)
    int8 = ("--qat-epochs", 2, "--qat-learning-rate", 0.001, "--calibration-images", 32, "--frozen-epochs", 1)
    found = cli_json(*run, *int8, "--chart", "q.svg")
    assert found["checkpoint"] == {"output": "q.float.pth", "log": "q.float.jsonl", "was_there": False}
    assert (len(found["epochs"]), len(found["qat"]["epochs"])) == (4, 2)
    assert "quantization-aware training" in (here / "q.svg").read_text()
    val = cli_json("inject", "q.onnx", "--data", f"npz:{here}", "--split", "val", "--rate", 0, "--repeats", 1)
    assert val["golden"]["top1"] == pytest.approx(found["qat"]["accuracy"]["int8"])
    again = cli(*run, *int8, "--qat-epochs", 0, "--force")
    assert "checkpoint: q.float.pth, which was there; log: q.float.jsonl" in again.err
    assert "no epoch was better than quantizing without training" in again.err
    assert "in floating point" in again.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "q.onnx"), "a checkpoint such as OUT.pth was expected, got q.onnx; --qat writes a model"),
        (("-o", "q.pth", "--qat"), "an int8 model, OUT.onnx, was expected with --qat, got q.pth"),
        (("-o", "q.pth", "--qat-epochs", 3), "--qat-epochs is about the training of the int8 file: add --qat"),
        (("-o", "q.pth", "--per-tensor"), "--per-tensor is about the training of the int8 file: add --qat"),
        (("-o", "q.onnx", "--qat", "--qat-epochs", -1), "--qat: epochs must be 0 or more, got -1"),
        (("-o", "q.onnx", "--qat", "--qat-learning-rate", 0), "--qat: learning_rate must be above 0"),
    ],
)
def test_options_of_one_training_are_not_taken_for_the_other(here, options, message):
    """Before the work, by their names."""
    assert message in refused(2, "finetune", "nets.py:small", "--data", f"npz:{here}", *options)
    assert not list(here.glob("q*"))


def test_the_table_marks_the_best_epoch(here):
    """And stderr names the files."""
    ran = cli("finetune", "nets.py:small", "--data", f"npz:{here}", "-o", "out.pth", *QUICK)
    assert "best on the validation images: epoch" in ran.out
    assert " * " in ran.out
    assert "checkpoint: out.pth; log: out.jsonl" in ran.err


def test_images_can_be_held_out(here):
    """Where there is no split for it: some of every class."""
    run = ("finetune", "nets.py:small", "--data", "npz:train.npz", "-o", "out.pth", *QUICK)
    usual = cli(*run, "--json")
    assert "train has no splits: 10 % of its images, of every class, are kept to say which epoch is best" in usual.err
    assert json.loads(usual.out)["validation"]["samples"] == 5
    found = cli_json(*run, "--hold-out", 0.25, "--force")
    assert (found["data"]["samples"], found["validation"]["samples"]) == (36, 12)


def test_an_input_size_is_resize_and_crop(here):
    """Nothing is cut; both at once are refused."""
    run = ("finetune", "nets.py:small", "--data", f"npz:{here}", "-o", "out.pth", "--epochs", 0, "--input-size", 8)
    cli(*run)
    exported = cli_json("export", "nets.py:small", "--weights", "out.pth", "-o", "m.onnx")
    assert exported["input"]["shape"] == ["batch", 3, 8, 8]
    assert "--input-size says both --resize and --crop" in refused(2, *run, "--crop", 4, "--force")


def test_a_chart_needs_a_format(here):
    """Before the work."""
    run = ("finetune", "nets.py:small", "--data", f"npz:{here}", "-o", "out.pth", "--chart", "out.gif")
    assert "a name that ends in .png, .svg, .pdf was expected" in refused(2, *run)
    assert not (here / "out.pth").exists()


def test_metadata_of_another_form_is_refused(here):
    """A checkpoint may be anybody's."""
    import torch

    content = {"state_dict": {"fc.weight": torch.zeros(3)}, "metadata": {"ftonnx.classes": "many"}}
    torch.save(content, "x.pth")
    said = refused(4, "export", "nets.py:small", "--weights", "x.pth", "--input-shape", "3,8,8", "-o", "m.onnx")
    assert "metadata of ftonnx was expected" in said


def test_the_log_is_lines_of_json(here):
    """One per epoch, with finite numbers."""
    cli("finetune", "nets.py:small", "--data", f"npz:{here}", "-o", "out.pth", *QUICK)
    lines = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert np.isfinite([line["val_loss"] for line in lines]).all()
