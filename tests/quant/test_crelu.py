"""CReLU through quantization: nodes, thresholds, values at the edges, and ONNX Runtime's fusions."""

import json

import numpy as np
import onnx
import pytest
from exact_kernels import exact_run
from onnx_zoo import model_of, random_floats
from quant_kit import (
    batches,
    clipped,
    dequantized,
    images,
    inside,
    node,
    operators,
    optimized_operators,
    quantized,
    residual_cnn,
    tensors,
)

from ftonnx.inject import FaultSpace, load_model
from ftonnx.models import resolve
from ftonnx.quant import QuantSettings, quantize

DATA = batches(4, 16)
CHANNEL = np.linspace(0.5, 3, 16, dtype=np.float32).reshape(1, 16, 1, 1)
INF = np.float32(np.inf)


def crelu(values, threshold):
    """Return the definition: x if 0 <= x <= T else 0; NaN gives 0."""
    with np.errstate(invalid="ignore"):
        return np.where((values >= 0) & (values <= threshold), values, 0).astype(np.float32)


@pytest.mark.parametrize("thresholds", [(2.0, 1.5, 3.0), (CHANNEL, CHANNEL, CHANNEL), (INF, 1.5, INF)])
@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_every_crelu_is_there_with_its_threshold(thresholds, form, kind):
    """As an integer node with the same name, its threshold in codes and, in the metadata, as it was."""
    model = clipped(residual_cnn(), thresholds)
    result, report = quantize(model, DATA, QuantSettings(quant_format=form, activation_type=kind))
    integer = [n for n in result.graph.node if n.op_type == "QLinearCReLU"]
    assert [n.name for n in integer] == ["relu1", "relu2", "relu3"]
    assert {n.domain for n in integer} == {"ftonnx"}
    assert [f.name for f in result.functions] == ["QLinearCReLU"]
    load_model(result)
    entries = json.loads(next(e.value for e in result.metadata_props if e.key == "ftonnx.quantized_thresholds"))
    stored, top = tensors(result), np.iinfo(kind).max
    for entry, record, n, threshold in zip(entries, report.clipped, integer, thresholds, strict=True):
        values = np.float32([float(value) for value in entry["threshold"]])
        np.testing.assert_array_equal(values, np.ravel(np.float32(threshold)))
        np.testing.assert_array_equal(np.float32(record.threshold), values)
        codes = stored[n.input[1]]
        assert codes.shape == np.shape(threshold)
        assert codes.dtype == stored[n.input[2]].dtype == np.dtype(kind)
        assert stored[n.input[2]] == entry["zero_point"] == np.iinfo(kind).min
        if np.isfinite(threshold).all():
            assert codes.max() == top - 1  # the last code means: greater than T
            back = dequantized(codes, entry["scale"], entry["zero_point"])
            assert np.abs(back - threshold).max() <= entry["scale"] * 0.5001
            assert back.max() == pytest.approx(np.max(threshold), rel=1e-6)
        else:
            assert codes == top  # nothing is clipped


