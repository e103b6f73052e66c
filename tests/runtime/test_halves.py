"""Packed weights of four bits: every half byte is found, changed and put back."""

import numpy as np
import pytest
from onnx_zoo import bits_of, naively_flipped, ort_run, random_floats
from packed_kit import four_bit_perceptron, packs_as_known, require_packing

from ftonnx.inject import BitFlipRates, Faults, FaultSpace, unit_rng
from ftonnx.runtime import FaultySession
from ftonnx.runtime.layout.cache import LayoutCache
from ftonnx.runtime.layout.halves import HalfPlace
from ftonnx.runtime.layout.packed_halves import PackedHalves
from ftonnx.runtime.layout.packing_file import packing_bytes, read_packing

SIZES = (192, 70, 33)  # no multiple of what kernels take at a time
X = random_floats(3, 192, seed=3, scale=1)


@pytest.mark.parametrize("accuracy", [None, 4])
@pytest.mark.parametrize("block", [16, 32, 64, 128])
def test_patterns_run_as_on_a_flipped_file_in_every_kind_of_block(block, accuracy):
    """Many flips at once, two in one byte among them, and each row's last, which may be padding's neighbour."""
    model = four_bit_perceptron(SIZES, block=block, accuracy=accuracy)
    strategy = require_packing(model)
    space = FaultSpace.of(model)
    feeds = {"x": X}
    golden = bits_of(ort_run(model, feeds, threads=1))
    names = [target.tensor for target in space.targets]
    for seed in range(3):
        faults = BitFlipRates(3e-3).draw(space, unit_rng(seed, 3e-3, 0, 0))
        triples = zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True)
        flips = [(names[target], element, bit) for target, element, bit in triples]
        flips += [(names[0], 5, bit) for bit in (0, 7) if (names[0], 5, bit) not in flips]
        every = Faults(*zip(*((names.index(name), element, bit) for name, element, bit in flips), strict=True))
        expected = bits_of(ort_run(naively_flipped(model, flips), feeds, threads=1))
        assert bits_of(strategy.run(feeds, every)) == expected != golden
    assert bits_of(strategy.golden(feeds)) == golden


@pytest.mark.skipif(not packs_as_known(), reason="which weights are packed depends on the processor")
@pytest.mark.parametrize("accuracy", [None, 4])
def test_all_large_weights_are_followed_and_every_half_has_a_place(accuracy):
    """Of its own; the map is much smaller than the weight."""
    strategy = require_packing(four_bit_perceptron((512, 256, 64), accuracy=accuracy))
    assert set(strategy._whole.packed.names) == {"w0", "w1"}
    place = strategy.packing["w0"]
    assert isinstance(place, HalfPlace)
    positions = place.positions(np.arange(place.elements))
    assert len(set(positions.tolist())) == place.elements == 512 * 256
    assert place.below.size + place.run.size + place.steps.size < place.elements / 10


def test_places_survive_the_file_and_are_checked():
    """Written, read back, and refused where one leaves its block."""
    packing = require_packing(four_bit_perceptron()).packing
    again = read_packing(packing_bytes(packing))
    for name, place in packing.items():
        every = np.arange(place.elements)
        assert np.array_equal(again[name].positions(every), place.positions(every))
    again["w0"].below[0] = 2**30
    with pytest.raises(ValueError, match="leaves its block"):
        read_packing(packing_bytes(again))


def test_a_wrong_place_explains_no_block():
    """So a weight is not followed where its map is of another one."""
    packing = require_packing(four_bit_perceptron()).packing
    place = packing["w0"]
    weight = np.random.default_rng(0).integers(0, 256, place.elements // 2, np.uint8)
    block = np.zeros(place.size, np.uint8)
    assert not place.explains(block, weight)
    assert not place.explains(block[1:], weight)
    assert not place.explains(block, weight[1:])


def test_another_session_reads_places_from_the_cache(tmp_path, monkeypatch):
    """And finds them nowhere else."""
    model = four_bit_perceptron()
    known = require_packing(model, source=LayoutCache(tmp_path)).packing

    def never(*_):
        raise AssertionError("the places are known")

    monkeypatch.setattr("ftonnx.runtime.strategies.packed.find_packing", never)
    again = require_packing(model, source=LayoutCache(tmp_path)).packing
    assert packing_bytes(again) == packing_bytes(known)


def test_an_interrupt_between_two_writes_leaves_no_trace(monkeypatch):
    """What was noted is put back."""
    model = four_bit_perceptron()
    strategy = require_packing(model)
    feeds = {"x": random_floats(2, 64, seed=1)}
    golden = bits_of(strategy.golden(feeds))
    before = strategy._whole.packed._bytes.tobytes()
    original = PackedHalves.follow

    def interrupted(self, changes, undos):
        original(self, changes, undos)
        assert strategy._whole.packed._bytes.tobytes() != before
        raise KeyboardInterrupt

    monkeypatch.setattr(PackedHalves, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        strategy.run(feeds, Faults([0, 1], [3, 4], [1, 6]))
    monkeypatch.undo()
    assert strategy._whole.packed._bytes.tobytes() == before
    assert bits_of(strategy.golden(feeds)) == golden


def test_scales_that_can_flip_are_run_right_whatever_the_strategy():
    """A packed block holds what is computed from them, so kernels are given none of it then."""
    model = four_bit_perceptron(accuracy=4)
    space = FaultSpace.of(model, roles=["weight", "scale"])
    assert {"w0", "s0"} <= {target.tensor for target in space.targets}
    session = FaultySession(model, space, threads=1, sample=X[:, :64])
    names = [target.tensor for target in space.targets]
    flips = [("w0", 77, 5), ("s0", 3, 14), ("s1", 60, 15)]
    faults = Faults(*zip(*((names.index(name), element, bit) for name, element, bit in flips), strict=True))
    expected = ort_run(naively_flipped(model, flips), {"x": X[:, :64]}, threads=1, prepack=session.options.prepack)
    assert bits_of(session.run(X[:, :64], faults)) == bits_of(expected)
