"""Weights of four bits behind DequantizeLinear: flipped where ONNX Runtime's optimizer puts them."""

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats
from packed_kit import require_packing
from runtime_kit import open_strategy

from ftonnx.inject import BitFlipRates, FaultSpace, unit_rng
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.strategies.live import Live
from ftonnx.runtime.strategies.packed import Packed
from ftonnx.runtime.strategies.rebuild import Rebuild

LOWEST = {"int4": -8, "uint4": 0}


def product(kind, *, inputs=72, outputs=33, block=16):
    """Return a product with a matrix of four bits, whose last block is part empty; it becomes a MatMulNBits."""
    codes = np.random.default_rng(0).integers(LOWEST[kind], LOWEST[kind] + 16, (inputs, outputs)).astype(kind)
    scales = np.abs(random_floats(-(-inputs // block), outputs, seed=1)) / 8
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"], axis=0, block_size=block),
        helper.make_node("MatMul", ["x", "f"], ["y"]),
    ]
    stored = [numpy_helper.from_array(codes, "w"), ("s", scales)]
    return model_of(nodes, stored, opset=21, inputs={"x": ("n", inputs)}, outputs={"y": ("n", outputs)})


def convolution(kind, *, outputs=5):
    """Return a convolution with an odd number of weights of four bits, which stay as they are."""
    codes = np.random.default_rng(0).integers(LOWEST[kind], LOWEST[kind] + 16, (outputs, 3, 3, 3)).astype(kind)
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["f"]), helper.make_node("Conv", ["x", "f"], ["y"])]
    return model_of(nodes, [numpy_helper.from_array(codes, "w"), ("s", np.float32(0.25))], opset=21)


CASES = [(make, kind) for make in (product, convolution) for kind in LOWEST]


def check(strategy, model, x):
    """Run patterns in which both halves of a byte are hit, and compare with flipped files."""
    space = FaultSpace.of(model)
    prepack = strategy.options.prepack
    golden = bits_of(ort_run(model, {"x": x}, threads=1, prepack=prepack))
    for seed in range(3):
        faults = BitFlipRates(0.1).draw(space, unit_rng(seed, 0.1, 0, 0))
        flips = [("w", element, bit) for element, bit in zip(faults.element.tolist(), faults.bit.tolist(), strict=True)]
        expected = bits_of(ort_run(naively_flipped(model, flips), {"x": x}, threads=1, prepack=prepack))
        assert bits_of(strategy.run({"x": x}, faults)) == expected != golden
        assert bits_of(strategy.golden({"x": x})) == golden


def images(model):
    """Return random inputs."""
    return random_floats(3, *(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]), seed=5)


@pytest.mark.parametrize(("make", "kind"), CASES)
def test_flips_run_as_on_a_flipped_file(make, kind):
    """In many elements at a time, signed and not, moved by the optimizer and not."""
    model = make(kind)
    check(open_strategy(Rebuild, model), model, images(model))


@pytest.mark.parametrize("kind", LOWEST)
def test_what_stays_where_it_is_flips_in_one_session(kind):
    """The nodes behind it read four bits at every run."""
    model = convolution(kind)
    check(open_strategy(Live, model), model, images(model))


def test_a_kernel_that_would_compute_otherwise_is_not_run_unpacked():
    """MatMulNBits at accuracy level 4, which ONNX Runtime chooses, rounds its inputs if weights are packed."""
    with pytest.raises(NotPossibleError, match="accuracy level 4 rounds its inputs"):
        open_strategy(Live, product("int4"))


@pytest.mark.parametrize("kind", LOWEST)
def test_what_becomes_a_packed_weight_is_followed_there(kind):
    """From the file's elements to MatMulNBits' bytes, and on to the packed block."""
    model = product(kind, inputs=128, block=32)
    strategy = require_packing(model)
    assert isinstance(strategy, Packed)
    check(strategy, model, images(model))


def test_every_byte_is_put_back():
    """Looked at in memory."""
    model = product("int4")
    strategy = open_strategy(Rebuild, model)
    before = {name: array.tobytes() for name, array in strategy.memory.arrays.items()}
    faults = BitFlipRates(0.3).draw(FaultSpace.of(model), unit_rng(0, 0.3, 0, 0))
    with strategy.flipped(faults):
        assert {name: array.tobytes() for name, array in strategy.memory.arrays.items()} != before
    assert {name: array.tobytes() for name, array in strategy.memory.arrays.items()} == before
