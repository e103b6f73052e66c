"""Every strategy gives the bits of a session that ONNX Runtime opens on a flipped file.

The file is flipped and the session opened by the test itself: no code is shared with ftonnx.
"""

import contextlib

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats, small_cnn
from runtime_kit import (
    bfloat16_net,
    branch_net,
    constant_net,
    half_net,
    int4_net,
    node,
    norm_net,
    old_net,
    open_strategy,
    quantized_net,
)

from ftonnx.inject import BitFlipRates, Faults, FaultSpace, unit_rng
from ftonnx.runtime import FaultyRunError, FaultySession
from ftonnx.runtime.layout.blueprint import Blueprint
from ftonnx.runtime.strategies.from_file import RebuildFromFile
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.rebuild import Rebuild


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Every kind of model, by name."""
    return {
        "float": small_cnn(),
        "norm": norm_net(),
        "fp16": half_net(),
        "bf16": bfloat16_net(),
        "constant": constant_net(),
        "ir3": old_net(),
        "branch": branch_net(),
        "int4": int4_net(),
        "qdq": quantized_net(tmp_path_factory.mktemp("qdq"), "QDQ"),
        "qoperator": quantized_net(tmp_path_factory.mktemp("qop"), "QOperator"),
    }


NAMES = ["float", "norm", "fp16", "bf16", "constant", "ir3", "branch", "int4", "qdq", "qoperator"]


def images(model, batch=3, seed=9):
    """Return random images in the model's own input type."""
    (value,) = [v for v in model.graph.input if v.name == "x"]
    shape = [batch, *(d.dim_value for d in value.type.tensor_type.shape.dim[1:])]
    dtype = np.float16 if value.type.tensor_type.elem_type == TensorProto.FLOAT16 else np.float32
    return random_floats(*shape, seed=seed, scale=1).astype(dtype)


def drawn(space, count, seed, bits=None):
    """Draw distinct (target, element, bit) triples, and the same with tensor names."""
    rng, chosen = np.random.default_rng(seed), set()
    while len(chosen) < count:
        target = int(rng.integers(len(space.targets)))
        form = space.targets[target].format
        element = int(rng.integers(space.targets[target].elements))
        if (target, element) not in {c[:2] for c in chosen}:
            chosen.add((target, element, int(rng.integers(*(bits or (0, form.bits))) % form.bits)))
    return Faults(*zip(*chosen, strict=True)), [(space.targets[t].tensor, e, b) for t, e, b in chosen]


# ------------------------------------------------------------------ against the naive oracle


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "format_name"),
    [(name, form) for name in NAMES for form in ("auto", "ieee") if (name, form) != ("bf16", "auto")],
)
def test_rebuild_gives_the_bits_of_a_default_session_on_a_flipped_file(zoo, name, format_name, seed):
    """On every kind of model: whatever the strategy had to fall back to."""
    model = zoo[name]
    space = FaultSpace.of(model, format=format_name)
    x = images(model)
    session = FaultySession(model, space, threads=1, strategy="rebuild", sample=x)
    assert session.strategy == "rebuild"
    before = bits_of(session.golden(x))
    assert before == bits_of(ort_run(model, {"x": x}, threads=1))
    faults, flips = drawn(space, min(6, space.elements), seed)
    flipped = naively_flipped(model, flips, fixed=(15, 16) if format_name == "auto" else None)
    assert bits_of(session.run(x, faults)) == bits_of(ort_run(flipped, {"x": x}, threads=1))
    assert bits_of(session.golden(x)) == before


