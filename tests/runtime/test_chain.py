"""Segments: bit-identical to the whole model, and no more work than the faults ask for."""

import logging
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper
from onnx_zoo import bits_of, model_of, random_floats, small_cnn, stored
from runtime_kit import open_strategy
from torch_nets import tiny_resnet
from weights_kit import MODELS

from ftonnx.errors import DataError, UsageError
from ftonnx.export import clip_activations, export_module, find_activations, thresholds_as_inputs
from ftonnx.inject import BitFlipRates, FaultCount, Faults, FaultSpace, load_model, unit_rng
from ftonnx.models import resolve
from ftonnx.quant import quantize
from ftonnx.runtime import FaultySession, HeldBatch, Work, free_memory
from ftonnx.runtime.reuse import decision
from ftonnx.runtime.reuse.chain import Chain
from ftonnx.runtime.reuse.cuts import find_cuts
from ftonnx.runtime.reuse.decision import Reuse
from ftonnx.runtime.reuse.segments import element_types
from ftonnx.runtime.strategies import rebuild

node = helper.make_node
X = random_floats(3, 3, 8, 8, seed=9, scale=1)


def branching():
    """Return Conv, Relu, an If whose branches read the Relu through values of their own, and a MatMul."""

    def branch(name, sign):
        nodes = [
            node("Mul", ["r", f"{name}_sign"], [f"{name}_signed"]),
            node("Add", [f"{name}_signed", "c"], [f"{name}_out"]),
        ]
        output = helper.make_tensor_value_info(f"{name}_out", 1, None)
        return helper.make_graph(nodes, name, [], [output], [stored(f"{name}_sign", np.float32(sign))])

    return model_of(
        [
            node("Conv", ["x", "w0"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("ReduceSum", ["r"], ["s"], keepdims=0),
            node("Greater", ["s", "zero"], ["p"]),
            node("If", ["p"], ["i"], then_branch=branch("then", 2), else_branch=branch("else", -1)),
            node("GlobalAveragePool", ["i"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("MatMul", ["f", "w1"], ["y"]),
        ],
        [
            ("w0", random_floats(16, 3, 3, 3, seed=1)),
            ("w1", random_floats(16, 5, seed=6)),
            ("zero", np.float32(0)),
        ],
    )


@pytest.fixture(scope="module")
def zoo():
    """Networks by name: plain, with branches, residual, with normalizations, int8, two outputs."""
    with warnings.catch_warnings(action="ignore"):
        residual = export_module(tiny_resnet(), input_shape=(3, 8, 8))
    two = small_cnn()
    two.graph.output.append(helper.make_tensor_value_info("b", 1, [None] * 4))
    norms = model_of(
        [
            node("Conv", ["x", "w0"], ["c0"], pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], ["r0"]),
            node("BatchNormalization", ["r0", "g", "b", "m", "v"], ["n"]),
            node("Relu", ["n"], ["r1"]),
            node("GlobalAveragePool", ["r1"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("MatMul", ["f", "w1"], ["y"]),
        ],
        [
            ("w0", random_floats(16, 3, 3, 3, seed=1)), ("g", random_floats(16, seed=2)),
            ("b", random_floats(16, seed=3)), ("m", random_floats(16, seed=4)),
            ("v", np.abs(random_floats(16, seed=5)) + np.float32(0.3)), ("w1", random_floats(16, 5, seed=6)),
        ],
    )  # fmt: skip
    return {
        "plain": small_cnn(),
        "branches": branching(),
        "residual": residual,
        "int8": quantize(small_cnn(), [X]).proto,
        "two outputs": two,
        "norms": norms,
    }


def feeds_of(model, **others):
    """Return the images under the name of the model's first input."""
    return {model.graph.input[0].name: X} | others


FEEDS = {"x": X}


def cut_everywhere(strategy, feeds):
    """Return a chain with every possible cut, the golden run, and the counter of its work."""
    cuts = find_cuts(strategy.divisible().model.graph)
    work = Work()
    chain = Chain(strategy.divisible(), cuts, element_types(strategy.divisible(), cuts), work)
    return chain, chain.golden(feeds), work


def run_in_segments(strategy, chain, golden, faults):
    """Run the chain with the faults in memory."""
    divisible = strategy.divisible()
    with divisible.flipped(faults):
        return chain.run(golden, divisible.reached(faults), golden.inputs)


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, way) for name in ("plain", "branches", "residual", "int8", "two outputs") for way in ("live", "rebuild")]
    + [("norms", "live")],  # rebuild needs a file where normalizations stand alone
)
def test_segments_give_the_bits_of_the_whole_model(zoo, name, way):
    """For one fault in every target in turn, for many at once, and for none."""
    space = FaultSpace.of(zoo[name])
    strategy = open_strategy(way, zoo[name], space)
    feeds = feeds_of(zoo[name])
    chain, golden, _ = cut_everywhere(strategy, feeds)
    assert len(chain) > 3
    assert bits_of(chain.outputs(golden.tensors)) == bits_of(strategy.golden(feeds))
    rng = np.random.default_rng(1)
    single = [
        Faults([index], [rng.integers(target.elements)], [rng.integers(target.format.bits)])
        for index, target in enumerate(space.targets)
        for _ in range(3)
    ]
    many = [BitFlipRates(rate).draw(space, unit_rng(0, rate, 0, 0), 0) for rate in (1e-3, 1e-2, 0.2)]
    for faults in (*single, *many, Faults.none()):
        expected = strategy.run(feeds, faults)
        assert bits_of(run_in_segments(strategy, chain, golden, faults)) == bits_of(expected)
    assert bits_of(run_in_segments(strategy, chain, golden, Faults.none())) == bits_of(strategy.golden(feeds))


@pytest.mark.parametrize("way", ["live", "rebuild"])
def test_work_before_the_first_fault_is_not_done_again(zoo, way):
    """A fault in the last layer runs the last segments only; each fault's work is what lies behind it."""
    space = FaultSpace.of(zoo["plain"])
    strategy = open_strategy(way, zoo["plain"], space)
    chain, golden, work = cut_everywhere(strategy, FEEDS)
    done = []
    for index in range(len(space.targets)):
        before = work.segments
        run_in_segments(strategy, chain, golden, Faults([index], [0], [30 if way == "live" else 29]))
        done.append(work.segments - before)
    assert done == sorted(done, reverse=True)
    assert done[-1] <= 2
    assert done[0] > done[-1]
    assert work.segments + work.skipped == len(chain) * len(space.targets)


def test_a_fault_whose_effect_vanishes_stops_early():
    """A weight that only a dead channel sees: Relu makes it zero, and all that follows is the golden run's."""
    bias = np.full(4, -1e4, np.float32)
    model = model_of(
        [
            node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"]),
            node("MaxPool", ["b"], ["p"], kernel_shape=[2, 2]),
            node("Conv", ["p", "w2"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["d"]),
            node("Conv", ["d", "w3"], ["y"], pads=[1, 1, 1, 1]),
        ],
        [("w1", random_floats(4, 3, 3, 3)), ("b1", bias), ("w2", random_floats(4, 4, 3, 3)),
         ("w3", random_floats(2, 4, 3, 3))],
    )  # fmt: skip
    strategy = open_strategy("live", model)
    chain, golden, work = cut_everywhere(strategy, FEEDS)
    outputs = run_in_segments(strategy, chain, golden, Faults([0], [5], [16]))
    assert bits_of(outputs) == bits_of(strategy.golden(FEEDS))
    assert work.segments == 1
    assert work.skipped == len(chain) - 1


def test_memory_is_the_original_one_after_a_segment_fails(zoo, eager, monkeypatch):
    """Also where a segment's run raises in the middle."""
    strategy = open_strategy("live", zoo["plain"])
    before = {name: array.tobytes() for name, array in strategy.memory.arrays.items()}
    reuse = Reuse(strategy, Faults.none(), None)
    assert reuse.open(FEEDS)
    held = HeldBatch(strategy, reuse, FEEDS)
    assert held.nbytes

    def explode(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ftonnx.runtime.reuse.chain.run_values", explode)
    with pytest.raises(KeyboardInterrupt):
        held.run(Faults([4, 5], [1, 1], [3, 4]))  # in the last layer, where segments are used
    assert {name: array.tobytes() for name, array in strategy.memory.arrays.items()} == before


# ------------------------------------------------------------------ held batches


@pytest.fixture
def eager(monkeypatch):
    """Let every cut and every reuse be worth it, as on a large model."""
    monkeypatch.setattr("ftonnx.runtime.reuse.cuts._LEAST_SECONDS", 0.0)
    monkeypatch.setattr("ftonnx.runtime.reuse.cuts._LEAST_SHARE", 0.0)
    # where a segment costs more than it skips they would not be used, which depends on the machine
    monkeypatch.setattr(decision, "_cost", lambda *_: 0.0)
    monkeypatch.setattr(decision, "_OPENINGS", 0.0)


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
@pytest.mark.parametrize("name", ["plain", "branches", "residual", "int8", "two outputs", "norms"])
def test_a_held_batch_gives_the_bits_of_a_run_of_the_whole_model(zoo, eager, name, strategy):
    """Whatever it decides to reuse."""
    space = FaultSpace.of(zoo[name])
    session = FaultySession(zoo[name], space, threads=1, strategy=strategy)
    held = session.hold(X, reuse=True)
    assert bits_of(held.golden) == bits_of(session.golden(X))
    for repeat in range(20):
        faults = FaultCount(1).draw(space, unit_rng(0, 1e-3, repeat, 0), repeat)
        assert bits_of(held.run(faults)) == bits_of(session.run(X, faults))
    assert bits_of(held.run(Faults.none())) == bits_of(held.golden)
    assert (session.work.skipped > 0) == (session.fallback is None)


@pytest.mark.parametrize("strategy", ["live", "packed", "rebuild"])
@pytest.mark.parametrize("name", ["plain", "residual", "int8"])
@pytest.mark.parametrize("reuse", [True, False])
def test_several_held_runs_give_the_bits_of_runs_of_the_whole_model(zoo, eager, name, strategy, reuse):
    """Each of its own images, under one pattern, from segments and in one piece; afterwards all is as it was."""
    space = FaultSpace.of(zoo[name])
    session = FaultySession(zoo[name], space, threads=1, strategy=strategy, cache_memory=None if reuse else 0)
    batches = [X, X[:2] - 1, X[1:] / 2]
    if reuse:
        session.hold(X, reuse=True)
    held = session.hold_runs(batches)
    golden = [bits_of(session.golden(batch)) for batch in batches]
    assert [bits_of(outputs) for outputs in held.golden] == golden
    for repeat in range(10):
        faults = FaultCount(1).draw(space, unit_rng(0, 1e-3, repeat, 0), repeat)
        expected = [bits_of(session.run(batch, faults)) for batch in batches]
        assert [bits_of(outputs) for outputs in held.run(faults)] == expected
    assert held.run(Faults.none()) is held.golden
    assert [bits_of(session.golden(batch)) for batch in batches] == golden
    assert (session.work.skipped > 0) == reuse


@pytest.mark.parametrize("reuse", [True, False])
def test_runs_under_one_pattern_open_a_session_once(zoo, eager, monkeypatch, reuse):
    """Of the whole model, or of each segment that the pattern flips bits in."""
    space = FaultSpace.of(zoo["int8"])
    session = FaultySession(zoo["int8"], space, threads=1, strategy="rebuild", cache_memory=None if reuse else 0)
    session.hold(X, reuse=reuse)
    held = session.hold_runs([X[:1], X[1:2], X[2:]])
    opened = []
    original = rebuild.open_session
    monkeypatch.setattr(rebuild, "open_session", lambda *given: opened.append(1) or original(*given))
    held.run(Faults([len(space.targets) - 1], [0], [3]))
    assert len(opened) == 1


def test_segments_are_opened_when_that_has_paid(zoo, eager):
    """Faults behind most of the network open them after a few runs; faults in the first layer never."""
    space = FaultSpace.of(zoo["plain"])
    first, last = Faults([0], [0], [3]), Faults([len(space.targets) - 1], [0], [3])
    session = FaultySession(zoo["plain"], space, threads=1, strategy="live")
    held = session.hold(X)
    for _ in range(100):
        held.run(first)
    assert session.work.sessions == 0
    assert session.work.full == 101
    for _ in range(100):
        held.run(last)
    assert session.work.sessions > 0
    assert session.work.full < 130
    assert bits_of(held.run(last)) == bits_of(session.run(X, last))


def test_segments_are_opened_later_where_opening_the_session_took_long(zoo):
    """They cost as much time as that, which so many runs must have wasted; or ten runs, where that is more."""
    strategy = open_strategy("live", zoo["plain"])
    for opening, price in ((0.0, 10), (0.1, 10), (3.0, 30)):
        reuse = Reuse(strategy, Faults.none(), None, opening=opening)
        for seconds in (0.2, 0.1, 0.3):
            reuse.note_golden(seconds)
        assert reuse._price == pytest.approx(price)


def test_segments_that_take_longer_than_the_whole_are_not_used(zoo, eager, monkeypatch):
    """They are opened, measured, and left alone; the bits are those of a whole run."""
    monkeypatch.setattr(decision, "_cost", lambda *_: math.inf)
    space = FaultSpace.of(zoo["plain"])
    last = Faults([len(space.targets) - 1], [0], [3])
    session = FaultySession(zoo["plain"], space, threads=1, strategy="live")
    held = session.hold(X)
    for _ in range(50):
        held.run(last)
    opened = session.work.segments
    for _ in range(50):
        held.run(last)
    assert session.work.sessions > 0
    assert session.work.segments == opened
    assert session.work.full == 101
    assert bits_of(held.run(last)) == bits_of(session.run(X, last))


def unread():
    """Return a network with a weight whose product nobody reads."""
    return model_of(
        [
            node("Flatten", ["x"], ["f"]),
            node("MatMul", ["f", "w0"], ["y"]),
            node("MatMul", ["f", "w1"], ["nobody"]),
        ],
        [("w0", random_floats(192, 5, seed=1)), ("w1", random_floats(192, 4, seed=2))],
    )


@pytest.mark.parametrize("reuse", [False, True])
def test_faults_in_what_no_output_depends_on_cost_no_run(reuse):
    """Nor does a pattern without a flip, before segments are opened and afterwards; others cost one each."""
    model = unread()
    space = FaultSpace.of(model)
    assert [target.tensor for target in space.targets] == ["w0", "w1"]
    session = FaultySession(model, space, threads=1, strategy="live")
    held = session.hold(X, reuse=reuse)
    before = replace(session.work)
    for element in range(30):
        assert held.run(Faults([1], [element], [3])) is held.golden
        assert held.run(Faults.none()) is held.golden
    assert session.work == before
    with pytest.raises(UsageError):
        held.run(Faults([1], [10**6], [3]))
    both = Faults([0, 1], [7, 7], [30, 30])
    assert bits_of(held.run(both)) == bits_of(session.run(X, both)) != bits_of(held.golden)
    assert session.work.full + session.work.segments == before.full + before.segments + 1


def test_no_faults_cost_no_run(zoo):
    """An empty pattern is the golden run."""
    session = FaultySession(zoo["plain"], threads=1, strategy="live")
    held = session.hold(X)
    for _ in range(5):
        assert held.run(Faults.none()) is held.golden
    assert session.work.full == 1


def test_cache_memory_bounds_what_is_held(zoo, eager):
    """Zero bytes: one segment, nothing but the outputs is kept."""
    session = FaultySession(zoo["plain"], threads=1, strategy="live", cache_memory=0)
    held = session.hold(X, reuse=True)
    assert held.nbytes == session.golden(X)[0].nbytes
    faults = Faults([3], [0], [30])
    assert bits_of(held.run(faults)) == bits_of(session.run(X, faults))


def test_a_model_that_only_runs_from_files_reuses_nothing():
    """It has no optimized graph of ours to cut; results are the same."""
    hidden = MODELS["weight norm"]()
    images = hidden.feeds["x"]
    session = FaultySession(hidden.model, threads=1)
    assert session.fallback is not None
    held = session.hold(images, reuse=True)
    faults = Faults([0], [0], [9])
    assert bits_of(held.run(faults)) == bits_of(session.run(images, faults))
    assert session.work.sessions == 0


def test_segments_that_lie_are_not_used(zoo, eager, monkeypatch, caplog):
    """A chain whose outputs are not those of the whole model is given up with a warning."""
    session = FaultySession(zoo["plain"], threads=1, strategy="live")
    real = Chain.outputs
    monkeypatch.setattr(Chain, "outputs", lambda self, tensors: [a + 1 for a in real(self, tensors)])
    with caplog.at_level(logging.WARNING):
        held = session.hold(X, reuse=True)
    assert "cannot be reused" in caplog.text
    faults = Faults([3], [0], [30])
    assert bits_of(held.run(faults)) == bits_of(session.run(X, faults))
    assert bits_of(held.golden) == bits_of(session.golden(X))


def test_a_bad_batch_and_bad_faults_are_refused(zoo):
    """As by the session itself."""
    session = FaultySession(zoo["plain"], threads=1, strategy="live")
    for reuse in (False, True):
        with pytest.raises(DataError):
            session.hold(np.zeros((2, 3, 9, 9), np.float32), reuse=reuse)
    with pytest.raises(UsageError):
        session.hold(X).run(Faults([99], [0], [0]))


# ------------------------------------------------------------------ further inputs


def with_thresholds(model):
    """Return the model clipped, its thresholds as inputs, and their values."""
    largest = {a.name: np.asarray(0.9, np.float32) for a in find_activations(model)}
    return thresholds_as_inputs(clip_activations(model, largest)[0])


def test_changed_inputs_are_where_a_run_starts(zoo, eager):
    """A new threshold in the second half leaves the first half to the golden run; bits as in a whole run."""
    exposed, inputs = with_thresholds(zoo["residual"])
    space = FaultSpace.of(exposed)
    session = FaultySession(exposed, space, threads=1, strategy="live", extra=inputs)
    held = session.hold(X, reuse=True)
    for name in inputs:
        new = np.full_like(inputs[name], 0.4)
        faults = BitFlipRates(1e-3).draw(space, unit_rng(0, 1e-3, 7, 0), 0)
        for pattern in (faults, Faults.none()):
            (outputs,) = held.run_each(pattern, [{name: new}])
            session.extra[name] = new
            expected = session.run(X, pattern)
            session.extra[name] = inputs[name]
            assert bits_of(outputs) == bits_of(expected)
    assert bits_of(held.run(Faults.none())) == bits_of(session.golden(X))
    assert list(held.run_each(Faults.none(), [dict(inputs)])) == [held.golden]


def test_variants_share_the_work_before_their_first_difference(zoo, eager):
    """Four thresholds behind one faulty layer: its segments run once; outputs as one at a time."""
    exposed, inputs = with_thresholds(zoo["residual"])
    space = FaultSpace.of(exposed)
    strategy = open_strategy("live", exposed, space)
    feeds = feeds_of(exposed, **inputs)
    reuse = Reuse(strategy, Faults.none(), None)
    assert reuse.open(feeds)
    held = HeldBatch(strategy, reuse, feeds)
    name = list(inputs)[-1]
    variants = [{name: np.full_like(inputs[name], value)} for value in (0.1, 0.2, 0.3, 0.4)]
    faults = Faults([0], [3], [20])
    before = reuse.work.segments
    one_by_one = [bits_of(*held.run_each(faults, [inputs])) for inputs in variants]
    assert reuse.work.segments == before  # one run that starts at the first layer is done in one session
    assert [bits_of(outputs) for outputs in held.run_each(faults, variants)] == one_by_one
    behind = len(reuse.chain) - reuse.chain.first_reader([name])
    assert reuse.work.segments - before == len(reuse.chain) + 3 * behind


@pytest.mark.parametrize("reuse", [True, False])
def test_a_rebased_batch_is_one_held_with_the_new_inputs(zoo, eager, reuse):
    """Golden outputs and faulty runs alike, however often it is rebased."""
    exposed, inputs = with_thresholds(zoo["residual"])
    space = FaultSpace.of(exposed)
    session = FaultySession(exposed, space, threads=1, strategy="live", extra=inputs)
    held = session.hold(X, reuse=reuse)
    for step, name in enumerate(inputs):
        value = np.full_like(inputs[name], 0.5 + 0.1 * step)
        held.rebase({name: value})
        session.extra[name] = value
        assert bits_of(held.golden) == bits_of(session.golden(X))
        faults = BitFlipRates(1e-3).draw(space, unit_rng(0, 1e-3, step, 0), 0)
        assert bits_of(held.run(faults)) == bits_of(session.run(X, faults))


def test_free_memory_is_read_from_the_machine():
    """The default limit is a quarter of it."""
    assert 2**20 < free_memory() < 2**50


def test_the_embedded_model_is_cut_and_agrees():
    """A real exported network in the blocked layout, one bit after another."""
    model = load_model(resolve("digits"))
    space = FaultSpace.of(model)
    strategy = open_strategy("live", model, space)
    x = np.random.default_rng(0).random((16, 1, 8, 8)).astype(np.float32)
    feeds = {model.proto.graph.input[0].name: x}
    chain, golden, _ = cut_everywhere(strategy, feeds)
    rng = np.random.default_rng(3)
    for _ in range(40):
        faults = space.locate(rng.integers(space.bits, size=1))
        assert bits_of(run_in_segments(strategy, chain, golden, faults)) == bits_of(strategy.run(feeds, faults))


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_nodes_that_no_output_needs_are_no_segment(strategy):
    """As where a head was cut off by its output alone; faults in it change nothing."""
    model = small_cnn()
    early = model.graph.node[1].output[0]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(early, 1, None))
    space = FaultSpace.of(model)
    session = FaultySession(model, space, strategy=strategy, sample=X, threads=1)
    held = session.hold(X, reuse=True)
    for target in range(len(space.targets)):
        faults = Faults([target], [0], [20])
        (expected,) = session.run(X, faults)
        (found,) = held.run(faults)
        assert bits_of(found) == bits_of(expected)
