"""Relu and Clip that the quantizer removes, and those whose codes do not stand for them."""

import itertools

import numpy as np
import pytest
from mitigate_kit import images_of, plain_run, residual_net
from onnx import numpy_helper
from onnx_zoo import model_of, random_floats
from quant_graphs import conv, disagreement, head, run_all
from quant_kit import batches, crelu_function, inside, node, operators

from ftonnx.export import clip_activations
from ftonnx.quant import CalibrationCache, QuantSettings, quantize
from ftonnx.quant.clamps import Clamps

DATA = batches(2, 8)
CLOSE = 0.04
FORMATS = pytest.mark.parametrize("form", ["qdq", "qoperator"])
BOUNDS = {"one": 1.0, "six": 6.0, "half": 0.5, "minus": -1.0, "minus_half": -0.5}


def settings(form, **options):
    """Return settings whose ranges are those of the data, so that nothing saturates."""
    return QuantSettings(quant_format=form, calibration="minmax", **options)


def chain(*clamps):
    """Return Conv, then nodes given as (operator, names of bounds), named n0, n1, and so on, then a head."""
    nodes, stored = head("last")
    names = ["a", *(f"z{i}" for i in range(len(clamps) - 1)), "last"]
    between = []
    for index, (op, *bounds) in enumerate(clamps):
        between.append(node(op, [names[index], *bounds], [names[index + 1]], name=f"n{index}"))
    bounds = [(name, np.float32(value)) for name, value in BOUNDS.items()]
    return model_of(
        [conv("x", "a", "w", "b"), *between, *nodes],
        [("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1)), *bounds, *stored],
    )


CHAINS = [
    [("Relu",), ("Relu",)],
    [("Clip", "", "one"), ("Relu",)],
    [("Relu",), ("Clip",), ("Relu",)],
    [("Clip", "minus", "six"), ("Clip", "half", "one")],
    [("Clip", "minus"), ("Clip", "", "half"), ("Clip", "minus_half", "six")],
    [("Identity",), ("Relu",), ("Dropout",), ("Relu",), ("Identity",)],
    [("Relu",), ("MaxPool",), ("Relu",)],
]


@FORMATS
@pytest.mark.parametrize("clamps", CHAINS, ids=lambda clamps: "-".join(op for op, *_ in clamps))
def test_chains_of_clamps(form, clamps):
    """Each takes the range of the last one, which alone is calibrated by histograms."""
    model = chain(*clamps)
    for each in model.graph.node:
        if each.op_type == "MaxPool":
            each.attribute.extend(node("MaxPool", [], [], kernel_shape=[2, 2]).attribute)
    result, _ = quantize(model, DATA, QuantSettings(quant_format=form))
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@pytest.mark.parametrize("bounds", [("half", "six"), ("half",), ("minus", "minus_half"), ("", "minus_half")])
def test_a_clip_whose_range_is_without_zero_stays(form, bounds):
    """Codes represent 0 in any case, so they do not end where it does."""
    model = chain(("Clip", *bounds))
    result, _ = quantize(model, DATA, settings(form))
    assert operators(result)["Clip"] == 1
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@pytest.mark.parametrize("bounds", [("minus", "six"), ("", "one"), ()])
def test_a_clip_around_zero_is_removed(form, bounds):
    """Its codes saturate for it."""
    model = chain(("Clip", *bounds))
    result, _ = quantize(model, DATA, settings(form))
    assert operators(result)["Clip"] == 0
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@pytest.mark.parametrize("threshold", [0.3, 100.0])
def test_codes_end_where_a_clamped_activation_does(form, threshold):
    """Its Clip is gone, and what is driven beyond all images gives the threshold, or the largest value calibrated."""
    clamped, _ = clip_activations(
        residual_net("relu"), dict.fromkeys(("act1", "act2", "act3"), np.float32(threshold)), on_exceed="clamp"
    )
    images = images_of(16)
    result, _ = quantize(clamped, [images], settings(form))
    assert operators(result)["Clip"] == 0
    driven = plain_run(result, 1000 * images)
    for name in ("a1", "a3"):
        expected = plain_run(clamped, images)[name].max()
        assert driven[name].max() == pytest.approx(expected, rel=1e-5)


@FORMATS
@pytest.mark.parametrize("on_exceed", ["zero", "clamp"])
def test_limits_per_neuron_hold_in_integers_too(form, on_exceed):
    """What is driven beyond all images stays below each neuron's limit, up to a step of the codes."""
    model, images = residual_net("relu"), images_of(16)
    limit = 0.9 * plain_run(model, images)["a1"].max(axis=0, keepdims=True)
    clipped, _ = clip_activations(model, {"act1": limit}, on_exceed=on_exceed)
    result, _ = quantize(clipped, [images], settings(form))
    step = limit.max() / 254
    for strength in (1, 1000):
        assert (plain_run(result, strength * images)["a1"] <= limit + step).all()
    if on_exceed == "clamp":  # a value that is zero instead of the limit is far away
        assert disagreement(clipped, result, images) < CLOSE


@FORMATS
def test_a_clip_with_a_computed_bound_stays(form):
    """Nobody knows where it ends."""
    model = chain(("Clip", "bound"))
    model.graph.node.insert(0, node("ReduceMax", ["b"], ["bound"], name="highest", keepdims=0))
    model.graph.node.insert(0, node("ReduceMean", ["x"], ["mean"], name="mean", keepdims=0))
    model.graph.node[1].op_type = "Add"
    del model.graph.node[1].attribute[:]
    model.graph.node[1].input[:] = ["mean", "half"]
    result, _ = quantize(model, DATA, settings(form))
    assert operators(result)["Clip"] == 1
    assert disagreement(model, result, DATA[0]) < CLOSE


def test_bounds_are_attributes_in_old_files():
    """Up to opset 10."""
    nodes, stored = head("r")
    model = model_of(
        [conv("x", "a", "w"), node("Clip", ["a"], ["r"], name="clip", min=0.5, max=2.0), *nodes],
        [("w", random_floats(8, 3, 3, 3)), *stored],
        opset=10,
    )
    result, _ = quantize(model, DATA, settings("qdq", per_channel=False))
    assert result.opset_import[0].version == 10
    assert operators(result)["Clip"] == 1
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
@pytest.mark.parametrize("op", ["MaxPool", "Reshape", "Transpose", "Pad"])
def test_a_relu_behind_an_operator_without_a_scale_of_its_own(form, op):
    """Between integer operators its input has the codes of negative values too."""
    options = {"MaxPool": {"kernel_shape": [2, 2]}, "Transpose": {"perm": [0, 1, 3, 2]}}
    rest = {"Reshape": ["shape"], "Pad": ["by"]}
    nodes, stored = head("r")
    model = model_of(
        [
            conv("x", "a", "w", "b"),
            node(op, ["a", *rest.get(op, [])], ["m"], name="moved", **options.get(op, {})),
            node("Relu", ["m"], ["r"], name="relu"),
            *nodes,
        ],
        [
            ("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1) - 1), ("shape", np.array([-1, 8, 4, 16])),
            ("by", np.array([0, 0, 1, 1, 0, 0, 1, 1])), *stored,
        ],
    )  # fmt: skip
    result, _ = quantize(model, DATA, settings(form))
    assert disagreement(model, result, DATA[0]) < CLOSE


@FORMATS
def test_an_output_before_a_relu_keeps_its_negative_values(form):
    """Whoever runs the model reads what the Relu reads."""
    model = model_of(
        [conv("x", "y", "w"), node("Relu", ["y"], ["r"], name="relu"), conv("r", "z", "v")],
        [("w", random_floats(8, 3, 3, 3)), ("v", random_floats(8, 8, 3, 3, seed=1))],
        outputs=("y", "z"),
    )
    result, _ = quantize(model, DATA, settings(form))
    assert run_all(result, {"x": DATA[0]})["y"].min() < -1
    assert disagreement(model, result, DATA[0]) < CLOSE


def with_crelus(model, thresholds):
    """Make CReLUs of the named nodes; the model is changed."""
    for index, (name, threshold) in enumerate(thresholds.items()):
        clamp = next(each for each in model.graph.node if each.name == name)
        clamp.domain = "ftonnx"
        clamp.op_type = "CReLU"
        clamp.input.append(f"T{index}")
        model.graph.initializer.append(numpy_helper.from_array(np.float32(threshold), f"T{index}"))
    model.functions.append(crelu_function(20))
    model.opset_import.add(domain="ftonnx", version=1)
    return model


@FORMATS
@pytest.mark.parametrize("thresholds", [{"n0": 1.0}, {"n1": 1.0}, {"n0": 1.25, "n1": 0.75}], ids=lambda t: "-".join(t))
def test_crelus_in_chains_clip(form, thresholds):
    """Nothing comes out of the chain that is above a threshold, and what is clearly below is as it was."""
    model = with_crelus(chain(("Relu",), ("Relu",)), thresholds)
    # what comes out of the chain is an output too
    model.graph.output.append(model.graph.output[0])
    model.graph.output[1].name = "last"
    model.graph.output[1].type.tensor_type.shape.Clear()
    for size in (None, 8, 8, 8):
        axis = model.graph.output[1].type.tensor_type.shape.dim.add()
        if size:
            axis.dim_value = size
    result, report = quantize(model, DATA, QuantSettings(quant_format=form))
    assert {each.node for each in report.clipped} == set(thresholds)
    wanted = run_all(model, {"x": DATA[0]})["last"]
    got = run_all(result, {"x": DATA[0]})["last"]
    assert got.min() == 0
    assert got.max() <= min(thresholds.values()) * 255 / 254
    before = inside(model, ["a"], {"x": DATA[0]})["a"]
    clear = np.ones(before.shape, np.bool_)
    for threshold in thresholds.values():
        # six times the error that the codes of the input cause
        clear &= np.abs(before - threshold) > 0.15
    assert clear.mean() > 0.8
    assert np.abs(got - wanted)[clear].max() < 0.15


@FORMATS
def test_ranges_from_the_cache_of_the_other_format(form, tmp_path):
    """The two formats remove other clamps, and have the same ranges."""
    cache = CalibrationCache(path=tmp_path / "c.json", data="d")
    nodes, stored = head("r")
    model = model_of(
        [
            conv("x", "a", "w", "b"), node("MaxPool", ["a"], ["m"], name="pool2", kernel_shape=[2, 2]),
            node("Relu", ["m"], ["r"], name="relu"), *nodes,
        ],
        [("w", random_floats(8, 3, 3, 3)), ("b", random_floats(8, seed=1) - 1), *stored],
    )  # fmt: skip
    other = {"qdq": "qoperator", "qoperator": "qdq"}[form]
    quantize(model, DATA, settings(other), cache=cache)
    result, report = quantize(model, DATA, settings(form), cache=cache)
    assert report.from_cache
    assert result == quantize(model, DATA, settings(form)).proto


def test_a_long_chain_of_clamps_is_no_matter():
    """Longer than Python's stack; each clamp is removed, as the first of them is behind a product."""
    names = [f"v{place}" for place in range(3001)]
    clamps = [node("Relu", [before], [after], name=after) for before, after in itertools.pairwise(names)]
    nodes = [node("MatMul", ["x", "w"], ["v0"]), *clamps]
    weight = numpy_helper.from_array(random_floats(4, 4), "w")
    model = model_of(nodes, [weight], inputs={"x": ("n", 4)}, outputs={names[-1]: ("n", 4)})
    assert Clamps(model, set(), set()).kept("qoperator") == set()
