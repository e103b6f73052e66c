"""Static quantization of whole models: equations, formats, calibration, and what is refused."""

import logging
import tracemalloc

import numpy as np
import onnx
import pytest
from exact_kernels import exact_run, saturates
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, random_floats, small_cnn
from quant_kit import (
    batches,
    calibration,
    clip_above_function,
    dequantized,
    digits_accuracy,
    images,
    inside,
    node,
    operators,
    quantized,
    residual_cnn,
    tensors,
)

import ftonnx.quant
from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.inject import FaultSpace
from ftonnx.models import resolve
from ftonnx.quant import CALIBRATIONS, QuantSettings, quantize

DIGITS = onnx.load(resolve("digits"))


def digits_batches(split="train", limit=256):
    """Return the images of a split of the digits in batches of 64."""
    return [images for images, _ in load_dataset("digits", split=split, limit=limit).batches(64)]


def test_public_names_are_the_contract():
    """What other rooms and users rely on."""
    assert sorted(ftonnx.quant.__all__) == [
        "Activation", "CALIBRATIONS", "CalibrationCache", "ClippedActivation", "Int8Writer", "QuantReport",
        "QuantSettings", "Quantized", "Ranges", "RunningHistogram", "Written", "channel_axis", "digest",
        "images_per_batch", "only_array", "quantize",
    ]  # fmt: skip
    assert all(hasattr(ftonnx.quant, name) for name in ftonnx.quant.__all__)


@pytest.mark.parametrize(
    "settings",
    [
        *(QuantSettings(calibration=name) for name in CALIBRATIONS),
        QuantSettings(per_channel=False),
        QuantSettings(quant_format="qoperator"),
        QuantSettings(quant_format="qoperator", per_channel=False),
        QuantSettings(activation_type="int8"),
        QuantSettings(activation_type="int8", quant_format="qoperator"),
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.to_dict().values()),
)
def test_digits_keeps_its_accuracy_in_every_form(settings):
    """Within two points of FP32 on images that calibration has not seen, at less than half the size."""
    model, report = quantize(DIGITS, digits_batches(), settings)
    assert digits_accuracy(model) >= digits_accuracy(DIGITS) - 0.02
    assert report.size_after == model.ByteSize() < report.size_before / 2
    assert (report.weights, report.biases, report.images) == (10, 10, 256)
    assert report.worst.snr_db == min(activation.snr_db for activation in report.activations)
    # measured by this processor's kernels
    assert saturates() or report.worst.snr_db > 15


def test_the_input_model_is_not_touched_and_the_result_is_reproducible():
    """The same bytes before and after, and the same int8 model twice, metadata kept."""
    model = small_cnn()
    model.metadata_props.add(key="author", value="me")
    before = model.SerializeToString(deterministic=True)
    first, report = quantize(model, batches(2, 4))
    second, again = quantize(model, lambda: iter(batches(2, 4)))
    assert model.SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert report == again
    assert [(entry.key, entry.value) for entry in first.metadata_props] == [("author", "me")]


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_symmetric_int8_by_min_and_max(per_channel):
    """S = max|w| / 127 per channel or tensor, Z = 0, q = round(w / S)."""
    model = small_cnn()
    result, _ = quantize(model, batches(2, 4), QuantSettings(per_channel=per_channel))
    original, stored = tensors(model), tensors(result)
    for name in ("w1", "w2", "w3"):
        weight = original[name].astype(np.float64)
        axes = tuple(range(1, weight.ndim)) if per_channel else None
        scale = np.abs(weight).max(axis=axes, keepdims=True) / 127
        codes = stored[f"{name}_quantized"]
        assert not stored[f"{name}_zero_point"].any()
        np.testing.assert_allclose(stored[f"{name}_scale"].reshape(-1), scale.reshape(-1), rtol=1e-6)
        assert codes.dtype == np.int8
        ties = np.abs(np.abs(weight / scale) % 1 - 0.5) < 1e-4  # decided by the last bit of the scale
        np.testing.assert_array_equal(codes[~ties], np.rint(weight / scale)[~ties])
    if per_channel:
        assert stored["w1_scale"].shape == (16,)


