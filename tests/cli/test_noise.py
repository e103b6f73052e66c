"""A model with a noise layer: every command that runs it refuses it, alike; what only reads it does not."""

import numpy as np
import onnx
import pytest
from campaign_kit import cli, one_error_line
from onnx import helper
from onnx_zoo import model_of, random_floats

DATA = ("--data", "npz:d.npz")
RUNS = {
    "inject": ("inject", "m.onnx", *DATA, "--faults-per-run", 1, "--results", "r"),
    "inject, dry": ("inject", "m.onnx", *DATA, "--rate", "1e-3", "--dry-run"),
    "inject, rebuild": ("inject", "m.onnx", *DATA, "--rate", "1e-3", "--strategy", "rebuild", "--results", "r"),
    "gate": ("gate", "m.onnx", *DATA, "--min-accuracy", "1e-6:0.1", "--format", "ieee", "--results", "r"),
    "bench": ("bench", "m.onnx", *DATA),
    "protect by actmax": ("protect", "m.onnx", *DATA, "--method", "actmax", "-o", "o.onnx"),
    "protect by clipact": ("protect", "m.onnx", *DATA, "--method", "clipact", "-o", "o.onnx"),
    "activations": ("activations", "m.onnx", *DATA),
    "quantize": ("quantize", "m.onnx", *DATA, "-o", "o.onnx"),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a noisy model and six images."""
    monkeypatch.chdir(tmp_path)
    node = helper.make_node
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("RandomNormalLike", ["f"], ["n"], name="noise", scale=0.3, seed=1.0),
        node("Add", ["f", "n"], ["a"]),
        node("Relu", ["a"], ["r"], name="relu"),
        node("MatMul", ["r", "w"], ["y"], name="fc"),
    ]
    onnx.save(model_of(nodes, [("w", random_floats(192, 5))]), "m.onnx")
    np.savez("d.npz", images=random_floats(6, 3, 8, 8), labels=np.arange(6) % 5)
    return tmp_path


@pytest.mark.parametrize("command", RUNS)
def test_every_command_that_runs_a_noisy_model_refuses_it_by_the_name_of_its_node(place, command):
    """Exit 4, one line, and nothing is written."""
    done = cli(*RUNS[command])
    assert done.code == 4
    assert "the model is not deterministic: node 'noise' (RandomNormalLike) draws" in one_error_line(done)
    assert sorted(path.name for path in place.iterdir()) == ["d.npz", "m.onnx"]


def test_what_is_stored_in_a_noisy_model_can_still_be_listed(place):
    """``ftonnx inspect`` runs nothing."""
    assert cli("inspect", "m.onnx").code == 0
