"""Stored tensors that several nodes read: each use has the form that it needs."""

import numpy as np
import pytest
from onnx_zoo import model_of, random_floats
from quant_graphs import branch, conv, disagreement, head
from quant_kit import batches, node, operators, tensors

from ftonnx.quant import QuantSettings, quantize

DATA = batches(2, 8)
CLOSE = 0.04
FORMATS = pytest.mark.parametrize("form", ["qdq", "qoperator"])
SCALES = pytest.mark.parametrize("per_channel", [True, False])


def settings(form, per_channel=True):
    """Return settings whose ranges are those of the data, so that nothing saturates."""
    return QuantSettings(quant_format=form, per_channel=per_channel, calibration="minmax")


def called_twice():
    """Return a net whose second and third Conv share weight and bias."""
    nodes, stored = head("r3")
    return model_of(
        [
            conv("x", "a", "w1", "b1"), node("Relu", ["a"], ["r1"], name="relu1"),
            conv("r1", "b", "w2", "b2"), node("Relu", ["b"], ["r2"], name="relu2"),
            conv("r2", "c", "w2", "b2"), node("Relu", ["c"], ["r3"], name="relu3"),
            *nodes,
        ],
        [
            ("w1", random_floats(8, 3, 3, 3)), ("b1", random_floats(8, seed=1)),
            ("w2", random_floats(8, 8, 3, 3, seed=2, scale=0.1)), ("b2", random_floats(8, seed=3, scale=2.0)),
            *stored,
        ],
    )  # fmt: skip


def bias_codes_and_scales(model):
    """Return (codes, scale of the input times that of the weight) of every Conv that has a bias, in graph order."""
    stored = tensors(model)
    makers = {name: each for each in model.graph.node for name in each.output}
    found = []
    for each in model.graph.node:
        if each.op_type == "QLinearConv":
            found.append((stored[each.input[8]], stored[each.input[1]] * stored[each.input[4]]))
        elif each.op_type == "Conv":
            shown, weight, bias = (makers[name] for name in each.input)
            found.append((stored[bias.input[0]], stored[shown.input[1]] * stored[weight.input[1]]))
    return found


