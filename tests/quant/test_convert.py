"""What ONNX Runtime's quantizer raises becomes one line that names the node."""

import pytest
from onnx import helper
from onnx_zoo import model_of, random_floats, small_cnn
from onnxruntime.quantization.calibrate import MinMaxCalibrater
from onnxruntime.quantization.operators.conv import QDQConv, QLinearConv
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from quant_graphs import conv, disagreement
from quant_kit import batches, node

from ftonnx.errors import ModelError
from ftonnx.quant import QuantSettings, quantize

DATA = batches(2, 4)


class OddError(Exception):
    """Of a kind that nobody expects."""


@pytest.mark.parametrize(("form", "kind"), [("qdq", QDQConv), ("qoperator", QLinearConv)])
@pytest.mark.parametrize("error", [KeyError("b"), AttributeError("no\nscale"), OddError("odd"), AssertionError()])
def test_a_failure_names_the_node_at_work(monkeypatch, form, kind, error):
    """With the reason, what to do, and the original exception behind it."""
    quantized = []
    original = kind.quantize

    def fail_at_the_second(self):
        quantized.append(self.node.name)
        if len(quantized) == 2:
            raise error
        original(self)

    monkeypatch.setattr(kind, "quantize", fail_at_the_second)
    with pytest.raises(ModelError) as caught:
        quantize(small_cnn(), DATA, QuantSettings(quant_format=form))
    message = str(caught.value)
    assert message.startswith(f"ONNX Runtime's quantizer cannot handle node 'conv2' (Conv): {type(error).__name__}")
    assert message.endswith("; leave it in floating point with `exclude_nodes=conv2`")
    assert "\n" not in message
    assert caught.value.__cause__ is error


def test_a_failure_at_a_bias_names_the_node_that_it_belongs_to(monkeypatch):
    """Biases come when all operators are done."""

    def fail(self, bias_name, bias_info):
        raise ValueError(f"no scale for {bias_name}")

    monkeypatch.setattr(QDQQuantizer, "quantize_bias_static", fail)
    with pytest.raises(ModelError, match=r"cannot handle node 'conv1' \(Conv\): ValueError: no scale for b1; leave it"):
        quantize(small_cnn(), DATA)


def test_a_failure_at_no_node_says_what_can_be_done(monkeypatch):
    """At the end, when the graph is put together."""

    def fail(self):
        raise RuntimeError("Graph is not a DAG")

    monkeypatch.setattr(QDQQuantizer, "remove_nodes", fail)
    with pytest.raises(ModelError, match=r"cannot handle this model: RuntimeError: Graph is not a DAG; leave nodes in"):
        quantize(small_cnn(), DATA)


def test_a_failing_calibrator_is_one_line(monkeypatch):
    """Whatever it raises."""

    def fail(self, reader):
        raise OddError("odd")

    monkeypatch.setattr(MinMaxCalibrater, "collect_data", fail)
    with pytest.raises(ModelError, match="ONNX Runtime's minmax calibration failed: OddError: odd"):
        quantize(small_cnn(), DATA, QuantSettings(calibration="minmax"))


def test_an_int8_model_that_does_not_run_is_no_puzzle(monkeypatch):
    """The message says that it is the quantized one, and what can be done."""
    original = QDQQuantizer.quantize_model

    def spoil(self):
        model = original(self)
        conv2 = next(each for each in model.graph.node if each.name == "conv2")
        conv2.attribute.append(helper.make_attribute("group", 3))
        return model

    monkeypatch.setattr(QDQQuantizer, "quantize_model", spoil)
    with pytest.raises(
        ModelError, match=r"^the quantized model does not run: .*`exclude_nodes`, or take another `quant_"
    ):
        quantize(small_cnn(), DATA)


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_types_behind_operators_of_other_domains_are_onnx_runtimes(form):
    """Onnx does not know them, and without a type nothing behind them could be quantized."""
    model = model_of(
        [
            conv("x", "a", "w", "b"), node("Gelu", ["a"], ["g"], name="gelu", domain="com.microsoft"),
            conv("g", "y", "v", "c"),
        ],
        [
            ("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1)),
            ("v", random_floats(8, 8, 3, 3, seed=2, scale=0.1)), ("c", random_floats(8, seed=3)),
        ],
        outputs={"y": [None, 8, 8, 8]},
        domains=["com.microsoft"],
    )  # fmt: skip
    result, report = quantize(model, DATA, QuantSettings(quant_format=form, calibration="minmax"))
    assert report.weights == 2
    assert disagreement(model, result, DATA[0]) < 0.04
