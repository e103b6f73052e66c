"""Int8 networks of every kind that kernels pack, and whether this processor's kernels do."""

import functools
import itertools
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats, small_cnn
from runtime_kit import open_strategy

from ftonnx.quant import quantize
from ftonnx.runtime.layout.draft import NotPossibleError
from ftonnx.runtime.strategies.packed import Packed

node = helper.make_node
KNOWN = "avx512_vnni"


def packs_as_known():
    """Say whether this is a processor for which the packing is known to be followed."""
    facts = Path("/proc/cpuinfo")
    return facts.exists() and KNOWN in facts.read_text().split()


def require_packing(model, space=None, source=None):
    """Open the strategy; skip the test where the processor's kernels pack otherwise, and only there."""
    try:
        return open_strategy(Packed, model, space, source)
    except NotPossibleError as error:
        if packs_as_known():
            raise
        pytest.skip(f"ONNX Runtime packs otherwise on this processor: {error}")


@functools.cache
def _int8_cnn():
    return quantize(small_cnn(), [random_floats(3, 3, 8, 8, seed=9, scale=1)]).proto.SerializeToString()


def int8_cnn():
    """Return the small CNN quantized (QDQ, int8 weights per channel)."""
    return onnx.ModelProto.FromString(_int8_cnn())


def wide_cnn():
    """Return an int8 CNN: convolutions of every kind, with a bias and without, and a Gemm."""
    return onnx.ModelProto.FromString(_wide_cnn())


@functools.cache
def _wide_cnn():
    plain = model_of(
        [
            node("Conv", ["x", "w1"], ["a"], name="first", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["ra"]),
            node("Conv", ["ra", "w2", "b2"], ["b"], name="plain", pads=[1, 1, 1, 1]),
            node("Relu", ["b"], ["rb"]),
            node("Conv", ["rb", "w3"], ["c"], name="grouped", pads=[1, 1, 1, 1], group=4),
            node("Relu", ["c"], ["rc"]),
            node("Conv", ["rc", "w4", "b4"], ["d"], name="depthwise", pads=[1, 1, 1, 1], group=128),
            node("Relu", ["d"], ["rd"]),
            node("Conv", ["rd", "w5"], ["e"], name="last", pads=[1, 1, 1, 1]),
            node("Add", ["e", "rb"], ["f"]),
            node("GlobalAveragePool", ["f"], ["p"]),
            node("Flatten", ["p"], ["v"]),
            node("Gemm", ["v", "w6", "b6"], ["y"], name="fc", transB=1),
        ],
        [
            ("w1", random_floats(32, 3, 3, 3, seed=1)),
            ("w2", random_floats(32, 32, 3, 3, seed=2, scale=0.1)),
            ("b2", random_floats(32, seed=3)),
            ("w3", random_floats(128, 8, 3, 3, seed=4)),
            ("w4", random_floats(128, 1, 3, 3, seed=5)),
            ("b4", random_floats(128, seed=6)),
            ("w5", random_floats(32, 128, 3, 3, seed=7, scale=0.1)),
            ("w6", random_floats(50, 32, seed=8)),
            ("b6", random_floats(50, seed=9)),
        ],
    )
    return quantize(plain, [random_floats(3, 3, 8, 8, seed=9, scale=1)]).proto.SerializeToString()


