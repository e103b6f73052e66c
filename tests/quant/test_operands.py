"""Gemm and its kin with factors, biases of every shape, and inputs that are left out."""

import numpy as np
import pytest
from onnx_zoo import model_of, random_floats
from quant_graphs import conv, disagreement
from quant_kit import batches, node, operators, tensors

from ftonnx.errors import ModelError
from ftonnx.quant import QuantSettings, quantize

DATA = batches(2, 4)
CLOSE = 0.04
FORMATS = pytest.mark.parametrize("form", ["qdq", "qoperator"])
SCALES = pytest.mark.parametrize("per_channel", [True, False])


def settings(form, per_channel=True):
    """Return settings whose ranges are those of the data, so that nothing saturates."""
    return QuantSettings(quant_format=form, per_channel=per_channel, calibration="minmax")


def gemm_net(bias, batch="batch", **attributes):
    """Return a pooling and a Gemm of 3 by 7 with the given bias."""
    return model_of(
        [
            node("GlobalAveragePool", ["x"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flatten"),
            node("Gemm", ["f", "w", "b"], ["y"], name="fc", transB=1, **attributes),
        ],
        [("w", random_floats(7, 3)), ("b", bias)],
        inputs={"x": (batch, 3, 8, 8)},
    )


@FORMATS
@SCALES
@pytest.mark.parametrize("factors", [{"alpha": 2.0}, {"beta": 0.25}, {"beta": 0.0}, {"alpha": 0.5, "beta": 3.0}])
def test_factors_of_a_gemm_go_into_weight_and_bias(form, per_channel, factors):
    """Its result is alpha A B + beta C, also in integers."""
    model = gemm_net(random_floats(7, seed=1), **factors)
    result, report = quantize(model, DATA, settings(form, per_channel))
    assert report.weights == 1
    assert disagreement(model, result, DATA[0]) < CLOSE
    codes = tensors(result)["w_quantized"].astype(np.float64)
    scale = tensors(result)["w_scale"].reshape(-1, 1)
    wanted = tensors(model)["w"] * factors.get("alpha", 1.0)
    np.testing.assert_allclose(codes * scale, wanted, atol=0.51 * scale.max())


@FORMATS
@SCALES
def test_gemms_with_other_factors_share_a_weight_and_a_bias(form, per_channel):
    """Each has its own product."""
    model = model_of(
        [
            node("GlobalAveragePool", ["x"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flatten"),
            node("Gemm", ["f", "w", "b"], ["h"], name="fc1", transB=1, alpha=0.5, beta=2.0),
            node("Gemm", ["f", "w", "b"], ["k"], name="fc2", transB=1, alpha=3.0),
            node("Gemm", ["f", "w", "b"], ["l"], name="fc3", transB=1, alpha=3.0, beta=2.0),
            node("Sum", ["h", "k", "l"], ["y"], name="sum"),
        ],
        [("w", random_floats(7, 3)), ("b", random_floats(7, seed=1))],
    )
    result, report = quantize(model, DATA, settings(form, per_channel))
    assert report.weights == 2
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@SCALES
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 7)])
def test_a_bias_that_is_the_same_for_every_row_becomes_a_vector(form, per_channel, shape):
    """One number, or one row, stored as int32 per channel."""
    model = gemm_net(np.asarray(random_floats(*shape, seed=1)))
    result, report = quantize(model, DATA, settings(form, per_channel))
    assert (report.weights, report.biases) == (1, 1)
    assert tensors(result)["b_quantized"].shape == (7,)
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_a_bias_with_a_row_per_image_leaves_its_gemm_in_floating_point(form):
    """It has no scale per channel; with one scale per tensor it has one."""
    model = gemm_net(random_floats(4, 7, seed=1), batch=4)
    model.graph.node.insert(0, conv("x", "c", "k"))
    model.graph.node[1].input[0] = "c"
    model.graph.initializer.append(model_of([], [("k", random_floats(3, 3, 3, 3))], outputs=()).graph.initializer[0])
    result, report = quantize(model, DATA, settings(form))
    assert operators(result)["Gemm"] == 1
    assert report.weights == 1
    assert disagreement(model, result, DATA[0]) < CLOSE
    assert quantize(model, DATA, settings(form, per_channel=False)).report.weights == 2


@FORMATS
@pytest.mark.parametrize("op", ["Conv", "Gemm"])
def test_a_bias_that_is_computed_is_added_in_floating_point(form, op):
    """In operator format by the FP32 operator."""
    flat = [node("GlobalAveragePool", ["c"], ["g"], name="pool"), node("Flatten", ["g"], ["f"], name="flatten")]
    last = {
        "Conv": [node("ReduceMean", ["c"], ["m"], name="mean", keepdims=0),
                 node("Mul", ["m", "b"], ["bias"], name="mul"), node("Conv", ["c", "w4", "bias"], ["y"], name="last")],
        "Gemm": [*flat, node("Abs", ["f"], ["bias"], name="abs"),
                 node("Gemm", ["f", "w2", "bias"], ["y"], name="last", transB=1)],
    }  # fmt: skip
    model = model_of(
        [conv("x", "c", "k"), *last[op]],
        [
            ("k", random_floats(3, 3, 3, 3)), ("b", random_floats(5)), ("w4", random_floats(5, 3, 3, 3, seed=1)),
            ("w2", random_floats(3, 3, seed=1)),
        ],
    )  # fmt: skip
    result, report = quantize(model, DATA, settings(form))
    assert report.weights == (2 if form == "qdq" else 1)
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@SCALES
def test_an_input_with_an_empty_name_is_left_out(form, per_channel):
    """As some exporters write a Conv without bias."""
    model = model_of([node("Conv", ["x", "w", ""], ["y"], name="conv")], [("w", random_floats(7, 3, 3, 3))])
    result, report = quantize(model, DATA, settings(form, per_channel))
    assert (report.weights, report.biases) == (1, 0)
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@SCALES
@pytest.mark.parametrize("group", [1, 2])
def test_a_transposed_conv_with_groups_and_bias_has_no_scale_per_channel(form, per_channel, group):
    """It stays in floating point then; without groups it does not, and QDQ has it."""
    model = model_of(
        [conv("x", "c", "k"), node("ConvTranspose", ["c", "w", "b"], ["y"], name="up", group=group)],
        [("k", random_floats(4, 3, 3, 3)), ("w", random_floats(4, 3, 2, 2, seed=1)), ("b", random_floats(3 * group))],
    )
    result, report = quantize(model, DATA, settings(form, per_channel))
    in_integers = form == "qdq" and not (per_channel and group == 2)
    assert report.weights == (2 if in_integers else 1)
    assert disagreement(model, result, DATA[0]) < CLOSE


@SCALES
@pytest.mark.parametrize("axis", [-1, -2])
def test_a_layer_normalization_over_any_axes(per_channel, axis):
    """Its scale has one or two axes."""
    shape = (8, 8)[:-axis]
    model = model_of(
        [
            conv("x", "c", "k"),
            node("LayerNormalization", ["c", "g", "b"], ["n"], name="norm", axis=axis),
            conv("n", "y", "l"),
        ],
        [
            ("k", random_floats(8, 3, 3, 3)), ("g", 1 + random_floats(*shape, scale=0.1)),
            ("b", random_floats(*shape, seed=1)), ("l", random_floats(8, 8, 3, 3, seed=2)),
        ],
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings("qdq", per_channel))
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_resize_of_any_mode(form, mode):
    """ONNX Runtime has no cubic one for integers."""
    model = model_of(
        [
            conv("x", "c", "k"), node("Resize", ["c", "", "scales"], ["r"], name="larger", mode=mode),
            conv("r", "y", "l"),
        ],
        [
            ("k", random_floats(4, 3, 3, 3)), ("scales", np.float32([1, 1, 1.5, 2])),
            ("l", random_floats(4, 4, 3, 3, seed=1)),
        ],
    )  # fmt: skip
    result, report = quantize(model, DATA, settings(form))
    assert report.weights == 2
    assert disagreement(model, result, DATA[0]) < CLOSE


def test_a_model_of_which_nothing_can_be_quantized_is_refused():
    """Here its only Gemm has a bias for every image."""
    with pytest.raises(
        ModelError, match="nothing to quantize: no Conv, Gemm or MatMul is left with stored FP32 weights"
    ):
        quantize(gemm_net(random_floats(4, 7), batch=4), DATA, settings("qdq"))
