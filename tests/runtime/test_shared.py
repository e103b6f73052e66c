"""Sessions on shared weights: the same bits as the session that shared them, without its work."""

import json
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx_zoo import bits_of, random_floats, small_cnn, with_four_bit_weights, with_half_weights
from runtime_kit import branch_net, norm_net, quantized_net
from weights_kit import MODELS

from ftonnx.errors import StoreError
from ftonnx.inject import BitFlipRates, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultySession

X = random_floats(4, 3, 8, 8, seed=9)
CHILD = """
import pickle, sys
from pathlib import Path
from ftonnx.runtime import FaultySession
model, space, faults, images, folder = pickle.loads(Path(sys.argv[1]).read_bytes())
session = FaultySession.from_shared(folder, model, space, threads=1)
outputs = session.run(images, faults)[0], session.golden(images)[0]
Path(sys.argv[1]).write_bytes(pickle.dumps(outputs))
"""


@pytest.fixture
def nets(tmp_path):
    """Models by name, as files."""
    made = {
        "float": small_cnn(),
        "half": with_half_weights(small_cnn()),
        "four bits": with_four_bit_weights(small_cnn()),
        "norms": norm_net(),
        "branch": branch_net(),
        "int8": quantized_net(tmp_path, "QDQ"),
    }
    for name, model in made.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
    return {name: tmp_path / f"{name}.onnx" for name in made}


def pattern(space):
    """Return some faults."""
    return BitFlipRates(1e-3).draw(space, unit_rng(1, 1e-3, 0, 0))


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("float", "live"),
        ("float", "rebuild"),
        ("half", "live"),
        ("four bits", "live"),
        ("branch", "live"),
        ("norms", "live"),
        ("int8", "live"),
        ("int8", "rebuild"),
    ],
)
def test_a_session_on_shared_weights_gives_the_same_bits(nets, tmp_path, monkeypatch, name, strategy):
    """Golden, faulty, and golden again; without optimizing and without a proof."""
    model = load_model(nets[name])
    space = FaultSpace.of(model)
    session = FaultySession(model, space, threads=1, strategy=strategy, sample=X)
    session.share(tmp_path / "shared")
    for forbidden in ("proof.faulty_session_model", "session.LayoutCache"):
        monkeypatch.setattr(f"ftonnx.runtime.{forbidden}", None)
    model.release()
    nets[name].unlink()  # everything that is needed lies in the shared folder
    other = FaultySession.from_shared(tmp_path / "shared", model, space, threads=1)
    assert (other.strategy, other.inputs, other.batch_size) == (session.strategy, session.inputs, session.batch_size)
    golden = bits_of(session.golden(X))
    assert bits_of(other.golden(X)) == golden
    assert bits_of(other.run(X, pattern(space))) == bits_of(session.run(X, pattern(space))) != golden
    assert bits_of(other.golden(X)) == golden


def test_flips_of_one_session_are_not_seen_by_the_other(nets, tmp_path):
    """Nor do they reach the file."""
    model = load_model(nets["float"])
    space = FaultSpace.of(model)
    session = FaultySession(model, space, threads=1, sample=X)
    session.share(tmp_path)
    before = (tmp_path / "weights").read_bytes()
    one, two = (FaultySession.from_shared(tmp_path, model, space, threads=1) for _ in range(2))
    golden = bits_of(one.golden(X))
    with one._strategy.memory.flipped(pattern(space)):
        assert bits_of(one.golden(X)) != golden
        assert bits_of(two.golden(X)) == golden
        assert bits_of(session.golden(X)) == golden
    assert (tmp_path / "weights").read_bytes() == before


def test_shared_arrays_are_aligned_and_mapped(nets, tmp_path):
    """At multiples of 64 bytes, which is worth up to 6 % of the time."""
    model = load_model(nets["norms"])
    FaultySession(model, threads=1, sample=X).share(tmp_path)
    weights = FaultySession.from_shared(tmp_path, model, threads=1)._strategy.memory.weights
    for words in (*weights.arrays.values(), *weights.parameters.values()):
        assert words.ctypes.data % 64 == 0
        assert isinstance(words.base, np.memmap)


def test_another_process_opens_what_was_shared(nets, tmp_path):
    """With a pickled model that carries no weights."""
    model = load_model(nets["float"])
    space = FaultSpace.of(model)
    session = FaultySession(model, space, threads=1, sample=X)
    session.share(tmp_path / "shared")
    task = tmp_path / "task"
    task.write_bytes(pickle.dumps((model, space, pattern(space), X, tmp_path / "shared")))
    subprocess.run([sys.executable, "-c", CHILD, str(task)], check=True)
    faulty, golden = pickle.loads(task.read_bytes())
    assert bits_of([faulty]) == bits_of(session.run(X, pattern(space)))
    assert bits_of([golden]) == bits_of(session.golden(X))


def test_a_model_that_must_be_opened_from_its_file_is_not_shared_but_runs(nets, tmp_path):
    """Its strategy is taken over; every process reads the file."""
    hidden = MODELS["weight norm"]()
    onnx.save(hidden.model, tmp_path / "computed.onnx")
    model = load_model(tmp_path / "computed.onnx")
    space = FaultSpace.of(model)
    images = hidden.feeds["x"]
    session = FaultySession(model, space, threads=1, sample=images)
    session.share(tmp_path / "shared")
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["index.json"]
    other = FaultySession.from_shared(tmp_path / "shared", model, space, threads=1)
    assert other.fallback == session.fallback is not None
    assert bits_of(other.run(images, pattern(space))) == bits_of(session.run(images, pattern(space)))


def test_weights_of_another_model_or_space_are_refused(nets, tmp_path):
    """The message says what differs."""
    model = load_model(nets["float"])
    FaultySession(model, threads=1, sample=X).share(tmp_path / "shared")
    with pytest.raises(StoreError, match="of another model and space"):
        FaultySession.from_shared(tmp_path / "shared", nets["norms"], threads=1)
    with pytest.raises(StoreError, match="of another space"):
        FaultySession.from_shared(tmp_path / "shared", model, FaultSpace.of(model, format="ieee"), threads=1)


def test_a_damaged_or_missing_folder_is_refused_in_one_line(nets, tmp_path):
    """Whatever is wrong with it."""
    shared = tmp_path / "shared"
    with pytest.raises(StoreError, match="shared weights were expected"):
        FaultySession.from_shared(shared, nets["float"], threads=1)
    FaultySession(nets["float"], threads=1, sample=X).share(shared)
    kept = {path: path.read_bytes() for path in shared.iterdir()}
    for path, content in kept.items():
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(StoreError, match="shared weights"):
            FaultySession.from_shared(shared, nets["float"], threads=1)
        path.write_bytes(content)
    index = json.loads((shared / "index.json").read_text())
    (shared / "index.json").write_text(json.dumps(index | {"groups": [{}]}))
    with pytest.raises(StoreError, match="shared weights are damaged"):
        FaultySession.from_shared(shared, nets["float"], threads=1)


def test_a_folder_that_cannot_be_written_is_a_store_error(nets, tmp_path):
    """The path is named."""
    (tmp_path / "file").write_text("in the way")
    session = FaultySession(nets["float"], threads=1, sample=X)
    with pytest.raises(StoreError, match=r"file.*the weights cannot be shared"):
        session.share(tmp_path / "file")
