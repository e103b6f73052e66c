"""Fake quantization, against ONNX Runtime's formulas and torch.ao's observers."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime as ort  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402
from onnxruntime.quantization.quant_utils import compute_scale_zp  # noqa: E402

from ftonnx.training.fake_quant import ActivationQuantizer, WeightQuantizer  # noqa: E402

RANGES = [(-1.0, 3.0), (0.0, 6.0), (0.5, 2.0), (-3.0, -1.0), (-0.01, 1000.0), (0.0, 0.0), (-7.3, 0.2)]


@pytest.mark.parametrize("codes", [(0, 255), (-128, 127)])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_scale_and_zero_point_are_onnx_runtimes(low, high, codes):
    """Bit for bit."""
    quantizer = ActivationQuantizer(low, high, codes, fixed=False)
    arrays = [np.array(value, np.float32) for value in (min(low, 0), max(high, 0))]
    zero_point, scale = compute_scale_zp(*arrays, *(np.array(code, np.int32) for code in codes))
    assert float(quantizer.scale()) == float(np.float32(scale))
    assert int(quantizer.zero_point()) == int(zero_point)


@pytest.mark.parametrize(("codes", "kind"), [((0, 255), TensorProto.UINT8), ((-128, 127), TensorProto.INT8)])
def test_values_are_those_of_a_pair_of_quantize_and_dequantize(codes, kind):
    """ONNX Runtime's, on random values and on halves."""
    quantizer = ActivationQuantizer(-1.3, 2.9, codes, fixed=False).eval()
    scale = quantizer.scale()
    values = np.concatenate([np.random.default_rng(0).normal(0, 3, 997), np.float32([0, -0.0, 1e9])]).astype(np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    stored = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [float(scale)]),
        helper.make_tensor("z", kind, [], [int(quantizer.zero_point())]),
    ]
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", io[:1], io[1:], stored), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"x": values})[0]
    np.testing.assert_allclose(quantizer(torch.from_numpy(values)).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_ranges_follow_as_torchs_observers_do():
    """Moving averages of the smallest and the largest value."""
    from torch.ao.quantization import MovingAverageMinMaxObserver

    observer = MovingAverageMinMaxObserver(averaging_constant=0.01)
    rng = torch.Generator().manual_seed(3)
    batches = [torch.randn(50, generator=rng) * (1 + number / 10) for number in range(20)]
    observer(batches[0])
    quantizer = ActivationQuantizer(float(batches[0].min()), float(batches[0].max()), (0, 255), fixed=False).train()
    for batch in batches[1:]:
        observer(batch)
        quantizer.observe(batch)
    assert float(quantizer.low) == pytest.approx(float(observer.min_val), rel=1e-5)
    assert float(quantizer.high) == pytest.approx(float(observer.max_val), rel=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_weights_have_127_steps_to_the_largest_one(axis):
    """Not 127.5, which is torch's default; nothing is written beyond."""
    weight = torch.randn(4, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    quantizer = WeightQuantizer(weight, axis).eval()
    others = [each for each in range(4) if each != axis] if axis is not None else [0, 1, 2, 3]
    largest = weight.abs().amax(dim=others, keepdim=True)
    expected = torch.round(weight / (largest / 127)).clamp(-127, 127) * (largest / 127)
    torch.testing.assert_close(quantizer(weight), expected)


def test_what_is_frozen_or_fixed_or_evaluated_stays():
    """Only a training that observes changes anything."""
    batch = torch.full((8,), 100.0)
    for quantizer in (
        ActivationQuantizer(-1, 1, (0, 255), fixed=True).train(),
        ActivationQuantizer(-1, 1, (0, 255), fixed=False).eval(),
    ):
        quantizer.observe(batch)
        assert (float(quantizer.low), float(quantizer.high)) == (-1, 1)
    free = ActivationQuantizer(-1, 1, (0, 255), fixed=False).train()
    free.observe(batch)
    assert float(free.high) == pytest.approx(1.99)
    free.freeze()
    free.observe(batch)
    assert float(free.high) == pytest.approx(1.99)


def test_gradients_pass_inside_the_range_only():
    """Straight through, as the paper's method has it."""
    values = torch.tensor([-5.0, 0.3, 5.0], requires_grad=True)
    ActivationQuantizer(-1, 1, (0, 255), fixed=False)(values).sum().backward()
    assert values.grad.tolist() == [0, 1, 0]