@pytest.mark.parametrize("threshold", [1.0, CHANNEL, INF])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_outputs_equal_quantize_dequantize_clip(threshold, kind):
    """Within one step, for activations below, at, and far above the threshold."""
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"], name="conv"),
            node("Relu", ["a"], ["y"], name="relu"),
        ],
        [("w", random_floats(16, 3, 1, 1))],
    )
    result, report = quantize(clipped(model, [threshold]), DATA, QuantSettings(activation_type=kind))
    wide = images(64, seed=50, scale=3.0)
    (record,) = report.clipped
    x = next(a for a in report.activations if a.tensor == "x")
    stored = tensors(result)
    weight = dequantized(stored["w_quantized"], 1, 0) * stored["w_scale"].reshape(-1, 1, 1, 1)
    seen = dequantized(quantized(wide, x.scale, x.zero_point, np.dtype(kind)), x.scale, x.zero_point)
    exact = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0].astype(np.float64), seen)
    codes = quantized(exact, record.scale, record.zero_point, np.dtype(kind))
    limit = record.quantized_threshold
    limit = dequantized(np.array(limit).reshape(1, -1, 1, 1), record.scale, record.zero_point)
    expected = crelu(dequantized(codes, record.scale, record.zero_point), limit)
    ties = np.abs(exact / record.scale % 1 - 0.5) < 1e-3  # a last bit decides, at qT between T and 0
    got = exact_run(result, {"x": wide})[0]
    assert ties.mean() < 0.01
    assert np.abs(got - expected)[~ties].max() <= record.scale * 1.0001
    if np.isfinite(threshold).all():
        zeroed = exact > threshold + record.scale
        assert zeroed.any()
        assert not got[zeroed & ~ties].any()
        kept = (exact > record.scale) & (exact <= threshold)
        assert got[kept & ~ties].all()


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_values_at_the_edges(kind):
    """Signed zeros, subnormals, T and its neighbours, infinities, NaN."""
    threshold = np.float32(2.5)
    model = model_of([node("Relu", ["x"], ["r"], name="relu"), node("Conv", ["r", "w"], ["y"], name="conv")],
                     [("w", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1))])  # fmt: skip
    result, report = quantize(clipped(model, [threshold]), DATA, QuantSettings(activation_type=kind))
    (record,) = report.clipped
    step = record.scale
    up, down = np.nextafter(threshold, INF), np.nextafter(threshold, np.float32(0))
    cases = [
        (0.0, 0), (-0.0, 0), (1e-45, 0), (-1e-45, 0), (1e-38, 0), (-1.0, 0), (-np.inf, 0), (0.49 * step, 0),
        (0.51 * step, step), (down, threshold), (threshold, threshold), (up, threshold),
        (threshold + 0.49 * step, threshold), (threshold + 0.51 * step, 0), (threshold + step, 0), (3e38, 0),
        (np.inf, 0), (np.nan, 0),
    ]  # fmt: skip
    given, expected = np.float32(cases).T
    x = np.zeros((len(cases), 3, 8, 8), np.float32)
    x[:, 0, 0, 0] = given
    name = next(n.output[0] for n in result.graph.node if n.op_type == "QLinearCReLU")
    got = dequantized(inside(result, [name], {"x": x})[name], record.scale, record.zero_point)[:, 0, 0, 0]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_all_codes_through_the_function(kind):
    """The function itself, on all 256 codes, for every position of the threshold."""
    model = clipped(residual_cnn(), (2.0, CHANNEL, 3.0))
    result, _ = quantize(model, DATA, QuantSettings(activation_type=kind))
    (function,) = result.functions
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    codes = np.arange(np.iinfo(kind).min, np.iinfo(kind).max + 1).astype(kind).reshape(1, 1, 256)
    limits = codes.reshape(1, 256, 1)
    graph = model_of(
        [node("QLinearCReLU", ["x", "T", "z"], ["y"], domain="ftonnx")],
        inputs={"x": (1, 1, 256), "T": (1, 256, 1), "z": ()},
        outputs={"y": (1, 256, 256)},
        functions=[function],
        domains=["ftonnx"],
        element=element,
    )
    zero = codes.min()
    (got,) = exact_run(graph, {"x": codes, "T": limits, "z": np.array(zero)})
    np.testing.assert_array_equal(got, np.where(codes <= limits, codes, zero))


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
@pytest.mark.parametrize("threshold", [2.0, CHANNEL, INF])
def test_onnx_runtime_fuses_as_with_relu(form, threshold, tmp_path):
    """As many QLinearConv, QLinearAdd and QGemm, and no float operator more."""
    settings = QuantSettings(quant_format=form)
    relu, _ = quantize(residual_cnn(), DATA, settings)
    other, _ = quantize(clipped(residual_cnn(), [threshold] * 3), DATA, settings)
    expected, got = optimized_operators(relu, tmp_path), optimized_operators(other, tmp_path)
    assert got["QLinearConv"] == 3
    assert got["QLinearAdd"] == 1
    added = {"LessOrEqual": 3, "Cast": 3, "Mul": 3}
    assert got == expected + type(expected)(added)


def test_the_digits_model_keeps_its_fusions(tmp_path):
    """Seven CReLUs in a residual network with pooling."""
    model = onnx.load(resolve("digits"))
    data = batches(2, 32, shape=(1, 8, 8))
    relu, _ = quantize(model, data)
    other, _ = quantize(clipped(model, [4.0] * 7), data)
    expected, got = optimized_operators(relu, tmp_path), optimized_operators(other, tmp_path)
    assert expected["QLinearConv"] == got["QLinearConv"] == 9
    assert expected["QLinearAdd"] == got["QLinearAdd"] == 3
    assert operators(other)["QLinearCReLU"] == 7


