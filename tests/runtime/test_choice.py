"""Of the strategies in question none is opened, proved or run more often than the choice needs."""

import itertools

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import model_of, random_floats, small_cnn
from packed_kit import int8_cnn, require_packing
from runtime_kit import norm_net

from ftonnx.inject import Faults
from ftonnx.runtime import FaultySession
from ftonnx.runtime import choice as choice_module
from ftonnx.runtime import proof as proof_module
from ftonnx.runtime.session_model import session_model
from ftonnx.runtime.strategies.live import Live
from ftonnx.sessions import SessionOptions, optimize_model

X = random_floats(3, 3, 8, 8, seed=9, scale=1)


def test_where_packed_weights_can_be_flipped_the_unpacked_ones_are_not_tried(monkeypatch):
    """And the fresh session of the proof is opened once for both strategies that are compared with it."""
    require_packing(int8_cnn())
    opened = []
    real = proof_module.open_session
    monkeypatch.setattr(Live, "__init__", lambda *arguments: pytest.fail("live was opened"))
    monkeypatch.setattr(proof_module, "open_session", lambda *arguments: (opened.append(1), real(*arguments))[1])
    session = FaultySession(int8_cnn(), sample=X, threads=1)
    assert session.strategy in ("packed", "rebuild")
    assert len(opened) == 1


def test_asked_for_by_name_the_unpacked_weights_are_used():
    """What is not tried by itself is still there."""
    assert FaultySession(int8_cnn(), sample=X, threads=1, strategy="live").strategy == "live"


class Pretender:
    """A strategy whose runs take as long as it is told, on a clock of the test's."""

    def __init__(self, clock, *seconds):
        self.runs = 0
        self._clock = clock
        self._seconds = itertools.cycle(seconds)

    def run(self, feeds, faults):
        """Let time pass."""
        self.runs += 1
        self._clock[0] += next(self._seconds)

    def rest(self):
        """Hold nothing."""


@pytest.mark.parametrize(
    ("times", "fastest", "runs"),
    [
        ([(1.0,), (1.5,)], 0, [1, 1]),
        ([(1.5,), (1.0,)], 1, [1, 1]),
        ([(1.0, 0.8), (1.1, 0.9)], 0, [2, 2]),
        ([(1.0, 0.9), (1.1, 0.8), (1.9, 0.1)], 1, [2, 2, 1]),
        # so little is soon run again, and soon disturbed
        ([(0.01, 0.01), (0.04, 0.005)], 1, [2, 2]),
    ],
)
def test_a_strategy_that_is_far_behind_is_not_run_again(monkeypatch, times, fastest, runs):
    """The smallest time of those that are near the fastest decides."""
    clock = [0.0]
    monkeypatch.setattr(choice_module.time, "perf_counter", lambda: clock[0])
    pretenders = [Pretender(clock, *seconds) for seconds in times]
    assert choice_module._fastest(pretenders, {}, Faults.none()) is pretenders[fastest]
    assert [each.runs for each in pretenders] == runs


@pytest.mark.parametrize("make", [small_cnn, int8_cnn])
def test_the_optimizer_makes_the_same_of_tensors_apart(monkeypatch, tmp_path, make):
    """Compared with what ONNX Runtime writes for the file in one piece."""
    monkeypatch.setattr("ftonnx.runtime.session_model._LARGE", 64)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "whole.onnx")
    ort.InferenceSession(make().SerializeToString(), options, providers=["CPUExecutionProvider"])
    apart = session_model(make())
    assert apart.apart
    assert len(apart.content) < len(make().SerializeToString())
    optimized = optimize_model(apart, SessionOptions())
    expected = onnx.load(tmp_path / "whole.onnx")
    assert [each.op_type for each in optimized.graph.node] == [each.op_type for each in expected.graph.node]
    for found, stored in zip(optimized.graph.initializer, expected.graph.initializer, strict=True):
        assert found.name == stored.name
        assert np.array_equal(numpy_helper.to_array(found), numpy_helper.to_array(stored))


def test_normalizations_are_rewritten_around_weights_that_lie_apart(monkeypatch):
    """The proof's fresh session is one on the rewritten graph, whose convolutions only have a name there."""
    monkeypatch.setattr("ftonnx.runtime.session_model._LARGE", 64)
    session = FaultySession(norm_net(), sample=X, threads=1)
    assert (session.strategy, session.fallback) == ("live", None)


def test_a_stored_operand_may_lie_apart(monkeypatch):
    """Whether it is a weight or a mask is told by its values, which only the whole model has."""
    monkeypatch.setattr("ftonnx.runtime.session_model._LARGE", 64)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Add", ["t", "places"], ["y"])]
    stored = [("w", random_floats(8, 8)), ("places", random_floats(4, 8, seed=2))]
    model = model_of(nodes, stored, inputs={"x": (None, 4, 8)}, outputs={"y": (None, 4, 8)})
    session = FaultySession(model, sample=random_floats(3, 4, 8), threads=1)
    assert (session.strategy, session.fallback) == ("live", None)
