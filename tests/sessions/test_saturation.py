"""What is said of integer kernels that saturate, against what they compute on this processor.

Where they are exact, the forms are told apart by a processor that is only said to saturate.
"""

import numpy as np
import pytest
from exact_kernels import saturates
from onnx import TensorProto, helper, numpy_helper

from ftonnx.sessions import SessionOptions, open_session, saturating_operators, saturation, saturation_caution

CHANNELS = 64
ZERO = {"z": np.uint8(0), "wz": np.int8(0), "one": np.float32(1)}
FLAT = np.full((2, CHANNELS), 255, np.uint8)
MAPS = np.full((1, CHANNELS, 6, 6), 255, np.uint8)


def made(nodes, stored, x, output=TensorProto.FLOAT):
    """Return a model of one input ``x`` and one output ``y``."""
    given = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), None)
    result = helper.make_tensor_value_info("y", output, None)
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "g", [given], [result], kept)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def node(operator, *inputs, **attributes):
    """Return the node that makes ``y``."""
    domain = "com.microsoft" if operator in ("QGemm", "DynamicQuantizeMatMul") else ""
    return helper.make_node(operator, inputs, ["y"], domain=domain, **attributes)


def between_codes(operator, weight):
    """Return an operator in QDQ form."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "one", "wz"], ["wd"]),
        helper.make_node(operator, ["xd", "wd"], ["o"]),
        helper.make_node("QuantizeLinear", ["o", "s", "z"], ["oq"]),
        helper.make_node("DequantizeLinear", ["oq", "s", "z"], ["y"]),
    ]
    return nodes, {"w": weight}


def form(name, weight):
    """Return a model of one operator, its images, and what a sum of products counts in its output."""
    flat = np.full((CHANNELS, 16), weight, np.int8)
    square = np.full((16, CHANNELS, 1, 1), weight, np.int8)
    thin = np.full((CHANNELS, 1, 3, 3), weight, np.int8)
    scale = {"s": np.float32(CHANNELS * 127)}
    quantized = ("x", "one", "z", "w", "one", "wz", "s", "z")
    floats = FLAT.astype(np.float32)
    if name == "QLinearConv":
        return made([node(name, *quantized)], ZERO | scale | {"w": square}, MAPS, TensorProto.UINT8), MAPS
    if name == "depthwise":
        stored = ZERO | scale | {"w": thin}
        return made([node("QLinearConv", *quantized, group=CHANNELS)], stored, MAPS, TensorProto.UINT8), MAPS
    if name == "QLinearMatMul":
        return made([node(name, *quantized)], ZERO | scale | {"w": flat}, FLAT, TensorProto.UINT8), FLAT
    if name == "QGemm":
        return made([node(name, *quantized[:6])], ZERO | {"w": flat}, FLAT), FLAT
    if name == "MatMulInteger":
        return made([node(name, "x", "w")], {"w": flat}, FLAT, TensorProto.INT32), FLAT
    if name == "DynamicQuantizeMatMul":
        return made([node(name, "x", "w", "one")], {"w": flat, "one": np.float32(1)}, floats), floats
    operator = name.removeprefix("QDQ ")
    weight, images = (square, MAPS) if operator == "Conv" else (flat, FLAT)
    nodes, stored = between_codes(operator, weight)
    images = images.astype(np.float32)
    return made(nodes, ZERO | stored | scale, images), images


FORMS = (
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "MatMulInteger",
    "DynamicQuantizeMatMul",
    "QDQ Conv",
    "QDQ MatMul",
    "QDQ Gemm",
)


def largest(model, images):
    """Return the largest output."""
    session = open_session(model.SerializeToString(), SessionOptions(threads=1))
    return float(session.run(None, {"x": images})[0].max())


@pytest.fixture
def inexact(monkeypatch):
    """A processor whose kernels saturate."""
    monkeypatch.setattr(saturation, "kernels_saturate", lambda: True)


@pytest.mark.parametrize("name", FORMS)
def test_an_operator_is_named_where_the_largest_codes_give_less_than_they_should(name):
    """Whatever this processor is."""
    model, images = form(name, 127)
    small, _ = form(name, 1)
    # sums of equal products grow with the weight, up to the rounding of their codes
    is_exact = largest(model, images) >= 126 * largest(small, images)
    assert saturating_operators(model) == (0 if is_exact else 1)
    assert is_exact != saturates()


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_found(name, inexact):
    """From 65 on, of either sign."""
    assert saturating_operators(form(name, 127)[0]) == 1
    assert saturating_operators(form(name, 65)[0]) == 1
    assert saturating_operators(form(name, -65)[0]) == 1


@pytest.mark.parametrize("name", FORMS)
def test_codes_of_seven_bits_are_exact(name, inexact):
    """Two products of 255 and 64 fit into 16 bits."""
    assert saturating_operators(form(name, 64)[0]) == 0
    assert saturating_operators(form(name, -64)[0]) == 0


def test_depthwise_convolutions_are_exact(inexact):
    """They are not computed by matrix products."""
    model, images = form("depthwise", 127)
    assert largest(model, images) == round(255 * 9 / CHANNELS)
    assert saturating_operators(model) == 0


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_codes_of_one_sign_are_exact(dtype, inexact):
    """Two bytes with a sign and two without have instructions of their own."""
    stored = {"one": np.float32(1), "z": dtype(0), "w": np.full((CHANNELS, 16), 127, dtype), "s": np.float32(8128)}
    model = made([node("QLinearMatMul", "x", "one", "z", "w", "one", "z", "s", "z")], stored, FLAT.view(dtype))
    assert saturating_operators(model) == 0


def test_a_model_in_floating_point_has_none(inexact):
    """Nothing there is a code."""
    weight = np.ones((CHANNELS, 16), np.float32)
    model = made([node("MatMul", "x", "w")], {"w": weight}, FLAT.astype(np.float32))
    assert saturating_operators(model) == 0


def test_a_weight_in_a_constant_node_is_found(inexact):
    """As some exporters store weights."""
    codes = numpy_helper.from_array(np.full((CHANNELS, 16), 127, np.int8))
    constant = helper.make_node("Constant", [], ["w"], value=codes)
    model = made([constant, node("MatMulInteger", "x", "w")], {}, FLAT, TensorProto.INT32)
    assert saturating_operators(model) == 1


def test_a_weight_that_nobody_has_read_may_saturate(inexact):
    """Its codes are in another file."""
    model, _ = form("MatMulInteger", 1)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert saturating_operators(model) == 1


def test_computed_weights_are_not_counted(inexact):
    """Nobody knows their codes."""
    model = made([node("MatMulInteger", "x", "x")], {}, FLAT, TensorProto.INT32)
    assert saturating_operators(model) == 0


def test_an_exact_processor_has_none(monkeypatch):
    """Whatever the model is."""
    monkeypatch.setattr(saturation, "kernels_saturate", lambda: False)
    assert saturating_operators(form("QGemm", 127)[0]) == 0


def test_the_probe_agrees_with_that_of_the_tests():
    """Which multiplies by another operator."""
    assert saturation.kernels_saturate() == saturates()


def test_what_is_said():
    """With the number of operators and the way out."""
    assert saturation_caution(0) is None
    assert saturation_caution(1).startswith("1 operator saturates in 16 bits on this kind of processor")
    assert saturation_caution(54).startswith("54 operators saturate")
    assert "--activation-type int8" in saturation_caution(2)


def test_the_model_is_not_changed():
    """It is only looked at."""
    model, _ = form("QDQ Conv", 127)
    before = model.SerializeToString()
    saturating_operators(model)
    assert model.SerializeToString() == before
