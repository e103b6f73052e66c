"""Names of nodes and values that are missing, equal, or in the way of the quantizer's."""

import numpy as np
import onnx
import pytest
from onnx_zoo import model_of, random_floats
from quant_graphs import conv, disagreement, head
from quant_kit import batches, node, tensors

from ftonnx.quant import QuantSettings, quantize
from ftonnx.quant.names import make_way, names_in

DATA = batches(2, 8)
CLOSE = 0.04
FORMATS = pytest.mark.parametrize("form", ["qdq", "qoperator"])


def settings(form):
    """Return settings whose ranges are those of the data, so that nothing saturates."""
    return QuantSettings(quant_format=form, calibration="minmax")


def net(scale="scale", shift="shift", first="conv_a", relu="relu"):
    """Return Conv, Mul, Add, Relu and a head, with chosen names of two stored tensors and two nodes."""
    nodes, stored = head("r")
    model = model_of(
        [
            conv("x", "a", "w", "b"),
            node("Tanh", ["a"], ["t"], name="tanh"),
            node("Mul", ["t", scale], ["m"], name="mul"),
            node("Add", ["m", shift], ["s"], name="add"),
            node("Relu", ["s"], ["r"], name=relu),
            *nodes,
        ],
        [
            ("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1)),
            (scale, 3 + random_floats(8, 1, 1, seed=2)), (shift, random_floats(8, 1, 1, seed=3)), *stored,
        ],
    )  # fmt: skip
    model.graph.node[0].name = first
    return model


@FORMATS
@pytest.mark.parametrize(
    "names",
    [
        {"scale": "t_scale", "shift": "m_zero_point"},
        {"scale": "x_scale", "shift": "w_quantized"},
        {"scale": "w_scale", "shift": "b_quantized_scale"},
        {"scale": "y_scale", "shift": "a_zero_point"},
        {"scale": "a_QuantizeLinear_Output", "shift": "s_DequantizeLinear_Output"},
        {"first": "x_QuantizeLinear", "relu": "r_DequantizeLinear"},
        {"first": "fc_quant", "relu": "conv_a_quant"},
    ],
    ids=lambda names: "-".join(names.values()),
)
def test_names_that_the_quantizer_makes_may_be_taken(form, names):
    """By stored tensors and by nodes of the model: it goes on with its own, and interfaces keep their names."""
    model = net(**names)
    result, _ = quantize(model, DATA, settings(form))
    assert [value.name for value in (*result.graph.input, *result.graph.output)] == ["x", "y"]
    made = [each.name for each in result.graph.node]
    assert len(set(made)) == len(made)
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_outputs_may_have_names_that_the_quantizer_makes(form):
    """Of the input and of each other."""
    model = model_of(
        [conv("x", "y", "w"), conv("y", "y_scale", "v"), conv("y_scale", "x_quantized", "v")],
        [("w", random_floats(8, 3, 3, 3)), ("v", random_floats(8, 8, 3, 3, seed=1, scale=0.1))],
        outputs=("y", "y_scale", "x_quantized"),
    )
    result, _ = quantize(model, DATA, settings(form))
    assert [value.name for value in result.graph.output] == ["y", "y_scale", "x_quantized"]
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@pytest.mark.parametrize("name", ["", "same"])
def test_nodes_without_names_or_with_equal_ones(form, name):
    """Each gets its own; a pattern finds those that share one."""
    model = net()
    expected, _ = quantize(model, DATA, settings(form))
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for each in renamed.graph.node:
        each.name = name
    result, _ = quantize(renamed, DATA, settings(form))
    stored = tensors(result)
    assert stored.keys() == tensors(expected).keys()
    for key, array in tensors(expected).items():
        np.testing.assert_array_equal(stored[key], array)
    # without its names it runs in every version of ONNX Runtime
    assert disagreement(model, result, DATA[0]) < CLOSE


def test_what_is_in_no_ones_way_keeps_its_name():
    """Nothing is touched."""
    model = net()
    before = model.SerializeToString(deterministic=True)
    assert make_way(model, set()) == {}
    assert model.SerializeToString(deterministic=True) == before


def test_a_new_name_is_in_no_ones_way_either():
    """And stays in step in nodes and stored tensors."""
    model = net(scale="w_scale", shift="w_2_scale")
    assert make_way(model, {"w_3"}) == {"w": "w_4"}
    assert list(model.graph.node[0].input) == ["x", "w_4", "b"]
    assert {"w_4", "w_scale", "w_2_scale"} <= names_in(model.graph)
    assert "w" not in names_in(model.graph)
    onnx.checker.check_model(model)