def test_an_infinite_threshold_changes_nothing():
    """The int8 model with CReLU gives the outputs of the one with ReLU."""
    relu, _ = quantize(residual_cnn(), DATA)
    other, _ = quantize(clipped(residual_cnn(), [INF] * 3), DATA)
    x = images(32, seed=9, scale=2)
    np.testing.assert_allclose(exact_run(relu, {"x": x})[0], exact_run(other, {"x": x})[0], rtol=1e-5)


def test_thresholds_are_no_targets():
    """The fault space is that of the model with ReLU, so both meet the same flips."""
    relu, _ = quantize(residual_cnn(), DATA)
    other, _ = quantize(clipped(residual_cnn(), [CHANNEL] * 3), DATA)
    assert FaultSpace.of(other).fingerprint == FaultSpace.of(relu).fingerprint
    assert {target.format.name for target in FaultSpace.of(other).targets} == {"int8", "int32"}


def test_a_crelu_without_codes_stays_in_floating_point():
    """Excluded from quantization, or not between quantized operators."""
    thresholds = (2.0, 1.5, 3.0)
    model = clipped(residual_cnn(), thresholds)
    result, report = quantize(model, DATA, QuantSettings(exclude_nodes=("relu2", "conv2", "conv3")))
    assert operators(result)["CReLU"] == 1
    assert operators(result)["QLinearCReLU"] == 2
    assert sorted(f.name for f in result.functions) == ["CReLU", "QLinearCReLU"]
    assert [record.quantized_threshold is None for record in report.clipped] == [False, True, False]
    assert tensors(result)["T1"] == np.float32(1.5)
    error = np.abs(exact_run(result, {"x": DATA[0]})[0] - exact_run(model, {"x": DATA[0]})[0])
    assert np.median(error) < 0.1


def test_two_crelus_of_one_tensor_keep_their_thresholds():
    """Equal Relus could be merged; these are not equal."""
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["r1"], name="one"),
            node("Relu", ["a"], ["r2"], name="two"),
            node("Concat", ["r1", "r2"], ["c"], name="both", axis=1),
            node("Conv", ["c", "v"], ["y"], name="last"),
        ],
        [("w", random_floats(4, 3, 3, 3)), ("v", random_floats(5, 8, 1, 1, seed=1))],
    )
    for form in ("qdq", "qoperator"):
        wanted = clipped(model, [1.0, 4.0])
        result, report = quantize(wanted, DATA, QuantSettings(quant_format=form))
        assert [record.threshold for record in report.clipped] == [(1.0,), (4.0,)]
        error = np.abs(exact_run(result, {"x": DATA[0]})[0] - exact_run(wanted, {"x": DATA[0]})[0])
        assert np.median(error) < 0.1


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan])
def test_a_threshold_that_nothing_passes_gives_zeros(threshold):
    """T = 0 is what activations that never fire get; below it or NaN nothing passes either."""
    model = clipped(residual_cnn(), [threshold, 2.0, 3.0])
    result, _ = quantize(model, DATA)
    name = next(n.output[0] for n in result.graph.node if n.op_type == "QLinearCReLU")
    codes = inside(result, [name], {"x": images(8, scale=10)})[name]
    assert not codes.any()


def test_the_threshold_decides_the_range_not_the_data():
    """Values in the data beyond T neither widen the range nor pass."""
    model = clipped(residual_cnn(), [0.5, 0.25, 0.75])
    _, report = quantize(model, DATA, QuantSettings(calibration="minmax"))
    highs = {a.tensor: a.high for a in report.activations}
    for name, threshold in (("r1", 0.5), ("r2", 0.25), ("r3", 0.75)):
        assert highs[name] == pytest.approx(threshold * 255 / 254, rel=1e-5)


def test_thresholds_far_above_the_data_are_pointed_out(caplog):
    """T gets a code whatever the data says, so small activations get few codes."""
    quantize(clipped(residual_cnn(), [3.0, 1e4, INF]), DATA)
    (record,) = caplog.records
    assert record.name == "ftonnx.quant.crelu"
    assert "1 CReLU thresholds lie more than 4 times above" in record.getMessage()
    assert "relu2 (threshold 1e+04)" in record.getMessage()