LIVE = ["float", "constant", "ir3", "branch", "fp16", "qdq", "qoperator"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", LIVE)
def test_live_gives_the_bits_of_an_unpacked_session_on_a_flipped_file(zoo, name, seed):
    """All graph optimizations, prepacking off, as the options in the result say."""
    model = zoo[name]
    space = FaultSpace.of(model)
    x = images(model)
    session = FaultySession(model, space, threads=1, strategy="live", sample=x)
    assert (session.strategy, session.fallback) == ("live", None)
    assert session.options.optimize
    assert not session.options.prepack
    assert session.options.disabled == ()
    before = bits_of(session.golden(x))
    assert before == bits_of(ort_run(model, {"x": x}, prepack=False, threads=1))
    faults, flips = drawn(space, 8, seed)
    expected = ort_run(naively_flipped(model, flips), {"x": x}, prepack=False, threads=1)
    assert bits_of(session.run(x, faults)) == bits_of(expected)
    assert bits_of(session.golden(x)) == before


@pytest.mark.parametrize("seed", range(6))
def test_live_reaches_stand_alone_batch_normalizations(zoo, seed):
    """Flips in gamma, beta, mean and variance; the explicit form may round differently in the last bits."""
    model = zoo["norm"]
    space = FaultSpace.of(model, include=["[gbmv][12]"])
    assert len(space.targets) == 8
    x = images(model)
    session = FaultySession(model, space, threads=1, strategy="live", sample=x)
    assert (session.strategy, session.fallback) == ("live", None)
    before = session.golden(x)
    faults, flips = drawn(space, 5, seed, bits=(8, 20))
    expected = ort_run(naively_flipped(model, flips), {"x": x}, prepack=False, threads=1)
    np.testing.assert_allclose(session.run(x, faults)[0], expected[0], rtol=2e-5, atol=2e-5)
    assert not np.array_equal(session.run(x, faults)[0], before[0])
    assert bits_of(session.golden(x)) == bits_of(before)


def test_live_reaches_batch_normalizations_of_a_net_that_ends_in_a_list_of_maps():
    """The edit that makes them explicit knows no maps; without it they have no place in memory."""
    model = norm_net()
    zip_map = helper.make_node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml", classlabels_strings=list("abcde"))
    model.graph.node.append(zip_map)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    maps = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output.append(helper.make_value_info("maps", helper.make_sequence_type_proto(maps)))
    space = FaultSpace.of(model)
    x = images(model)
    session = FaultySession(model, space, threads=1, strategy="live", sample=x)
    assert (session.strategy, session.fallback) == ("live", None)
    names = [target.tensor for target in space.targets]
    faults = Faults([names.index("g1"), names.index("v2")], [3, 5], [16, 16])
    flipped = naively_flipped(model, [("g1", 3, 16), ("v2", 5, 16)])
    scores, found = session.run(x, faults)
    expected, expected_maps = ort_run(flipped, {"x": x}, prepack=False, threads=1)
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)
    assert [list(each) for each in found] == [list(each) for each in expected_maps]
    assert not np.array_equal(scores, session.golden(x)[0])


@pytest.mark.parametrize("parameter", ["g1", "b1", "m1", "v1", "g2", "b2", "m2", "v2"])
def test_each_parameter_of_a_batch_normalization_moves_its_channel(zoo, parameter):
    """Only the outputs that the hit channel feeds change, each as on the flipped file."""
    model = onnx.ModelProto.FromString(zoo["norm"].SerializeToString())
    model.graph.output[0].name = "n1" if parameter.endswith("1") else "n2"
    shape = model.graph.output[0].type.tensor_type.shape
    for _ in range(4 - len(shape.dim)):
        shape.dim.add()
    for dim in shape.dim:
        dim.Clear()
    space = FaultSpace.of(model, include=[parameter])
    x = images(model)
    session = FaultySession(model, space, threads=1, strategy="live", sample=x)
    assert session.strategy == "live"
    faults = Faults([0], [3], [17])
    golden, faulty = session.golden(x)[0], session.run(x, faults)[0]
    assert set(np.flatnonzero((golden != faulty).any(axis=(0, 2, 3)))) == {3}
    expected = ort_run(naively_flipped(model, [(parameter, 3, 17)]), {"x": x}, prepack=False, threads=1)[0]
    np.testing.assert_allclose(faulty, expected, rtol=1e-5, atol=1e-5)


def test_a_variance_flipped_below_zero_gives_nan_in_its_channel(zoo):
    """As the operator itself would: the square root of a negative number."""
    model = zoo["norm"]
    space = FaultSpace.of(model, include=["v2"])
    session = FaultySession(model, space, threads=1, strategy="live")
    outputs = session.run(images(model), Faults([0], [3], [31]))[0]
    assert np.isnan(outputs).all()
    assert np.isfinite(session.golden(images(model))[0]).all()


@pytest.mark.parametrize("kind", [Live, Rebuild, RebuildFromFile])
def test_all_ways_of_running_agree_with_their_own_fresh_session(kind):
    """The reference of a strategy is a session with its options on the flipped file."""
    model = small_cnn()
    space = FaultSpace.of(model)
    x = {"x": images(model)}
    strategy = open_strategy(kind, model, space)
    for seed in range(5):
        faults, flips = drawn(space, 4, seed)
        own = strategy.reference(naively_flipped(model, flips)).run(None, x)
        assert bits_of(strategy.run(x, faults)) == bits_of(own)
        prepack = kind is not Live
        assert bits_of(own) == bits_of(ort_run(naively_flipped(model, flips), x, prepack=prepack, threads=1))