def test_biases_are_int32_with_the_product_of_the_scales():
    """Values q S_x S_w, within half a step of the original, behind a DequantizeLinear."""
    model = small_cnn()
    result, report = quantize(model, batches(2, 4))
    stored = tensors(result)
    x_scale = next(a.scale for a in report.activations if a.tensor == "x")
    assert stored["b1_quantized"].dtype == np.int32
    np.testing.assert_allclose(stored["b1_quantized_scale"], x_scale * stored["w1_scale"], rtol=1e-6)
    back = stored["b1_quantized"] * stored["b1_quantized_scale"].astype(np.float64)
    np.testing.assert_allclose(back, tensors(model)["b1"], atol=0.51 * stored["b1_quantized_scale"].max())
    feeding = {n.input[0] for n in result.graph.node if n.op_type == "DequantizeLinear"}
    assert {"b1_quantized", "b2_quantized", "b3_quantized"} <= feeding


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_activations_follow_onnxs_equations(kind):
    """Codes are saturate(round(x / S) + Z), and x = (q - Z) S, with values beyond the calibrated range saturating."""
    result, report = quantize(small_cnn(), batches(2, 4), QuantSettings(activation_type=kind))
    wide = images(8, scale=5.0)
    by_name = {activation.tensor: activation for activation in report.activations}
    found = inside(result, ["x_QuantizeLinear_Output", "x_DequantizeLinear_Output"], {"x": wide})
    codes = quantized(wide, by_name["x"].scale, by_name["x"].zero_point, np.dtype(kind))
    np.testing.assert_array_equal(found["x_QuantizeLinear_Output"], codes)
    values = dequantized(codes, by_name["x"].scale, by_name["x"].zero_point)
    np.testing.assert_allclose(found["x_DequantizeLinear_Output"], values, rtol=1e-6)
    assert values.min() == pytest.approx(by_name["x"].low)
    assert values.max() == pytest.approx(by_name["x"].high)


