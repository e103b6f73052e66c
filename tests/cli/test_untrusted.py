"""``--untrusted``: a command in a child with little memory and time, whose death is one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import ftonnx

HOME = str(Path(ftonnx.__file__).parents[1])


def run(folder, *arguments, **limits):
    """Run a command with ``--untrusted`` in a folder for temporary files of its own."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    variables = {f"FTONNX_LIMIT_UNTRUSTED_{name.upper()}": str(value) for name, value in limits.items()}
    surroundings = os.environ | {"PYTHONPATH": HOME, "TMPDIR": str(scratch)} | variables
    command = [sys.executable, "-m", "ftonnx", *map(str, arguments), "--untrusted"]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=100)
    assert not list(scratch.iterdir())
    return done


def user_data(folder, line):
    """Return a spec of data whose file runs a line."""
    path = folder / "data.py"
    path.write_text(f"import os, signal, time\n\ndef make():\n    {line}\n")
    return f"{path}:make"


def test_what_a_command_prints_passes_by(tmp_path):
    """The same as without."""
    done = run(tmp_path, "inspect", "digits", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["bits"] == 1790784


def test_exit_codes_and_messages_pass_by(tmp_path):
    """An error is said once."""
    done = run(tmp_path, "inspect", "nothere.onnx")
    assert done.returncode == 4
    assert done.stderr.count("error: ") == 1
    assert run(tmp_path, "inspect", "digits", "--bits", "99").returncode == 2


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_death_is_one_line(tmp_path, name):
    """As of a crash inside a library."""
    data = user_data(tmp_path, f"os.kill(os.getpid(), signal.{name})")
    done = run(tmp_path, "inject", "digits", "--data", data, "--results", tmp_path / "r")
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the command ")
    assert "FTONNX_LIMIT_UNTRUSTED_" in line


@pytest.mark.slow
def test_what_takes_too_long_is_ended(tmp_path):
    """With the processes that it started."""
    marker = tmp_path / "marker"
    data = user_data(tmp_path, f"os.system('sleep 4; touch {marker}')")
    done = run(tmp_path, "inject", "digits", "--data", data, seconds=3)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith(
        "error: it was still at work after 3 seconds: the limit is 3, and FT"
    )
    time.sleep(2)
    assert not marker.exists()


def endless(path):
    """Write a model with a Loop that never ends."""
    flag = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 4])
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["value"], ["next"])]
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    following = helper.make_tensor_value_info("next", TensorProto.FLOAT, [None, 4])
    body = helper.make_graph(nodes, "body", [count, flag, value], [on, following])
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 4]) for name in ("x", "y")]
    stored = [
        numpy_helper.from_array(np.ones((4, 4), np.float32), "w"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    main = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Loop", ["", "yes", "m"], ["y"], body=body),
    ]
    graph = helper.make_graph(main, "g", rows[:1], rows[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


@pytest.mark.slow
def test_a_model_that_never_ends_is_ended(tmp_path):
    """ONNX Runtime itself has no limit."""
    endless(tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", images=np.ones((4, 4), np.float32), labels=np.arange(4))
    data = f"npz:{tmp_path / 'd.npz'}"
    done = run(tmp_path, "inject", tmp_path / "m.onnx", "--data", data, "--results", tmp_path / "r", seconds=4)
    assert done.returncode == 4
    assert "it was still at work after 4 seconds" in done.stderr


def test_little_memory_is_one_line(tmp_path):
    """Whoever notices it."""
    done = run(tmp_path, "inject", "digits", "--data", user_data(tmp_path, "bytes(3 << 30)"), bytes=2 << 30)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupt_reaches_the_command(tmp_path):
    """It ends with it, and says so."""
    data = user_data(tmp_path, "open('started', 'w').close(); time.sleep(60)")
    surroundings = os.environ | {"PYTHONPATH": HOME}
    command = [sys.executable, "-m", "ftonnx", "--untrusted", "inject", "digits", "--data", data]
    child = subprocess.Popen(command, cwd=tmp_path, env=surroundings, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "started").exists():
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 143
    assert "the command was told to end" in said