@FORMATS
@SCALES
def test_a_block_that_is_called_twice_has_a_bias_for_each_call(form, per_channel):
    """Codes are round(b / (S_x S_w)) with the scales of that call; the weight is stored once."""
    model = called_twice()
    result, report = quantize(model, DATA, settings(form, per_channel))
    original = tensors(model)
    found = bias_codes_and_scales(result)
    assert len(found) == 3
    for (codes, scale), name in zip(found, ("b1", "b2", "b2"), strict=True):
        np.testing.assert_array_equal(codes, np.rint(original[name] / scale.astype(np.float64)))
    assert not np.array_equal(found[1][0], found[2][0])
    assert (report.weights, report.biases) == (3, 4)
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_a_larger_scale_of_a_shared_weight_reaches_the_biases_of_earlier_calls(form):
    """Where the bias of a channel does not fit into 32 bits, as at the second call, whose input has a small scale."""
    nodes, stored = head("r2")
    weight = random_floats(8, 8, 3, 3, seed=2, scale=0.1).copy()
    weight[0] *= 1e-9
    bias = random_floats(8, seed=3)
    bias[0] = 2.0
    model = model_of(
        [
            conv("x", "a", "w1", "b1"), conv("a", "b", "w2", "b2"),
            node("Relu", ["b"], ["r1"], name="relu1"), node("Mul", ["r1", "small"], ["s"], name="smaller"),
            conv("s", "c", "w2", "b2"), node("Relu", ["c"], ["r2"], name="relu2"), *nodes,
        ],
        [
            ("w1", random_floats(8, 3, 3, 3)), ("b1", random_floats(8, seed=1)), ("w2", weight), ("b2", bias),
            ("small", np.float32(1e-3)), *stored,
        ],
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings(form))
    found = bias_codes_and_scales(result)[-2:]
    for codes, scale in found:
        np.testing.assert_allclose(codes * scale.astype(np.float64), bias, atol=0.6 * scale.max(), rtol=1e-6)
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_a_weight_with_two_axes_of_channels_is_stored_for_each(form):
    """A tied autoencoder reads it and its transpose: scales per row, and per column."""
    model = model_of(
        [
            node("GlobalAveragePool", ["x"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flatten"),
            node("Gemm", ["f", "w", "b"], ["h"], name="encode", transB=1),
            node("Tanh", ["h"], ["t"], name="tanh"),
            node("Gemm", ["t", "w", "c"], ["y"], name="decode"),
        ],
        [("w", random_floats(7, 3)), ("b", random_floats(7, seed=1)), ("c", random_floats(3, seed=2))],
    )
    result, report = quantize(model, DATA, settings(form))
    stored = tensors(result)
    weight = tensors(model)["w"]
    np.testing.assert_allclose(stored["w_scale"], np.abs(weight).max(axis=1) / 127, rtol=1e-6)
    np.testing.assert_allclose(stored["w_2_scale"], np.abs(weight).max(axis=0) / 127, rtol=1e-6)
    assert report.weights == 2
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@SCALES
@pytest.mark.parametrize("reader", ["Add", "Reshape", "MatMul", "Transpose", "Gather"])
def test_whoever_reads_a_weight_or_bias_besides_gets_its_values(form, per_channel, reader):
    """Not the codes of the Gemm: its bias in an Add, its weight as a summand, transposed, or looked up."""
    others = {
        "Add": [node("Add", ["h", "b"], ["s"], name="again")],
        "Reshape": [node("Reshape", ["b", "shape"], ["row"], name="row"), node("Add", ["h", "row"], ["s"], name="add")],
        "MatMul": [node("MatMul", ["h", "w"], ["m"], name="m"), node("Add", ["m", "w"], ["s"], name="summand")],
        "Transpose": [
            node("Transpose", ["w"], ["t"], name="t"), node("MatMul", ["h", "t"], ["s"], name="m"),
        ],
        "Gather": [node("Gather", ["w", "row_number"], ["e"], name="look"), node("Add", ["h", "e"], ["s"], name="a")],
    }  # fmt: skip
    spread = np.logspace(-1, 0.5, 3, dtype=np.float32)
    model = model_of(
        [
            node("GlobalAveragePool", ["x"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flatten"),
            node("Gemm", ["f", "w", "b"], ["h"], name="fc"),
            *others[reader],
            node("MatMul", ["s", "v"], ["y"], name="last"),
        ],
        [
            ("w", random_floats(3, 3) * spread), ("b", random_floats(3, seed=1)),
            ("v", random_floats(3, 4, seed=2)), ("shape", np.array([1, 3])), ("row_number", np.array([2])),
        ],
        inputs={"x": (3, 3, 8, 8)},
    )  # fmt: skip
    data = batches(3, 3)
    result, _ = quantize(model, data, settings(form, per_channel))
    assert disagreement(model, result, data[0]) < CLOSE


@FORMATS
def test_a_constant_that_two_pads_share_stays_with_both(form):
    """In operator format the quantizer takes it away from the second."""
    model = model_of(
        [
            conv("x", "a", "w1"), node("Pad", ["a", "by", "with"], ["p"], name="pad1"),
            conv("p", "b", "w2"), node("Pad", ["b", "by", "with"], ["y"], name="pad2"),
        ],
        [
            ("w1", random_floats(4, 3, 3, 3)), ("w2", random_floats(4, 4, 3, 3, seed=1)),
            ("by", np.array([0, 0, 1, 1, 0, 0, 1, 1])), ("with", np.float32(0.3)),
        ],
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings(form))
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_a_branch_reads_the_stored_values(form):
    """The weight and bias of a Conv outside, in floating point."""
    nodes, stored = head("s")
    inside = branch([conv("x", "inner", "w", "b")], "inner")
    other = branch([node("Neg", ["a"], ["negative"])], "negative")
    model = model_of(
        [
            conv("x", "a", "w", "b"),
            node("ReduceSum", ["x"], ["sum"], name="sum", keepdims=0),
            node("Greater", ["sum", "low"], ["so"], name="so"),
            node("If", ["so"], ["i"], name="if", then_branch=inside, else_branch=other),
            node("Add", ["a", "i"], ["s"], name="add"),
            *nodes,
        ],
        [
            ("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1)), ("low", np.float32(-1e6)), *stored,
        ],
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings(form))
    np.testing.assert_array_equal(tensors(result)["w"], tensors(model)["w"])
    np.testing.assert_array_equal(tensors(result)["b"], tensors(model)["b"])
    assert operators(result)["If"] == 1
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_an_excluded_node_keeps_the_values_that_it_shares(form):
    """The others get codes of their own."""
    model = called_twice()
    result, _ = quantize(model, DATA, QuantSettings(quant_format=form, exclude_nodes=("conv_b",)))
    np.testing.assert_array_equal(tensors(result)["w2"], tensors(model)["w2"])
    assert tensors(result)["w2_2_quantized"].dtype == np.int8