def test_ranges_by_minmax_are_the_lowest_and_highest_activations():
    """Zero is always representable; a ReLU's range begins at it."""
    data = batches(3, 4)
    _, report = quantize(small_cnn(), data, QuantSettings(calibration="minmax"))
    found = inside(small_cnn(), ["b", "d"], {"x": np.concatenate(data)})
    for activation in report.activations:
        if activation.tensor in found:
            top = found[activation.tensor].max()
            assert (activation.low, activation.high) == (0, pytest.approx(top, rel=1e-5))
            assert activation.scale == pytest.approx(top / 255, rel=1e-5)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_the_other_calibrators_are_onnx_runtimes(method, tmp_path):
    """The same scales as quantize_static with the same method on the same batches."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    data = batches(3 if method == "minmax" else 1, 24)  # histograms of several batches are merged as they come
    onnx.save(small_cnn(), tmp_path / "m.onnx")
    options = {"CalibPercentile": 99.5, "CalibTensorRangeSymmetric": True} if method == "percentile" else {}
    quantize_static(
        tmp_path / "m.onnx",
        tmp_path / "q.onnx",
        calibration({"x": batch} for batch in data),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method={m.name.lower(): m for m in CalibrationMethod}[method],
        extra_options=options,
    )
    expected = tensors(onnx.load(tmp_path / "q.onnx"))
    result, _ = quantize(small_cnn(), data, QuantSettings(calibration=method, percentile=99.5))
    got = tensors(result)
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_memory_does_not_grow_with_the_number_of_batches(method):
    """Ten times the batches, about the same peak."""

    def peak(count):
        def stream():
            for index in range(count):
                yield images(64, seed=index)

        tracemalloc.start()
        quantize(small_cnn(), stream, QuantSettings(calibration=method))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1)  # imports and caches
    assert peak(30) < 1.3 * peak(3)


@pytest.mark.skipif(saturates(), reason="this processor's int8 kernels saturate, which the report measures")
def test_the_error_of_every_layer_is_its_signal_to_noise_ratio():
    """Against both models run without optimizations, on the first images only."""
    data = batches(3, 16)
    settings = QuantSettings(error_images=20)
    model = residual_cnn()
    result, report = quantize(model, data, settings)
    shown = np.concatenate(data)[:20]
    assert report.error_images == 20
    names = [a.tensor for a in report.activations]
    assert names == [name for name in ("x", "r1", "r2", "d", "r3", "p", "f", "y") if name in names]
    assert {"x", "r1", "r2", "d", "r3"} <= set(names)
    exact = inside(model, names, {"x": shown})
    outputs = {"y": "y"} | {n.input[0]: n.output[0] for n in result.graph.node if n.op_type == "QuantizeLinear"}
    for activation in report.activations:
        place = outputs.get(activation.tensor, outputs.get(f"{activation.tensor}_QuantizeLinear_Input"))
        if place == "y":
            place = outputs["y_QuantizeLinear_Input"]
        codes = inside(result, [place], {"x": shown})[place]
        error = exact[activation.tensor] - dequantized(codes, activation.scale, activation.zero_point)
        ratio = np.sum(exact[activation.tensor].astype(np.float64) ** 2) / np.sum(error.astype(np.float64) ** 2)
        assert activation.snr_db == pytest.approx(10 * np.log10(ratio), abs=0.1)


def test_the_fault_space_is_the_integers():
    """int8 weights and int32 biases, nothing else."""
    result, _ = quantize(residual_cnn(), batches(2, 4))
    space = FaultSpace.of(result)
    kinds = [(target.tensor, target.role, target.format.name) for target in space.targets]
    assert kinds == [
        (f"{letter}{i}_quantized", role, kind)
        for i in range(1, 5)
        for letter, role, kind in (("w", "weight", "int8"), ("b", "bias", "int32"))
    ]


def test_excluded_nodes_stay_in_floating_point():
    """By shell-style patterns; the others are quantized."""
    result, report = quantize(small_cnn(), batches(2, 4), QuantSettings(exclude_nodes=("conv1", "f[c]")))
    assert report.excluded_nodes == ("conv1", "fc")
    assert report.weights == 1
    stored = tensors(result)
    assert "w1" in stored
    assert "w3" in stored
    assert "w2_quantized" in stored
    everything, _ = quantize(
        small_cnn(), batches(2, 4), QuantSettings(exclude_nodes=("conv1",), quant_format="qoperator")
    )
    assert operators(everything)["QLinearConv"] == 1


def test_a_fixed_batch_size_is_met():
    """Batches are cut and filled up to what the model takes; errors are measured too."""
    model = small_cnn()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    result, report = quantize(model, [images(6), images(3, seed=1)])
    assert (report.images, report.error_images) == (9, 9)
    assert exact_run(result, {"x": images(4)})[0].shape == (4, 5)


def test_initializers_that_are_also_inputs_are_quantized():
    """As old exporters wrote them; they are inputs no more."""
    model = small_cnn()
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in model.graph.initializer
    )
    result, report = quantize(model, batches(2, 4))
    assert report.weights == 3
    assert [value.name for value in result.graph.input] == ["x"]


def test_a_weight_that_feeds_two_nodes_is_stored_once():
    """And is one target of the fault space."""
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"], name="c1", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["r"], name="relu"),
            node("Conv", ["r", "w"], ["y"], name="c2", pads=[1, 1, 1, 1]),
        ],
        [("w", random_floats(3, 3, 3, 3))],
    )
    result, report = quantize(model, batches(2, 4))
    assert report.weights == 1
    assert [target.tensor for target in FaultSpace.of(result).targets] == ["w_quantized"]
    np.testing.assert_allclose(exact_run(result, {"x": images(2)})[0], exact_run(model, {"x": images(2)})[0], atol=0.6)


def test_constants_unnamed_nodes_and_batch_normalization_are_dealt_with():
    """Weights in Constant nodes are quantized, BatchNormalization is folded into its Conv."""
    constant = node("Constant", [], ["w"], value=numpy_helper.from_array(random_floats(8, 3, 3, 3), "w"))
    model = model_of(
        [
            constant,
            node("Conv", ["x", "w"], ["a"]),
            node("BatchNormalization", ["a", "g", "b", "m", "v"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("GlobalAveragePool", ["r"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("MatMul", ["f", "k"], ["y"]),
        ],
        [
            ("g", 1 + random_floats(8, seed=1)),
            ("b", random_floats(8, seed=2)),
            ("m", random_floats(8, seed=3)),
            ("v", 1 + random_floats(8, seed=4) ** 2),
            ("k", random_floats(8, 5, seed=5)),
        ],
    )
    result, report = quantize(model, batches(2, 16))
    assert "BatchNormalization" not in operators(result)
    assert report.weights == 2
    assert saturates() or report.worst.snr_db > 25


def test_an_old_operator_set_is_raised():
    """Per-channel scales came with opset 13."""
    model = small_cnn()
    model.opset_import[0].version = 11
    result, _ = quantize(model, batches(2, 4))
    assert result.opset_import[0].version >= 13
    assert exact_run(result, {"x": images(2)})[0].shape == (2, 5)


def test_a_relu_beside_other_readers_survives_operator_format():
    """ONNX Runtime's quantizer would remove it and let negative values through."""
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["r"], name="relu"),
            node("Add", ["a", "r"], ["s"], name="add"),
            node("Conv", ["s", "v"], ["y"], name="last"),
        ],
        [("w", random_floats(4, 3, 3, 3)), ("v", random_floats(4, 4, 3, 3, seed=1))],
    )
    result, report = quantize(model, batches(4, 16), QuantSettings(quant_format="qoperator"))
    exact, got = exact_run(model, {"x": images(8)})[0], exact_run(result, {"x": images(8)})[0]
    assert np.abs(exact - got).max() < 0.1 * np.abs(exact).max()
    assert saturates() or report.worst.snr_db > 25


