"""Packed weights are flipped in a file's mapping: every element, its channel's sum, and nothing else.

The oracle flips bits in files by itself and opens ordinary sessions: it shares no code with ftonnx.
"""

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx.helper import make_node as node
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats, small_cnn
from packed_kit import (
    dynamic_perceptron,
    float_products,
    four_bit_perceptron,
    int8_cnn,
    packs_as_known,
    products,
    require_packing,
    wide_cnn,
)
from runtime_kit import open_strategy, quantized_net

import ftonnx
from ftonnx.inject import BitFlipRates, Faults, FaultSpace, load_model, unit_rng
from ftonnx.runtime import FaultyRunError, FaultySession
from ftonnx.runtime.layout import packing as packing_module
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.layout.packed_memory import PackedMemory
from ftonnx.runtime.layout.packing_file import packing_bytes, read_packing
from ftonnx.runtime.strategies import packed as packed_module
from ftonnx.runtime.strategies.packed import Packed

X = random_floats(3, 3, 8, 8, seed=9, scale=1)
ROWS = random_floats(5, 64, seed=3, scale=1)
DEEP = random_floats(2, 2100, seed=3, scale=1)


def unsigned():
    """Return products with weights in uint8."""
    return products(unsigned=True)


def deep():
    """Return products with so many summands that kernels pack them piece by piece, over an odd number of columns."""
    return products("ab", shape=(2100, 35))


MODELS = {
    "wide": (wide_cnn, X),
    "small": (int8_cnn, X),
    "int8 products": (products, ROWS),
    "uint8 products": (unsigned, ROWS),
    "deep products": (deep, DEEP),
    "equal products": (lambda: products(repeated=True), ROWS),
    "four bits": (four_bit_perceptron, ROWS),
    "four bits, computed in int8": (lambda: four_bit_perceptron(accuracy=4), ROWS),
    "float products": (float_products, X),
}


def drawn(space, count, seed):
    """Draw distinct elements of every target, one bit each, and the same with tensor names."""
    rng = np.random.default_rng(seed)
    faults, flips = [], []
    for index, target in enumerate(space.targets):
        for element in rng.choice(target.elements, min(count, target.elements), replace=False).tolist():
            # the low half of an int32 bias: beyond, the outputs saturate and hide the others
            bit = int(rng.integers(min(target.format.bits, 16)))
            faults.append((index, element, bit))
            flips.append((target.tensor, element, bit))
    return Faults(*zip(*faults, strict=True)), flips


@pytest.fixture(params=MODELS)
def case(request):
    """A model, images, and the open strategy."""
    make, images = MODELS[request.param]
    model = make()
    return model, {"x": images}, require_packing(model)


@pytest.fixture
def wide():
    """The wide CNN's strategy, and its fault space."""
    model = wide_cnn()
    return require_packing(model), FaultSpace.of(model)


def test_flips_in_all_tensors_give_the_bits_of_a_session_on_a_flipped_file(case):
    """A few and many at a time; in packed weights, in others, and in biases."""
    model, feeds, strategy = case
    space = FaultSpace.of(model)
    golden = bits_of(ort_run(model, feeds, threads=1))
    assert bits_of(strategy.golden(feeds)) == golden
    for seed, count in enumerate((1, 7, 100)):
        faults, flips = drawn(space, count, seed)
        expected = bits_of(ort_run(naively_flipped(model, flips), feeds, threads=1))
        assert bits_of(strategy.run(feeds, faults)) == expected
        assert expected != golden
    assert bits_of(strategy.golden(feeds)) == golden


