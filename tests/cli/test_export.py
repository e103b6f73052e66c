"""``ftonnx export`` at the command line: what it prints, what it writes, and what it refuses."""

import json
import os
import subprocess
import sys

import onnx
import pytest

from ftonnx.cli import main
from ftonnx.inject import FaultSpace, load_model

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

NETS = """
from torch import nn

def net(num_classes=3):
    print("hello from the user")
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, num_classes))

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 3))

def raises():
    raise KeyError("nope")
"""


@pytest.fixture
def nets(tmp_path):
    """A file with the user's factories."""
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path / "nets.py"


def _run(capsys, *arguments):
    code = main(list(map(str, arguments)))
    said = capsys.readouterr()
    return code, said.out, said.err


def _metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_digits_composes_with_inject(tmp_path, capsys):
    """The exported file has the embedded model's fault space and, without faults, its accuracy."""
    out = tmp_path / "digits.onnx"
    code, text, _ = _run(capsys, "export", "digits", "-o", out)
    assert code == 0
    first, second, third = text.splitlines()
    assert first.endswith("digits.onnx: digits, 56,250 parameters, 10 classes, relu")
    assert second == f"input input batchx1x8x8, opset 20, {out.stat().st_size:,} bytes"
    assert third.startswith("largest difference from torch: ")
    assert FaultSpace.of(load_model(out)).bits == 1_790_784
    results = tmp_path / "run"
    code, text, _ = _run(
        capsys, "inject", out, "--data", "digits", "--rate", 1e-6, "--repeats", 2, "--results", results
    )
    assert code == 0
    assert "fault-free top-1 98.06 %" in text


@pytest.mark.parametrize("name", ["fp16", "auto"])
def test_a_format_that_no_device_has_is_refused_before_the_work(tmp_path, capsys, name):
    """Nothing is exported for it."""
    code, text, err = _run(capsys, "export", "digits", "-o", tmp_path / "x.onnx", "--format", name)
    assert (code, text) == (2, "")
    assert name in err
    assert not (tmp_path / "x.onnx").exists()


def test_json_is_one_object_on_stdout(tmp_path, capsys, nets):
    """Even where the user's code prints."""
    out = tmp_path / "net.onnx"
    code, text, err = _run(
        capsys, "export", f"{nets}:net", "-o", out, "--input-shape", "3,8,8", "--classes", 6, "--opset", 21,
        "--input-name", "image", "--activation", "relu6", "--format", "ieee", "--json",
    )  # fmt: skip
    assert code == 0
    assert _metadata(out)["ftonnx.format"] == "ieee"
    assert FaultSpace.of(out).formats == ("ieee",)
    facts = json.loads(text)
    assert facts.pop("parity") <= 1e-4
    assert facts == {
        "output": str(out),
        "architecture": "nets.py:net",
        "parameters": 4 * 28 + 6 * 145,
        "classes": 6,
        "input": {"name": "image", "shape": ["batch", 3, 8, 8]},
        "activation": "relu6",
        "opset": 21,
        "batchnorm": "none",
        "bytes": out.stat().st_size,
    }
    assert "hello from the user" in err
    said = _metadata(out)
    assert (said["ftonnx.architecture"], said["ftonnx.classes"]) == ("nets.py:net", "6")
    assert "ftonnx.preprocess" not in said


def test_crelu_leaves_no_relu_and_keeps_metadata_and_fault_space(tmp_path, capsys):
    """Thresholds start at infinity and are no fault targets."""
    plain, clipped = tmp_path / "plain.onnx", tmp_path / "clipped.onnx"
    for path, activation in ((plain, "relu"), (clipped, "crelu")):
        code, _, err = _run(capsys, "export", "resnet20-cifar", "-o", path, "--activation", activation)
        assert code == 0
        assert "no --weights: they are random" in err
    kinds = [node.op_type for node in onnx.load(clipped).graph.node]
    assert (kinds.count("Relu"), kinds.count("CReLU")) == (0, 19)
    assert _metadata(clipped) == _metadata(plain)
    assert FaultSpace.of(load_model(clipped)).bits == FaultSpace.of(load_model(plain)).bits


