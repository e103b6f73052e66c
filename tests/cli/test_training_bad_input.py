"""What cannot be trained, or not on these images: one line, exit code 4, and no output."""

import numpy as np
import onnx
import pytest
from campaign_kit import cli, one_error_line
from onnx_zoo import model_of, random_floats
from published_kit import write_lists, write_scenes
from training_kit import write_factory, write_squares

torch = pytest.importorskip("torch")

QUICK = ("--epochs", 2, "--batch-size", 16, "--device", "cpu", "--threads", 1)
COMMANDS = {
    "finetune": ("finetune", "nets.py:small", "-o", "out.pth"),
    "one step": ("finetune", "nets.py:small", "--qat", "-o", "out.onnx"),
    "qat": ("qat", "m.onnx", "-o", "out.onnx"),
}
EUROSAT = "expected folders named like the classes of EuroSAT (AnnualCrop, Forest, HerbaceousVegetation and 7 more)"
IMAGES = {
    "npz:one": "one: images of two classes or more were expected, got one",
    "npz:numbers": "numbers: one class number per image or maps of class numbers (batch, height, width) were expected",
    "npz:maps": "scores (batch, classes, height, width) were expected from the network, got (",
    "npz:flat": "flat: images (channels, height, width) were expected, got (5,)",
    "eurosat:other": f"other: {EUROSAT}, got none with images in it; did you mean folder:other?",
    "imagenet:other": "other: expected one folder per class (n01440764), or images beside val_map.txt or the devkit",
    "eurosat:scenes --splits lists": "expected the 5 images that it lists, got no Forest/no.png; complete the data",
    "csv:list.csv": "list.csv: expected the 2 files that it lists in ., got no scenes/no.png",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in a folder with networks, a model and images of many kinds."""
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path)
    write_factory(tmp_path)
    write_images(tmp_path)
    onnx.save(model(), "m.onnx")
    return tmp_path


def write_images(folder):
    """Write what is not as it should be."""
    pixels = np.zeros((9, 3, 8, 8), np.uint8)
    labels = np.arange(9) % 3
    kinds = {
        "one": {"images": pixels, "labels": 0 * labels, "classes": 3},
        "numbers": {"images": pixels, "labels": labels / 2},
        "maps": {"images": pixels, "labels": np.arange(9 * 64).reshape(9, 8, 8) % 3},
        "flat": {"images": np.zeros((9, 5), np.float32), "labels": labels},
    }
    for name, arrays in kinds.items():
        (folder / name).mkdir()
        for split in ("train", "val"):
            np.savez(folder / name / f"{split}.npz", **arrays)
    (folder / "other" / "sub").mkdir(parents=True)
    (folder / "other" / "sub" / "notes.txt").write_text("no image")
    written = write_scenes(folder / "scenes", "eurosat")
    splits = {"train": [0, 1, 2, 3, 12], "val": [4, 5, 6], "test": [7, 8]}
    write_lists(folder / "lists", "eurosat", [*written, ("Forest", "no.png")], **splits)
    first = "/".join(("scenes", *written[0]))
    lines = ("path,label,split", f"{first},0,train", "scenes/no.png,1,train", f"{first},1,val")
    (folder / "list.csv").write_text("\n".join(lines))


def model(operator="Relu"):
    """Flatten, an operator, MatMul."""
    node = onnx.helper.make_node
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node(operator, ["f"], ["r"], name="middle"),
        node("MatMul", ["r", "w"], ["y"]),
    ]
    return model_of(nodes, [("w", random_floats(192, 3))])


def refused(here, *arguments):
    """Return the one line that a command says; nothing is written."""
    ended = cli(*arguments)
    assert ended.code == 4
    assert not list(here.glob("out*"))
    return one_error_line(ended)


@pytest.mark.parametrize(
    ("command", "spec"),
    [*(("finetune", spec) for spec in IMAGES), ("one step", "npz:one"), ("qat", "npz:one"), ("qat", "npz:numbers")],
)
def test_images_that_cannot_be_trained_on_are_refused(here, command, spec):
    """With what was found in place of what was expected."""
    assert IMAGES[spec] in refused(here, *COMMANDS[command], "--data", *spec.split(), *QUICK)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("command", ["finetune", "qat"])
def test_a_device_that_is_not_there_is_refused(here, command):
    """With the flag that helps."""
    said = refused(here, *COMMANDS[command], "--data", f"npz:{here}", "--device", "cuda")
    assert "a CUDA device was expected, got none; use --device cpu, or leave it out" in said


def test_an_operator_that_is_not_trained_is_named_with_its_node(here):
    """And with those that are."""
    onnx.save(model("Erf"), "m.onnx")
    said = refused(here, *COMMANDS["qat"], "--data", f"npz:{here}", *QUICK)
    assert "node 'middle' (Erf): Add, AveragePool, " in said
    assert "are trained, this operator is not; quantize without training" in said


def test_a_loss_that_is_not_finite_ends_a_training(here):
    """The last good epoch is kept, and named."""
    ended = cli("finetune", "nets.py:breaking", "-o", "out.pth", "--data", f"npz:{here}", *QUICK)
    assert ended.code == 4
    said = one_error_line(ended)
    assert "epoch 2: a finite loss was expected, got nan; lower --learning-rate" in said
    assert said.endswith("the best before, 1, is in out.pth")
    assert sorted(path.name for path in here.glob("out*")) == ["out.jsonl", "out.pth", "out.pth.training"]
