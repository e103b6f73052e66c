"""What is in memory while a model is opened: sessions are counted, not bytes, which depend on the machine."""

import weakref

import onnx
import onnxruntime as ort
import pytest
from onnx_zoo import bits_of, naively_flipped, ort_run, random_floats, small_cnn
from packed_kit import int8_cnn, require_packing
from runtime_kit import branched_cnn, function_cnn, norm_net

from ftonnx.inject import Faults, FaultSpace, load_model
from ftonnx.runtime import FaultySession
from ftonnx.runtime import choice as choice_module
from ftonnx.runtime.session_model import faulty_session_model
from ftonnx.sessions import SessionOptions, open_session, run_session

FULL = 7
X = random_floats(FULL, 3, 8, 8, seed=9, scale=1)


@pytest.fixture
def sessions(monkeypatch):
    """How many sessions were open at each opening, and at each run by its number of images."""
    alive = weakref.WeakSet()
    seen = {"opened": [], "run": []}

    class Counted(ort.InferenceSession):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            alive.add(self)
            seen["opened"].append(len(alive))

        def run(self, names, feeds, *more):
            images = len(next(iter(feeds.values())))
            seen["run"].append((images, len(alive)))
            return super().run(names, feeds, *more)

    monkeypatch.setattr(ort, "InferenceSession", Counted)
    monkeypatch.setenv("FTONNX_CACHE", "off")
    return seen


def test_of_two_strategies_one_session_each_is_open_while_they_are_timed(sessions):
    """The full batch takes the most memory; no session without faults is open beside those with them."""
    require_packing(int8_cnn())
    sessions["opened"].clear()
    FaultySession(int8_cnn(), sample=X, threads=1)
    # packed stays open, rebuild's own two or the proof's come beside it
    assert max(sessions["opened"]) == 3
    timed = [count for images, count in sessions["run"] if images == FULL]
    assert timed
    assert max(timed) == 2


def test_a_strategy_is_proved_beside_one_other_session(sessions):
    """The fresh one on the flipped file; while a twin is optimized none is open, and nor while the model is."""
    FaultySession(small_cnn(), sample=X, threads=1)
    assert sessions["opened"][:2] == [1, 1]
    assert max(sessions["opened"]) == 2


def test_strategies_are_timed_without_the_model(tmp_path, monkeypatch):
    """What came from a file is read again where it is needed."""
    require_packing(int8_cnn())
    path = tmp_path / "model.onnx"
    onnx.save(int8_cnn(), path)
    model = load_model(path)
    kept = []
    real = choice_module._fastest
    monkeypatch.setattr(choice_module, "_fastest", lambda *given: (kept.append(list(model._kept)), real(*given))[1])
    session = FaultySession(model, sample=X, threads=1)
    assert kept == [[]]
    assert bits_of(session.golden(X)) == bits_of(ort_run(model.proto, {"x": X}, threads=1))


@pytest.mark.parametrize("make", [small_cnn, int8_cnn, norm_net, branched_cnn, function_cnn])
def test_flips_in_tensors_apart_are_those_in_the_file(monkeypatch, make):
    """Compared with an ordinary session on a file that was flipped bit by bit; the model is left as it was."""
    monkeypatch.setattr("ftonnx.runtime.session_model._LARGE", 64)
    model = make()
    before = model.SerializeToString()
    space = FaultSpace.of(model)
    last = len(space.targets) - 1
    chosen = [(0, 3, 2), (last, 0, 5), (last, 0, 1)]
    faulty = faulty_session_model(load_model(model).structure, space, Faults(*zip(*chosen, strict=True)))
    assert model.SerializeToString() == before
    flips = [(space.targets[target].tensor, element, bit) for target, element, bit in chosen]
    outputs = run_session(open_session(faulty, SessionOptions(threads=1)), {"x": X})
    assert bits_of(outputs) == bits_of(ort_run(naively_flipped(model, flips), {"x": X}, threads=1))
