"""Half precision on a processor: the flips of 16 bits of the file in 32 bits of memory, against plain ONNX Runtime."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_zoo import bits_of, model_of, naively_flipped, ort_run, random_floats
from runtime_kit import half_net, node, open_strategy

from ftonnx.inject import Faults, FaultSpace
from ftonnx.runtime import FaultySession
from ftonnx.runtime.layout.widening import widening
from ftonnx.runtime.strategies.live import Live

HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def multiplied(words, name):
    """Return a model that multiplies (1, n, 1) by n stored words of a 16-bit type, cast to float32 on the way."""
    element = getattr(TensorProto, name.upper())
    weight = helper.make_tensor("w", element, [len(words), 1, 1], words.tobytes(), raw=True)
    nodes = [node("Cast", ["w"], ["f"], to=TensorProto.FLOAT), node("MatMul", ["x", "f"], ["y"])]
    shape = (len(words), 1, 1)
    return model_of(nodes, [weight], inputs={"x": shape}, outputs={"y": shape})


@pytest.mark.parametrize("name", HALVES)
def test_every_word_is_widened_as_by_a_session_that_casts(name):
    """All 65,536: subnormals, infinities and the payloads of NaN too."""
    words = np.arange(1 << 16, dtype=np.uint16)
    model = multiplied(words, name)
    del model.graph.node[1]
    model.graph.output[0].name = "f"
    (cast,) = ort_run(model, {"x": np.ones((1 << 16, 1, 1), np.float32)})
    found = widening(getattr(TensorProto, name.upper()), TensorProto.FLOAT)
    assert found.widened(words).tolist() == cast.view(np.uint32).ravel().tolist()


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("bit", [0, 9, 10, 14, 15])
def test_every_word_flips_to_what_a_flipped_file_computes(name, bit):
    """Each element is every finite word in turn, and its flip may be an infinity, NaN or subnormal."""
    words = np.arange(1 << 16, dtype=np.uint16)
    values = words.view(HALVES[name]).astype(np.float32)
    words = words[np.isfinite(values)]
    model = multiplied(words, name)
    space = FaultSpace.of(model, format="ieee")
    strategy = open_strategy(Live, model, space)
    x = {"x": np.ones((len(words), 1, 1), np.float32)}
    elements = range(len(words))
    faults = Faults([0] * len(words), elements, [bit] * len(words))
    expected = ort_run(multiplied(words ^ np.uint16(1 << bit), name), x, prepack=False)
    assert bits_of(strategy.run(x, faults)) == bits_of(expected)
    assert bits_of(strategy.golden(x)) == bits_of(ort_run(model, x, prepack=False))


@pytest.mark.parametrize("wide", ["FLOAT", "FLOAT16"])
@pytest.mark.parametrize("stored", ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"])
def test_eight_bits_keep_their_values(stored, wide):
    """As ml_dtypes casts them, but for which NaN it is."""
    element = getattr(TensorProto, stored)
    cast = widening(element, getattr(TensorProto, wide))
    words = np.arange(256, dtype=np.uint8)
    expected = words.view(helper.tensor_dtype_to_np_dtype(element)).astype(cast.wide)
    np.testing.assert_array_equal(cast.widened(words).view(cast.wide), expected)
    finite = np.isfinite(expected)
    assert cast.narrowed(cast.widened(words))[finite].tolist() == words[finite].tolist()
    assert cast.is_exact(cast.widened(words))[finite].all()


def test_only_floats_of_more_bits_hold_a_value():
    """Neither of the two halves holds the other, and integers are not followed."""
    assert widening(TensorProto.FLOAT16, TensorProto.BFLOAT16) is None
    assert widening(TensorProto.BFLOAT16, TensorProto.FLOAT16) is None
    assert widening(TensorProto.FLOAT, TensorProto.FLOAT) is None
    assert widening(TensorProto.INT8, TensorProto.FLOAT) is None


def test_words_that_are_no_cast_are_told():
    """A third of a float32's mantissa is more than a float16 has."""
    cast = widening(TensorProto.FLOAT16, TensorProto.FLOAT)
    values = np.float32([1, 1 + 2**-20, 65504, 65520, 2**-24, 2**-25, -0.0, np.inf])
    assert cast.is_exact(values.view(np.uint32)).tolist() == [True, False, True, False, True, False, True, True]