def test_clip_above_stays_in_floating_point_with_its_threshold():
    """The rest of the model is quantized, and the function is still called by name."""
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
            node("Sigmoid", ["a"], ["s"], name="sigmoid"),
            node("Mul", ["a", "s"], ["m"], name="silu"),
            node("ClipAbove", ["m", "T"], ["c"], name="clip", domain="ftonnx"),
            node("Conv", ["c", "v"], ["y"], name="last"),
        ],
        [("w", random_floats(4, 3, 3, 3)), ("v", random_floats(5, 4, 3, 3, seed=1)), ("T", np.float32(1.5))],
        functions=[clip_above_function()],
        domains=["ftonnx"],
    )
    result, report = quantize(model, batches(4, 16))
    assert operators(result)["ClipAbove"] == 1
    assert tensors(result)["T"] == np.float32(1.5)
    assert report.weights == 2
    exact, got = exact_run(model, {"x": images(8)})[0], exact_run(result, {"x": images(8)})[0]
    assert np.median(np.abs(exact - got)) < 0.05


def test_nothing_leaks_out_of_onnx_runtimes_package(capfd, tmp_path, monkeypatch):
    """No root logging, no prints, no files left, and the logging configuration stays as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    root = logging.getLogger()
    before = (list(root.handlers), list(root.filters), root.level)
    for method in CALIBRATIONS:
        quantize(small_cnn(), batches(2, 4), QuantSettings(calibration=method))
    assert (root.handlers, root.filters, root.level) == before
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quant_format", ["qdq", "qoperator"])
def test_tokens_stay_as_they_are(quant_format):
    """Integers are looked up, so the input is none that is quantized."""
    model = model_of(
        [node("Gather", ["table", "x"], ["e"]), node("MatMul", ["e", "w"], ["y"])],
        [("table", random_floats(9, 8, seed=1)), ("w", random_floats(8, 5, seed=2))],
        inputs={"x": ("n", 4)},
        outputs={"y": ("n", 4, 5)},
    )
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    tokens = np.random.default_rng(0).integers(0, 9, (16, 4))
    result = quantize(model, [tokens[:8], tokens[8:]], QuantSettings(quant_format=quant_format))
    assert result.proto.graph.input[0].type == model.graph.input[0].type
    expected = exact_run(model, {"x": tokens})[0]
    np.testing.assert_allclose(exact_run(result.proto, {"x": tokens})[0], expected, atol=0.02 * np.abs(expected).max())
    with pytest.raises(DataError, match="int64 was expected, got int32"):
        quantize(model, [tokens.astype(np.int32)])


def test_behind_operators_of_which_no_shape_is_known():
    """ONNX Runtime says the same of an unknown shape as of a single number, which no MatMul takes."""
    scale = node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.5], scale=[2.0])
    model = model_of(
        [scale, node("MatMul", ["s", "w"], ["m"]), node("Relu", ["m"], ["r"]), node("MatMul", ["r", "v"], ["y"])],
        [("w", random_floats(6, 8, seed=1)), ("v", random_floats(8, 5, seed=2))],
        inputs={"x": ("n", 6)},
        outputs={"y": ("n", 5)},
    )
    model.opset_import.add(domain="ai.onnx.ml", version=3)
    rows = random_floats(32, 6, seed=3)
    result = quantize(model, [rows])
    expected = exact_run(model, {"x": rows})[0]
    np.testing.assert_allclose(exact_run(result.proto, {"x": rows})[0], expected, atol=0.05 * np.abs(expected).max())


def _half(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quantize(small_cnn(), batches(2, 4)).proto, "quantized already"),
        (
            lambda: quantize(small_cnn(), batches(2, 4), QuantSettings(quant_format="qoperator")).proto,
            "quantized already",
        ),
        (lambda: model_of([node("Relu", ["x"], ["y"])]), "nothing to quantize"),
        (lambda: _half(small_cnn()), "FP32 or integer input was expected, got float16"),
        (
            lambda: model_of([node("Add", ["x", "z"], ["y"])], inputs={"x": ("n", 3), "z": ("n", 3)}),
            "one input was expected",
        ),
    ],
)
def test_unsuitable_models_are_refused(make, message):
    """One line that says what was expected."""
    with pytest.raises(ModelError, match=message):
        quantize(make(), batches(2, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least one image"),
        ([np.zeros((0, 3, 8, 8), np.float32)], "at least one image"),
        ([np.zeros((2, 3, 9, 9), np.float32)], r"takes \(batch, 3, 8, 8\), got shape \(2, 3, 9, 9\)"),
        ([np.zeros((2, 3, 8), np.float32)], r"got shape \(2, 3, 8\)"),
        ([np.zeros((2, 3, 8, 8))], "float32 was expected, got float64"),
        ([images(2), np.full((2, 3, 8, 8), np.nan, np.float32)], "NaN or Inf"),
        ([np.full((2, 3, 8, 8), np.inf, np.float32)], "NaN or Inf"),
    ],
)
@pytest.mark.parametrize("method", ["histogram", "minmax"])
def test_unsuitable_images_are_refused(data, message, method):
    """Whichever calibrator reads them."""
    with pytest.raises(DataError, match=message):
        quantize(small_cnn(), data, QuantSettings(calibration=method))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": "kl"}, "`calibration`: expected one of histogram, minmax"),
        ({"percentile": 0.0}, "percentile: expected above 0"),
        ({"percentile": 100.1}, "percentile: expected above 0"),
        ({"percentile": float("nan")}, "percentile: expected above 0"),
        ({"quant_format": "QDQ"}, "`quant_format`: expected one of qdq"),
        ({"activation_type": "int16"}, "`activation_type`: expected one of uint8, int8"),
        ({"weight_type": "uint8"}, "`weight_type`: expected one of int8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    """At construction."""
    with pytest.raises(UsageError, match=message):
        QuantSettings(**settings)


def test_a_pattern_without_a_node_is_refused():
    """A typing mistake would otherwise quantize what was meant to be kept."""
    with pytest.raises(UsageError, match=r"no node matches 'covn1'; the 7 nodes are conv1, relu1"):
        quantize(small_cnn(), batches(2, 4), QuantSettings(exclude_nodes=("covn1",)))


def test_a_nan_inside_the_model_is_named():
    """The images are fine, an activation is not."""
    model = model_of(
        [
            node("Sqrt", ["x"], ["a"], name="root"),
            node("Conv", ["a", "w"], ["y"], name="conv"),
        ],
        [("w", random_floats(4, 3, 3, 3))],
    )
    with pytest.raises(ModelError, match="activation 'a' is NaN"):
        quantize(model, batches(2, 4))