def test_each_tensor_alone_is_flipped_where_it_lies(case):
    """So that no flip hides behind another's."""
    model, feeds, strategy = case
    space = FaultSpace.of(model)
    for index, target in enumerate(space.targets):
        for element in (0, target.elements // 2, target.elements - 1):
            for bit in (3, 7):
                expected = ort_run(naively_flipped(model, [(target.tensor, element, bit)]), feeds, threads=1)
                assert bits_of(strategy.run(feeds, Faults([index], [element], [bit]))) == bits_of(expected)


def test_several_bits_of_one_element_and_several_elements_of_one_channel_add_up():
    """The sums of a channel are kept right by what really changed."""
    model = products("a")
    strategy = require_packing(model)
    # elements 5, 37 and 69 are of column 5
    flips = [("a", 5, 0), ("a", 5, 7), ("a", 37, 7), ("a", 69, 6), ("a", 6, 7)]
    faults = Faults(*zip(*((0, e, b) for _, e, b in flips), strict=True))
    expected = ort_run(naively_flipped(model, flips), {"x": ROWS}, threads=1)
    assert bits_of(strategy.run({"x": ROWS}, faults)) == bits_of(expected)


@pytest.mark.skipif(not packs_as_known(), reason="which weights are packed depends on the processor")
def test_the_large_weights_are_packed_and_followed(wide):
    """Plain and grouped convolutions and the Gemm; ONNX Runtime's file has no place for depthwise and small ones."""
    strategy, _ = wide
    assert set(strategy._whole.packed.names) == {f"w{i}_quantized" for i in (2, 3, 5, 6)}
    assert strategy.packing.keys() == set(strategy._whole.packed.names)
    groups = {name: place.groups for name, place in strategy.packing.items()}
    assert groups == {"w2_quantized": 1, "w3_quantized": 4, "w5_quantized": 1, "w6_quantized": 1}


@pytest.mark.skipif(not packs_as_known(), reason="which weights are packed depends on the processor")
def test_of_weights_with_equal_content_one_is_packed():
    """ONNX Runtime keeps one block for all of them, and flips in one would be flips in all."""
    assert set(require_packing(products())._whole.packed.names) == {"a", "b", "c"}
    assert len(require_packing(products(repeated=True))._whole.packed.names) == 1


@pytest.mark.skipif(not packs_as_known(), reason="how weights are packed depends on the processor")
def test_places_of_a_weight_in_pieces_are_written_and_read_back():
    """Each piece has its own distances between the channels."""
    packing = require_packing(deep()).packing
    assert {len(place.steps) for place in packing.values()} == {2}
    again = read_packing(packing_bytes(packing))
    for name, place in packing.items():
        every = np.arange(place.elements)
        positions = place.positions(*place.split(every))
        assert len(set(positions.tolist())) == 2100 * 35
        assert np.array_equal(again[name].positions(*again[name].split(every)), positions)


@pytest.mark.skipif(not packs_as_known(), reason="how weights are packed depends on the processor")
def test_float_weights_of_products_are_packed_and_have_no_sums():
    """Those of the convolution lie in our memory; ONNX Runtime does not pack them."""
    strategy = require_packing(float_products())
    assert set(strategy._whole.packed.names) == {"w2", "w3"}
    assert {place.width for place in strategy.packing.values()} == {4}
    again = read_packing(packing_bytes(strategy.packing))
    assert packing_bytes(again) == packing_bytes(strategy.packing)


def test_float_weights_are_worth_packing_where_large_products_have_most_of_them():
    """A convolutional network's only Gemm is no reason to open one session more."""
    large = FaultSpace.of(products_of_floats(1024, 1024))
    assert Packed.can_win(large)
    assert not Packed.can_win(FaultSpace.of(products_of_floats(1024, 512)))
    assert not Packed.can_win(FaultSpace.of(small_cnn()))


def products_of_floats(rows, columns):
    """Return one MatMul with a weight of that shape."""
    weight = np.zeros((rows, columns), np.float32)
    return model_of([node("MatMul", ["x", "w"], ["y"])], [("w", weight)], inputs={"x": (None, rows)})


@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_weights_of_dynamically_quantized_products_are_packed(tmp_path, kind):
    """DynamicQuantizeMatMul, whose activations are quantized in every run."""
    model = dynamic_perceptron(tmp_path, kind)
    strategy = require_packing(model)
    assert not packs_as_known() or set(strategy._whole.packed.names) == {"w1_quantized", "w2_quantized"}
    for seed in range(3):
        faults, flips = drawn(FaultSpace.of(model), 5, seed)
        expected = ort_run(naively_flipped(model, flips), {"x": ROWS}, threads=1)
        assert bits_of(strategy.run({"x": ROWS}, faults)) == bits_of(expected)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_files_of_onnx_runtimes_own_quantizer_are_run_right(tmp_path, form):
    """In both forms."""
    model = quantized_net(tmp_path, form)
    strategy = require_packing(model)
    faults, flips = drawn(FaultSpace.of(model), 5, 1)
    expected = ort_run(naively_flipped(model, flips), {"x": X}, threads=1)
    assert bits_of(strategy.run({"x": X}, faults)) == bits_of(expected)


# ------------------------------------------------------------------ constants where nothing is hit


LIGHT = {"first": "w1", "grouped": "w3", "depthwise": "w4"}


def reading_memory(strategy):
    """Return which convolutions read the memory now."""
    return {name for name, value in strategy._whole.switches.values.items() if value}


def test_convolutions_with_few_weights_per_channel_read_the_memory_only_where_it_is_hit(wide):
    """Constants, which kernels pack as they like, in all other runs."""
    strategy, space = wide
    switches = {}
    for index, target in enumerate(space.targets):
        with strategy._flipped_in([strategy._whole], Faults([index], [0], [3])):
            switches[target.tensor] = reading_memory(strategy)
    on = {name: found for name, found in switches.items() if found}
    assert {name for name in on if not name.startswith("b")} >= {f"{weight}_quantized" for weight in LIGHT.values()}
    assert {len(found) for found in on.values()} == {1}
    assert set.union(*on.values()) == set(strategy._whole.switches.values)
    assert len(strategy._whole.switches.values) == len(LIGHT)
    assert reading_memory(strategy) == set()


def test_a_run_without_faults_reads_the_memory_and_the_golden_one_constants(wide):
    """So that the proof sees what was not put back, and that both forms give the same bits."""
    strategy, _ = wide
    golden = bits_of(strategy.golden({"x": X}))
    assert bits_of(strategy.run({"x": X}, Faults.none())) == golden
    for weight in LIGHT.values():
        words = strategy.memory.weights.arrays[f"{weight}_quantized"]
        original = words.copy()
        words ^= 64
        # a convolution that is packed shows it only where it is followed
        followed = f"{weight}_quantized" in strategy._whole.packed.names
        assert bits_of(strategy.golden({"x": X})) == golden
        assert (bits_of(strategy.run({"x": X}, Faults.none())) != golden) is not followed
        words[:] = original
    assert bits_of(strategy.run({"x": X}, Faults.none())) == golden


# ------------------------------------------------------------------ the memory comes back


def test_every_byte_of_the_mapped_file_is_restored(wide, monkeypatch):
    """Also where the run raises, whatever it raises."""
    strategy, space = wide
    memory = strategy._whole.packed._bytes
    before = memory.tobytes()
    faults = BitFlipRates(0.2).draw(space, unit_rng(0, 0.2, 0, 0))
    strategy.run({"x": X}, faults)
    assert memory.tobytes() == before
    seen = []
    for error in (RuntimeError, KeyboardInterrupt, FaultyRunError):

        def explode(*_, error=error):
            seen.append(memory.tobytes() != before)
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("ftonnx.runtime.strategies.base.run_session", explode)
            with pytest.raises(error):
                strategy.run({"x": X}, faults)
        assert memory.tobytes() == before
        assert reading_memory(strategy) == set()
    assert seen == [True, True, True]


def test_an_interrupt_between_two_writes_leaves_no_trace(wide, monkeypatch):
    """What was there is noted before anything is written."""
    strategy, space = wide
    memory = strategy._whole.packed._bytes
    before = memory.tobytes()
    faults, _ = drawn(space, 3, 0)
    tables = type(strategy._whole.packed._tables)
    for at in (1, 2):
        calls = iter(range(1, 10))
        original = tables.values

        def interrupted(self, which, words, *, at=at, calls=calls, original=original):
            if next(calls) == at:
                raise KeyboardInterrupt
            return original(self, which, words)

        with monkeypatch.context() as patch:
            patch.setattr(tables, "values", interrupted)
            with pytest.raises(KeyboardInterrupt):
                strategy.run({"x": X}, faults)
        assert memory.tobytes() == before
    assert bits_of(strategy.golden({"x": X})) == bits_of(ort_run(wide_cnn(), {"x": X}, threads=1))


def test_two_sessions_on_one_model_do_not_see_each_others_flips():
    """Each has a file of its own."""
    model = wide_cnn()
    space = FaultSpace.of(model)
    one, other = require_packing(model), require_packing(model)
    feeds = {"x": X}
    golden = bits_of(one.golden(feeds))
    faults, flips = drawn(space, 9, 4)
    flipped = bits_of(ort_run(naively_flipped(model, flips), feeds, threads=1))
    with one._flipped_in([one._whole], faults):
        assert bits_of(other.golden(feeds)) == golden
        assert bits_of(one.golden(feeds)) == flipped
        assert bits_of(other.run(feeds, faults)) == flipped
        assert bits_of(one.golden(feeds)) == flipped
    assert bits_of(one.golden(feeds)) == golden


@pytest.mark.skipif(sys.platform != "linux", reason="smaps is Linux's")
def test_onnx_runtime_never_writes_into_its_mapping(wide):
    """A page that it had written would be its own copy, and would no longer show flips."""
    strategy, space = wide
    for seed in range(3):
        strategy.run({"x": X}, drawn(space, 50, seed)[0])
    copied = []
    private = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            private = "packed.bin" in line and fields[1].endswith("p")
        elif private and fields[0] == "Anonymous:":
            copied.append(int(fields[1]))
    assert copied
    assert sum(copied) == 0


# ------------------------------------------------------------------ files


def test_no_file_is_left_behind(tmp_path, monkeypatch):
    """Not even while sessions are open, those on stretches of the model included."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    strategy = require_packing(wide_cnn())
    strategy.part(strategy.model, strategy.sizes.keys())
    assert list(tmp_path.iterdir()) == []


SLEEPER = """
import sys, time
from ftonnx.runtime import FaultySession
session = FaultySession(sys.argv[1], strategy="packed", threads=1)
print(session.strategy, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_leaves_no_file_behind(tmp_path):
    """Its mapping has no name any more."""
    path = tmp_path / "int8.onnx"
    path.write_bytes(wide_cnn().SerializeToString())
    own = tmp_path / "tmp"
    own.mkdir()
    environment = {**os.environ, "TMPDIR": str(own), "FTONNX_CACHE": "off"}
    command = [sys.executable, "-c", SLEEPER, str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        strategy = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert strategy == ("packed" if packs_as_known() else strategy)
    assert list(own.iterdir()) == []


# ------------------------------------------------------------------ other processes, and stretches


def test_another_process_opens_the_shared_weights_without_looking_for_their_places(tmp_path, monkeypatch):
    """With flips of its own, in a file of its own."""
    model = wide_cnn()
    require_packing(model)
    session = FaultySession(model, strategy="packed", threads=1, sample=X)
    session.share(tmp_path)

    def never(*_):
        raise AssertionError("the places are known")

    monkeypatch.setattr(packed_module, "find_packing", never)
    other = FaultySession.from_shared(tmp_path, model, threads=1)
    assert (other.strategy, other.fallback) == ("packed", None)
    faults, flips = drawn(FaultSpace.of(model), 9, 5)
    expected = bits_of(ort_run(naively_flipped(model, flips), {"x": X}, threads=1))
    assert bits_of(other.run(X, faults)) == expected
    assert bits_of(session.golden(X)) == bits_of(other.golden(X)) == bits_of(ort_run(model, {"x": X}, threads=1))
    assert set(other._strategy._whole.packed.names) == set(session._strategy._whole.packed.names)


def test_worker_processes_count_what_one_process_counts(tmp_path):
    """And what ``rebuild`` counts."""
    model = wide_cnn()
    require_packing(model)
    path = tmp_path / "int8.onnx"
    path.write_bytes(model.SerializeToString())
    images = random_floats(16, 3, 8, 8, seed=1, scale=1)
    labels = ort_run(model, {"x": images})[0].argmax(axis=1)
    options = {"rates": [1e-4, 1e-3], "repeats": 4, "batch_size": 8, "threads": 1}
    found = []
    for strategy, jobs in (("packed", 1), ("packed", 2), ("rebuild", 1)):
        result = ftonnx.evaluate(path, [(images, labels)], strategy=strategy, jobs=jobs, **options)
        assert (result.engine.strategy, result.engine.fallback) == (strategy, None)
        found.append([rate["top1"].mean for rate in result.rates])
    assert found[0] == found[1] == found[2]
    assert min(found[0]) < 1


def test_held_batches_start_from_golden_tensors():
    """Segments flip in files of their own."""
    model = wide_cnn()
    require_packing(model)
    space = FaultSpace.of(model)
    session = FaultySession(model, strategy="packed", threads=1, sample=X)
    held = session.hold(X, reuse=True)
    assert bits_of(held.golden) == bits_of(session.golden(X))
    for index, target in enumerate(space.targets):
        flips = [(target.tensor, target.elements - 1, 6)]
        expected = ort_run(naively_flipped(model, flips), {"x": X}, threads=1)
        assert bits_of(held.run(Faults([index], [target.elements - 1], [6]))) == bits_of(expected)
    assert session.work.skipped > 0
    assert bits_of(session.golden(X)) == bits_of(ort_run(model, {"x": X}, threads=1))


# ------------------------------------------------------------------ places, kept and not


def test_places_are_read_from_the_cache_and_looked_for_once(tmp_path, monkeypatch):
    """A damaged entry is looked for anew."""
    model = wide_cnn()
    known = require_packing(model, source=LayoutCache(tmp_path)).packing
    searches = []
    original = packed_module.find_packing

    def counted(*arguments):
        searches.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(packed_module, "find_packing", counted)
    again = open_strategy(Packed, model, source=LayoutCache(tmp_path))
    assert searches == []
    assert packing_bytes(again.packing) == packing_bytes(known)
    (entry,) = tmp_path.glob("*-packed.layout")
    entry.write_bytes(entry.read_bytes()[:-1])
    open_strategy(Packed, model, source=LayoutCache(tmp_path))
    assert len(searches) == 1


def test_a_wrong_entry_is_thrown_away(tmp_path, monkeypatch):
    """Its digest is right, and no block is as it says."""
    model = wide_cnn()
    require_packing(model, source=LayoutCache(tmp_path))
    (entry,) = tmp_path.glob("*-packed.layout")
    right = entry.read_bytes()
    wrong = read_packing(right)
    for place in wrong.values():
        place.below[[0, 1]] = place.below[[1, 0]]
    entry.write_bytes(packing_bytes(wrong))
    monkeypatch.setenv("FTONNX_CACHE", str(tmp_path))
    session = FaultySession(model, strategy="packed", threads=1, sample=X)
    assert (session.strategy, session.fallback) == ("packed", None)
    assert entry.read_bytes() == right


@pytest.mark.parametrize("keep", [0, 10, 60, 200, -1])
def test_cut_off_files_are_no_packings(wide, keep):
    """Refused in one way, whatever is missing."""
    strategy, _ = wide
    data = packing_bytes(strategy.packing)
    with pytest.raises(ValueError, match="not a packing"):
        read_packing(data[:keep])


def test_a_place_outside_its_block_is_refused(wide):
    """Nothing is read or written there."""
    strategy, _ = wide
    forged = read_packing(packing_bytes(strategy.packing))
    next(iter(forged.values())).below[0] = 2**30
    with pytest.raises(ValueError, match="leaves its block"):
        read_packing(packing_bytes(forged))
    odd = {name: replace(place, width=0) for name, place in strategy.packing.items()}
    with pytest.raises(ValueError, match="of such a width"):
        read_packing(packing_bytes(odd))


# ------------------------------------------------------------------ where it is not possible


def test_what_is_not_packed_so_falls_back_with_a_reason():
    """Named in the session."""
    convolutions = FaultSpace.of(small_cnn(), include=["w1", "w2"])
    session = FaultySession(small_cnn(), convolutions, strategy="packed", threads=1, sample=X)
    reason = "there are no weights of integers or matrix products, which ONNX Runtime would pack"
    assert (session.strategy, session.fallback) == ("rebuild", f"packed is not possible: {reason}")


def test_a_processor_that_packs_otherwise_is_noticed(monkeypatch):
    """No sums where they are expected, so nothing is followed."""
    require_packing(wide_cnn())
    monkeypatch.setattr(packing_module, "_has_sums", lambda *_: False)
    with pytest.raises(NotPossibleError, match="keeps no packed weights of this model where they can be flipped"):
        open_strategy(Packed, wide_cnn())


def test_other_systems_are_told_so(monkeypatch):
    """Their mappings are not known to show what is written."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NotPossibleError, match="on Linux only"):
        open_strategy(Packed, wide_cnn())


def test_sums_that_are_not_kept_up_do_not_pass_the_proof(monkeypatch):
    """What happens where a kernel keeps more than is known of."""
    require_packing(wide_cnn())
    original = PackedMemory.follow

    def without_sums(self, changes, undos):
        original(self, changes, undos)
        undos.pop()()

    monkeypatch.setattr(PackedMemory, "follow", without_sums)
    session = FaultySession(wide_cnn(), strategy="packed", threads=1, sample=X)
    assert session.strategy == "rebuild"
    assert "packed is not possible: its outputs differ from those of a fresh session" in session.fallback


def test_a_large_model_is_refused(monkeypatch):
    """It is not optimized, and would not fit into one message."""
    require_packing(wide_cnn())
    model = load_model(wide_cnn())
    monkeypatch.setattr(type(model), "large", True)
    with pytest.raises(NotPossibleError, match="over 2 GiB"):
        open_strategy(Packed, model)