@pytest.mark.parametrize("format_name", ["auto", "ieee"])
def test_weights_biases_and_a_gemm_in_half_precision_flip_in_place(format_name):
    """Convolutions in the blocked layout, their biases, and a Gemm; faults are those of the file's words."""
    model = half_net()
    space = FaultSpace.of(model, format=format_name)
    assert {target.format.dtype for target in space.targets} == {np.dtype(np.float16)}
    x = random_floats(3, 3, 8, 8, seed=9, scale=1).astype(np.float16)
    session = FaultySession(model, space, threads=1, strategy="auto", sample=x)
    assert (session.strategy, session.fallback) == ("live", None)
    rng = np.random.default_rng(0)
    for target, each in enumerate(space.targets):
        element, bit = int(rng.integers(each.elements)), int(rng.integers(each.format.bits))
        flips = [(each.tensor, element, bit)]
        flipped = naively_flipped(model, flips, fixed=(15, 16) if format_name == "auto" else None)
        expected = ort_run(flipped, {"x": x}, prepack=False, threads=1)
        assert bits_of(session.run(x, Faults([target], [element], [bit]))) == bits_of(expected)


def test_tensors_that_stay_in_half_precision_flip_where_they_are():
    """Rows of a table are gathered in float16, and only what is computed with is cast."""
    table = random_floats(6, 4, seed=1).astype(np.float16)
    weight = random_floats(4, 3, seed=2).astype(np.float16)
    nodes = [node("Gather", ["table", "x"], ["rows"]), node("MatMul", ["rows", "w"], ["y"])]
    model = model_of(nodes, [("table", table), ("w", weight)], inputs={"x": ("n",)}, outputs={"y": ("n", 3)})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    x = np.int64([0, 5, 2])
    space = FaultSpace.of(model)
    strategy = open_strategy(Live, model, space)
    types = {array.dtype for array in strategy.memory.arrays.values()}
    assert types == {np.dtype(np.float16), np.dtype(np.float32)}
    flips = [("table", 20, 13), ("w", 7, 15)]
    names = [target.tensor for target in space.targets]
    faults = Faults(*zip(*((names.index(name), element, bit) for name, element, bit in flips), strict=True))
    expected = ort_run(naively_flipped(model, flips), {"x": x}, prepack=False)
    assert bits_of(strategy.run({"x": x}, faults)) == bits_of(expected)


def test_more_elements_than_labels_are_told_apart():
    """A float16 has 30,720 labels; the second digit tells the others apart, beside weights in float32."""
    weight = random_floats(300, 400, seed=1).astype(np.float16)
    nodes = [
        node("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
        node("MatMul", ["x", "f"], ["h"]),
        node("MatMul", ["h", "v"], ["y"]),
    ]
    model = model_of(
        nodes, [("w", weight), ("v", random_floats(400, 2, seed=2))], inputs={"x": ("n", 300)}, outputs={"y": ("n", 2)}
    )
    space = FaultSpace.of(model)
    strategy = open_strategy(Live, model, space)
    x = {"x": random_floats(2, 300, seed=3)}
    flips = [("w", 119_999, 16), ("w", 30_719, 17), ("v", 799, 16)]
    names = [target.tensor for target in space.targets]
    faults = Faults(*zip(*((names.index(name), element, bit) for name, element, bit in flips), strict=True))
    expected = ort_run(naively_flipped(model, flips), x, prepack=False, threads=1)
    assert bits_of(strategy.run(x, faults)) == bits_of(expected)