def test_several_flips_in_one_element_are_one_change():
    """Three bits of one weight and one of its neighbour."""
    model = small_cnn()
    space = FaultSpace.of(model)
    x = images(model)
    session = FaultySession(model, space, threads=1, strategy="live")
    faults = Faults([0, 0, 0, 0], [7, 7, 7, 8], [3, 14, 31, 15])
    value = numpy_helper.to_array(model.graph.initializer[0]).ravel()
    changed = value.copy()
    code = int(np.rint(float(value[7]) * 65536)) ^ (1 << 3 | 1 << 14)
    code = code - 2**31 if code >= 0 else code + 2**31
    changed[7] = code / 65536
    changed[8] = (int(np.rint(float(value[8]) * 65536)) ^ 1 << 15) / 65536
    flipped = onnx.ModelProto.FromString(model.SerializeToString())
    flipped.graph.initializer[0].raw_data = changed.tobytes()
    assert bits_of(session.run(x, faults)) == bits_of(ort_run(flipped, {"x": x}, prepack=False, threads=1))


@pytest.mark.parametrize("strategy", ["live", "rebuild"])
def test_a_tensor_with_two_readers_flips_for_both(strategy):
    """A shared weight is one target, and a flip in it is seen everywhere."""
    model = model_of(
        [
            node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["c"]),
            node("Conv", ["c", "w", "b"], ["d"], pads=[1, 1, 1, 1]),
            node("Relu", ["d"], ["y"]),
        ],
        [("w", random_floats(3, 3, 3, 3)), ("b", random_floats(3))],
    )
    space, x = FaultSpace.of(model), images(model)
    session = FaultySession(model, space, threads=1, strategy=strategy)
    assert session.strategy == strategy
    faults, flips = drawn(space, 4, 1)
    expected = ort_run(naively_flipped(model, flips), {"x": x}, prepack=strategy == "rebuild", threads=1)
    assert bits_of(session.run(x, faults)) == bits_of(expected)


def test_a_function_constant_named_like_an_initializer_keeps_its_own_flips():
    """Names inside a function are its own; the flip lands in the right one of two tensors called w."""
    inner = numpy_helper.from_array(random_floats(8, 8, seed=2), "w")
    function = helper.make_function(
        "local", "Layer", ["a"], ["o"],
        [node("Constant", [], ["w"], value=inner), node("MatMul", ["a", "w"], ["o"], name="inner")],
        [helper.make_opsetid("", 20)],
    )  # fmt: skip
    model = model_of(
        [node("MatMul", ["x", "w"], ["h"], name="outer"), node("Layer", ["h"], ["y"], domain="local")],
        [("w", random_floats(8, 8, seed=1))],
        functions=[function], domains=["local"], outputs={"y": (None, 3, 8, 8)},
    )  # fmt: skip
    space, x = FaultSpace.of(model), images(model)
    assert [t.node for t in space.targets] == ["outer", "inner"]
    session = FaultySession(model, space, threads=1, strategy="live")
    assert session.strategy == "live"
    outer, inner = random_floats(8, 8, seed=1), random_floats(8, 8, seed=2).copy()
    code = int(np.rint(float(inner[1, 1]) * 65536)) ^ (1 << 18)
    inner[1, 1] = code / 65536
    np.testing.assert_allclose(session.run(x, Faults([1], [9], [18]))[0], x @ outer @ inner, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------ the weights come back


PATTERN = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**6), st.integers(0, 31)), min_size=0, max_size=40)


@pytest.fixture(scope="module")
def opened():
    """Sessions of both kinds on the small CNN, with images and golden outputs."""
    model = small_cnn()
    space = FaultSpace.of(model)
    x = images(model)
    sessions = [FaultySession(model, space, threads=1, strategy=name) for name in ("live", "rebuild")]
    return space, x, [(session, bits_of(session.golden(x))) for session in sessions]


def pattern(space, triples):
    """Fold numbers into the space, each bit once."""
    folded = {(t, e % space.targets[t].elements, b) for t, e, b in triples}
    return Faults(*([column[i] for column in folded] for i in range(3)))


@settings(max_examples=60, deadline=None)
@given(triples=PATTERN)
def test_golden_is_the_same_after_any_faults(opened, triples):
    """Bit for bit, whatever flipped."""
    space, x, sessions = opened
    for session, before in sessions:
        session.run(x, pattern(space, triples))
        assert bits_of(session.golden(x)) == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(triples=PATTERN)