def test_preprocessing_follows_another_input_size(tmp_path, capsys):
    """Half the crop, half the size before it."""
    out = tmp_path / "small.onnx"
    pytest.importorskip("torchvision")
    code, _, err = _run(capsys, "export", "squeezenet1_1", "-o", out, "--input-shape", "3,112,112", "--classes", 3)
    assert (code, err) == (0, f"next: ftonnx inject {out} --data SPEC --results run\n")
    said = json.loads(_metadata(out)["ftonnx.preprocess"])
    assert said == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "resize": 128, "crop": 112}


def test_weights_from_several_files_are_loaded(tmp_path, capsys, nets):
    """And wrong ones are refused with the class count that would fit."""
    from ftonnx.models import build

    state = build(f"{nets}:net", classes=5, seed=4).state_dict()
    torch.save({key: value for key, value in state.items() if key.startswith("0.")}, tmp_path / "a.pth")
    torch.save({f"module.{key}": value for key, value in state.items() if key.startswith("3.")}, tmp_path / "b.pth")
    files = ["--weights", tmp_path / "a.pth", "--weights", tmp_path / "b.pth"]
    out = tmp_path / "net.onnx"
    common = ["export", f"{nets}:net", "-o", out, "--input-shape", "3,8,8", *files]
    code, _, err = _run(capsys, *common)
    assert code == 4
    assert "with 3 classes, got 5" in err
    assert "--classes 5" in err
    assert not out.exists()
    assert _run(capsys, *common, "--classes", 5)[0] == 0
    code, _, err = _run(capsys, "export", f"{nets}:net", "-o", tmp_path / "a.pth", *files)
    assert (code, "the checkpoint itself" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["resnet51"], 4, "did you mean resnet50"),
        (["NETS:raises", "--input-shape", "3,8,8"], 4, "nets.py:raises: .*KeyError"),
        (["NETS:absent", "--input-shape", "3,8,8"], 2, "no function|expected a function absent"),
        (["NETS:net"], 2, "--input-shape"),
        (["NETS:net", "--input-shape", "3,9,9"], 4, "fails on input"),
        (["NETS:fixed", "--input-shape", "3,8,8", "--classes", "4"], 4, "--classes 4 was asked for.* has 3"),
        (["digits", "--weights", "missing.pth"], 4, "missing.pth"),
        (["digits", "--weights", "evil.pth"], 4, "pickle with code"),
        (["digits", "--input-shape", "8,8"], 2, "--input-shape: expected"),
        (["digits", "--input-shape", "a,b,c"], 2, "--input-shape: expected"),
        (["digits", "--activation", "gelu"], 2, "--activation: expected one of relu, relu6, crelu"),
        (["digits", "--opset", "7"], 2, "opset: expected 18 to"),
        (["digits", "--classes", "0"], 2, "classes: expected 1"),
    ],
)
def test_what_is_refused_gets_one_line_a_code_and_no_file(
    tmp_path, monkeypatch, capsys, nets, arguments, code, message
):
    """Every row of the contract that concerns export."""
    monkeypatch.chdir(tmp_path)
    torch.save({"model": torch.nn.ReLU()}, tmp_path / "evil.pth")
    before = sorted(path.name for path in tmp_path.iterdir())
    got, out, err = _run(capsys, "export", *(each.replace("NETS", str(nets)) for each in arguments), "-o", "out.onnx")
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (got, out, len(lines)) == (code, "", 1)
    import re

    assert re.search(message, lines[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_output_folder_that_does_not_exist_is_noticed_first(tmp_path, capsys):
    """Before minutes of work."""
    code, _, err = _run(capsys, "export", "resnet51", "-o", tmp_path / "none" / "x.onnx")
    assert code == 2
    assert "there is no folder" in err


@pytest.mark.parametrize("missing", ["torch", "onnxscript"])
def test_a_missing_library_is_one_line_that_says_how_to_install_it(tmp_path, missing):
    """Exit code 2, no file; everything that needs no torch still works."""
    code = f"import sys; sys.modules[{missing!r}] = None; from ftonnx.cli import main; sys.exit(main(sys.argv[1:]))"
    run = [sys.executable, "-c", code]
    done = subprocess.run(
        [*run, "export", "digits", "-o", tmp_path / "x.onnx"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {missing} is needed")
    assert line.endswith("pip install 'ftonnx[torch]'")
    assert os.listdir(tmp_path) == []
    assert subprocess.run([*run, "inspect", "digits"], capture_output=True, check=False).returncode == 0
