"""The files in examples/ do what they say."""

import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from ftonnx.gates import Goal

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
GOALS = 'budget = "2000units"\n\n[[goals]]\nmin_accuracy = 0.70\nrate = 1e-9\n'


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


@pytest.mark.slow
def test_the_pipeline_ends_with_the_verdict_of_the_gate(tmp_path):
    """From torch to PASS on the embedded digits, with everything it promises in its folder; here at one rate."""
    pytest.importorskip("torch")
    done = run("bash", str(EXAMPLES / "pipeline.sh"), "out", folder=tmp_path, RATES="1e-5")
    assert done.returncode == 0, done.stderr
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