def test_weights_come_back_when_the_run_raises(opened, monkeypatch, triples):
    """Any exception out of the run, KeyboardInterrupt included, leaves the memory as it was."""
    space, x, sessions = opened
    for session, before in sessions:
        for error in (RuntimeError, KeyboardInterrupt, FaultyRunError):

            def explode(*_, error=error):
                raise error

            with monkeypatch.context() as patch, contextlib.suppress(error):
                patch.setattr("ftonnx.runtime.strategies.base.run_session", explode)
                session._strategy.run({"x": x}, pattern(space, triples))
                raise AssertionError("the patched run should have raised")
        assert bits_of(session.golden(x)) == before


@pytest.mark.parametrize(
    ("name", "kind"), [("norm", Live), ("qdq", Live), ("qdq", Rebuild), ("fp16", Live), ("float", Rebuild)]
)
def test_every_word_of_memory_is_restored(zoo, name, kind):
    """Looked at in the arrays themselves, not through outputs, also where norms were recomputed."""
    model = zoo[name]
    space = FaultSpace.of(model)
    opened = open_strategy(kind, model, space)
    before = {k: v.tobytes() for k, v in opened.memory.arrays.items()}
    faults = BitFlipRates(0.2).draw(space, unit_rng(0, 0.2, 0, 0))

    def run_and_raise():
        with opened.memory.flipped(faults):
            assert {k: v.tobytes() for k, v in opened.memory.arrays.items()} != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_and_raise()
    assert {k: v.tobytes() for k, v in opened.memory.arrays.items()} == before


@pytest.mark.parametrize("strategy", ["live", "rebuild", "auto"])
@pytest.mark.parametrize("name", NAMES)
def test_no_faults_give_the_golden_outputs(zoo, name, strategy):
    """Rate 0 is the fault-free run, bit for bit."""
    model = zoo[name]
    x = images(model)
    session = FaultySession(model, FaultSpace.of(model), threads=1, strategy=strategy, sample=x)
    none = BitFlipRates(0.0).draw(FaultSpace.of(model), unit_rng(0, 0.0, 0, 0))
    assert bits_of(session.run(x, none)) == bits_of(session.golden(x))
    assert bits_of(session.run(x, Faults.none())) == bits_of(session.golden(x))


def test_threads_and_batch_size_do_not_change_a_bit():
    """One or two threads, one batch or three: the same outputs per image."""
    model = small_cnn()
    space, x = FaultSpace.of(model), images(model, batch=6)
    faults, _ = drawn(space, 5, 3)
    results = []
    for threads in (1, 2):
        session = FaultySession(model, space, threads=threads, strategy="live")
        results.append(session.run(x, faults)[0])
        results.append(np.concatenate([session.run(part, faults)[0] for part in np.split(x, 3)]))
    assert len({result.tobytes() for result in results}) == 1


def test_aligned_arrays_are_shared_with_the_session():
    """64-byte alignment, and a write from outside is seen by the next run."""
    model = small_cnn()
    opened = open_strategy(Live, model, FaultSpace.of(model))
    x = {"x": images(model)}
    for array in opened.memory.arrays.values():
        assert array.ctypes.data % 64 == 0
    before = bits_of(opened.golden(x))
    for array in opened.memory.arrays.values():
        array *= 2
    assert bits_of(opened.golden(x)) != before


def test_the_oracle_itself_sees_a_flip():
    """A check of the check: one flipped bit changes what a plain session computes."""
    model = small_cnn()
    x = {"x": images(model)}
    assert bits_of(ort_run(model, x)) != bits_of(ort_run(naively_flipped(model, [("w1", 0, 30)]), x))
    assert ort.get_available_providers()


def test_a_graph_is_searched_for_its_initializers_as_often_for_many_targets_as_for_few(monkeypatch):
    """A search takes as long as there are initializers, so that one for each target takes the square of that."""
    searched = []
    held = Blueprint.held

    def counted(blueprint):
        searched.append(blueprint)
        return held.fget(blueprint)

    monkeypatch.setattr(Blueprint, "held", property(counted))
    found = {}
    for layers in (2, 20):
        searched.clear()
        open_strategy(Live, dense(layers))
        found[layers] = len(searched)
    assert found[2] == found[20] > 0


def dense(layers):
    """Return a chain of matrix products."""
    names = ["x", *(f"h{layer}" for layer in range(1, layers)), "y"]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(layers)]
    weights = [(f"w{i}", random_floats(4, 4, seed=i)) for i in range(layers)]
    return model_of(nodes, weights, inputs={"x": ("batch", 4)})
