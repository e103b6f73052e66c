"""The files in examples/ do what they say."""

import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from ftonnx.gates import Goal

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
GOALS = 'format = "q15.16"\nbudget = "2000units"\n\n[[goals]]\nmin_accuracy = 0.70\nrate = 1e-9\n'


def run(*arguments, folder, **environment):
    """Run a program in a folder."""
    return subprocess.run(
        arguments, cwd=folder, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=250
    )


def test_embedding_takes_thirty_lines_and_runs(tmp_path):
    """It prints the fault-free accuracy, the curve, and the flips of one run."""
    program = EXAMPLES / "embed.py"
    assert len(program.read_text().splitlines()) <= 30
    done = run(sys.executable, "-W", "error", str(program), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"fault-free: 9\d\.\d%", lines[0])
    means = [float(re.match(r"[\de.-]+: ([\d.]+)%", line)[1]) for line in lines[1:4]]
    assert means == sorted(means, reverse=True)
    assert all(re.fullmatch(r"\S+\[\d+\] bit \d+: \S+ became \S+", line) for line in lines[4:])
    assert len(lines) > 4


def folders_of_digits(root, *, splits):
    """Write the embedded digits as pictures in folders of classes, below folders of splits or not."""
    with np.load(EXAMPLES.parent / "datasets" / "digits.npz") as archive:
        images, labels, which = archive["images"], archive["labels"], archive["split"]
    for number, name in enumerate(("train", "val", "test")):
        for index in np.flatnonzero(which == number)[:120]:
            folder = root / name / str(labels[index]) if splits else root / str(labels[index])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((images[index, 0] * 15).astype(np.uint8)).save(folder / f"{name}{index}.png")
    (root / "preprocess.toml").write_text(f'channels = "gray"\nscale = {1 / 240}\n')
    return f"folder:{root}"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["splits", "no splits"])
def test_the_pipeline_ends_with_the_verdict_of_the_gate(tmp_path, layout):
    """From torch to PASS on the digits, with everything it promises in its folder; here at one rate."""
    pytest.importorskip("torch")
    data = folders_of_digits(tmp_path / "images", splits=layout == "splits")
    done = run("bash", str(EXAMPLES / "pipeline.sh"), "out", folder=tmp_path, RATES="1e-5", DATA=data)
    assert done.returncode == 0, done.stderr
    chosen_by_all = "images has no splits: all of its images are taken to choose by"
    assert done.stderr.count(chosen_by_all) == (2 if layout == "no splits" else 0)
    same_images = "were chosen by these very images"
    assert done.stderr.count(same_images) == (3 if layout == "no splits" else 0)
    out = tmp_path / "out"
    assert {"plain.onnx", "clipped.onnx", "int8.onnx", "plain", "clipped", "int8"} <= {
        path.name for path in out.iterdir()
    }
    assert "PASS" in (out / "gate.md").read_text()
    assert {case.tag for case in ElementTree.parse(out / "gate.xml").iter("testcase")} == {"testcase"}
    assert (out / "report.html").read_text().lower().startswith("<!doctype html>")


def test_the_workflows_goals_are_a_gates_file(tmp_path):
    """The TOML in its comment is what people copy."""
    comment = re.findall(r"^# {5}(.*)$|^#$", (EXAMPLES / "gate.yml").read_text(), re.MULTILINE)
    (tmp_path / "gate.toml").write_text("\n".join(comment))
    goals = tomllib.loads((tmp_path / "gate.toml").read_text())["goals"]
    assert [Goal.of(goal).name for goal in goals] == ["top-1 accuracy at least 90 % at 1e-07"]


@pytest.mark.parametrize(("accuracy", "code"), [("0.70", 0), ("0.999", 1)])
def test_the_workflows_command_is_the_gate(tmp_path, accuracy, code):
    """Run by the shell, with the embedded model in place of the repository's."""
    yaml = pytest.importorskip("yaml")
    steps = yaml.safe_load((EXAMPLES / "gate.yml").read_text())["jobs"]["gate"]["steps"]
    (command,) = (step["run"] for step in steps if step.get("name") == "Gate")
    (tmp_path / "gate.toml").write_text(GOALS.replace("0.70", accuracy))
    done = run("bash", "-c", command, folder=tmp_path, MODEL="digits", DATA="digits", CONFIG="gate.toml")
    assert done.returncode == code, done.stderr
    uploaded = next(step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", ""))
    assert all((tmp_path / name).exists() for name in uploaded.split())


@pytest.mark.slow
def test_detection_is_a_task_of_ones_own(tmp_path):
    """Named by its file on the command line; its counts are those of a loop over boxes."""
    detector(tmp_path / "detector.onnx")
    boxes = np.array([[[0, 0, 4, 4], [6, 6, 9, 9]], [[0, 0, 4, 4], [0, 0, 0, 0]], [[5, 5, 9, 9], [0, 0, 0, 0]]], float)
    np.savez(tmp_path / "boxes.npz", images=np.eye(3, dtype=np.float32), labels=boxes)
    task = f"{EXAMPLES / 'detection.py'}:Detection:score=0.3"
    arguments = ("inject", "detector.onnx", "--data", "npz:boxes.npz", "--task", task, "--repeats", "4")
    done = run("ftonnx", *arguments, "--rate", "1e-2", "--results", "r", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    # the third object is two pixels off
    assert "fault-free recall 75.00 %" in done.stdout
    for command in (("report", "r", "-o", "r.html"), ("faults", "r", "--repeat", "0")):
        unknown = run("ftonnx", *command, folder=tmp_path)
        assert unknown.returncode == 4
        assert "task 'detection' is not known" in unknown.stderr
        known = run("ftonnx", *command, "--task", task, folder=tmp_path)
        assert known.returncode == 0, known.stderr


def test_the_page_on_tasks_shows_the_example_as_it_is():
    """Nobody has to copy it by hand."""
    page = (EXAMPLES.parent / "docs" / "tasks.md").read_text()
    assert f"```python\n{(EXAMPLES / 'detection.py').read_text()}```" in page


def detector(path):
    """Write a network that gives every one-hot image its own boxes and scores."""
    found = np.float32([[[0, 0, 4, 4], [6, 6, 9, 9]], [[0, 0, 4, 4], [1, 1, 2, 2]], [[7, 7, 11, 11], [0, 0, 0, 0]]])
    scores = np.float32([[0.9, 0.8], [0.9, 0.1], [0.9, 0.1]])
    nodes = [
        helper.make_node("MatMul", ["images", "w"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["boxes"]),
        helper.make_node("MatMul", ["images", "s"], ["scores"]),
    ]
    stored = {"w": found.reshape(3, 8), "shape": np.array([-1, 2, 4]), "s": scores}
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (None, 3))],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (None, 2, 4)),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, (None, 2)),
        ],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