def products(names="abc", *, shape=(64, 32), repeated=False, unsigned=False):
    """Return MatMulIntegers on one input, each with a weight of its own, and the sum of what they give.

    Args:
        names: of the weights.
        shape: of a weight.
        repeated: give all of them the same content.
        unsigned: store them as uint8.
    """
    kind = np.uint8 if unsigned else np.int8
    weights = []
    for seed, name in enumerate(names):
        rng = np.random.default_rng(0 if repeated else seed)
        weights.append((name, rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)))
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        *(node("MatMulInteger", ["q", name, "zero"], [f"{name}o"], name=f"times {name}") for name in names),
        *(node("Cast", [f"{name}o"], [f"{name}f"], to=TensorProto.FLOAT) for name in names),
        *(node("Mul", [f"{name}f", f"{name}s"], [f"{name}m"]) for name in names),
        node("Sum", [f"{name}m" for name in names], ["y"]),
    ]
    # other factors, so that two weights that were mixed up would be seen
    factors = [(f"{name}s", np.float32(2.0**-place)) for place, name in enumerate(names)]
    return model_of(nodes, [*weights, *factors], inputs={"x": (None, shape[0])})


def four_bit_perceptron(sizes=(64, 96, 40), *, block=32, accuracy=None):
    """Return layers of MatMulNBits, two elements of a weight to a byte.

    Args:
        sizes: of the layers.
        block: elements that share a scale.
        accuracy: 4 computes in int8, None in float32; they are packed differently.
    """
    nodes = []
    stored = []
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        rng = np.random.default_rng(layer)
        blocks = -(-inputs // block)
        stored.append((f"w{layer}", rng.integers(0, 256, (outputs, blocks, block // 2), np.uint8)))
        stored.append((f"s{layer}", np.abs(random_floats(outputs * blocks, seed=layer)) / 8))
        options = {"K": inputs, "N": outputs, "bits": 4, "block_size": block}
        if accuracy is not None:
            options["accuracy_level"] = accuracy
        source = f"r{layer - 1}" if layer else "x"
        names = [source, f"w{layer}", f"s{layer}"]
        nodes.append(node("MatMulNBits", names, [f"h{layer}"], domain="com.microsoft", **options))
        nodes.append(node("Relu", [f"h{layer}"], [f"r{layer}"]))
    nodes[-1] = node("Identity", [f"h{layer}"], ["y"])
    shape = {"inputs": {"x": (None, sizes[0])}, "outputs": {"y": (None, sizes[-1])}}
    return model_of(nodes, stored, domains=["com.microsoft"], **shape)


def float_products():
    """Return a Gemm of transposed and a MatMul of plain float weights, deeper than a piece of packing, after a Conv."""
    return model_of(
        [
            node("Conv", ["x", "w1"], ["a"], name="first"),
            node("Flatten", ["a"], ["b"]),
            node("Gemm", ["b", "w2", "b2"], ["c"], name="transposed", transB=1),
            node("Relu", ["c"], ["d"]),
            node("MatMul", ["d", "w3"], ["y"], name="plain"),
        ],
        [
            ("w1", random_floats(8, 3, 3, 3, seed=1)),
            ("w2", random_floats(300, 288, seed=2, scale=0.1)),
            ("b2", random_floats(300, seed=3)),
            ("w3", random_floats(300, 35, seed=4)),
        ],
    )


def dynamic_perceptron(folder, kind):
    """Quantize two layers, (batch, 64) to (batch, 40), dynamically with ONNX Runtime's own tool."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.save(_perceptron(), folder / "float.onnx")
    before = logging.getLogger().level
    # else its advice would be printed
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(folder / "float.onnx", folder / "int8.onnx", weight_type=QuantType[kind])
    logging.getLogger().setLevel(before)
    return onnx.load(folder / "int8.onnx")


def _perceptron():
    return model_of(
        [
            node("MatMul", ["x", "w1"], ["a"], name="first"),
            node("Add", ["a", "b1"], ["b"]),
            node("Relu", ["b"], ["c"]),
            node("MatMul", ["c", "w2"], ["d"], name="second"),
            node("Add", ["d", "b2"], ["y"]),
        ],
        [
            ("w1", random_floats(64, 96, seed=1)),
            ("b1", random_floats(96, seed=2)),
            ("w2", random_floats(96, 40, seed=3)),
            ("b2", random_floats(40, seed=4)),
        ],
        inputs={"x": (None, 64)},
    )
