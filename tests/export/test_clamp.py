"""Clamped activations: plain Clip nodes that are found again by the names of their thresholds."""

import numpy as np
import pytest
from mitigate_kit import KINDS, conv_then, exposed, images_of, one_activation, plain_run, residual_net, scalar
from onnx import helper
from onnx_zoo import bits_of, small_cnn

from ftonnx.errors import ModelError, UsageError
from ftonnx.export import clip_activations, find_activations, read_thresholds, thresholds_as_inputs, with_activation
from ftonnx.graphs import copy_of
from ftonnx.inject import FaultSpace

LOWEST = np.finfo(np.float32).min


def clamped(model, thresholds):
    """Return the model with clamps."""
    return clip_activations(model, thresholds, on_exceed="clamp")[0]


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_values_above_the_threshold_become_the_threshold(kind, optimized):
    """All others stay, negative values of signed activations included; NaN passes, +Inf does not."""
    model = one_activation(kind)
    images = np.linspace(-8, 8, 32, dtype=np.float32).reshape(2, 1, 4, 4)
    images[1, 0, 0] = [np.nan, np.inf, 1e30, 5.9]
    before = plain_run(model, images)["y"]
    finite = np.isfinite(before)
    limit = np.sort(before[finite])[-6]
    expected = np.minimum(before, limit)
    assert np.count_nonzero(before > limit) >= (0 if kind == "relu6" else 5)
    got = plain_run(clamped(model, {"act": limit}), images, optimized=optimized)["y"]
    np.testing.assert_allclose(got, expected, rtol=1e-6 if optimized else 0)


@pytest.mark.parametrize(("kind", "lowest"), [("relu", 0.0), ("leaky", LOWEST)])
@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("channels", [1, 16])
def test_what_becomes_of_nan_and_infinities(kind, lowest, optimized, channels):
    """NaN stays, also in the blocked layout and fused with a convolution; a Clip has a lower limit in any case."""
    model = one_activation(kind)
    weight = model.graph.initializer[0]
    ones = np.ones((channels, 1, 1, 1), np.float32)
    weight.CopyFrom(helper.make_tensor("w", weight.data_type, ones.shape, ones.tobytes(), raw=True))
    images = np.ones((1, 1, 4, 4), np.float32)
    images[0, 0, 0] = [np.nan, np.inf, -np.inf, 7]
    got = plain_run(clamped(model, {"act": scalar(3)}), images, optimized=optimized)["y"]
    expected = np.float32([np.nan, 3, lowest, 3])
    np.testing.assert_array_equal(got[0, :, 0], np.broadcast_to(expected, (channels, 4)))


@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_above_all_values_change_no_bit(kind):
    """Activations feed several nodes, and are graph outputs; only standard nodes are added, without targets."""
    model, images = residual_net(kind), images_of(4)
    names = [activation.name for activation in find_activations(model)]
    got = clamped(model, dict.fromkeys(names, scalar(1e6)))
    before, after = plain_run(model, images), plain_run(got, images)
    assert list(before) == list(after)
    assert bits_of(before.values()) == bits_of(after.values())
    assert not got.functions
    assert {node.domain for node in got.graph.node} == {""}
    assert FaultSpace.of(got).fingerprint == FaultSpace.of(model).fingerprint
    # the added Clip is found, and what it stands behind stays an activation
    found = [activation.kind for activation in find_activations(got)]
    assert found == (["clamp"] * 3 if kind in ("relu", "relu6") else ["signed", "clampabove"] * 3)


@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_are_read_changed_and_fed(kind):
    """Under the names that a CReLU's have; a model that is clamped twice is clamped at the later ones."""
    model, images = residual_net(kind), images_of(3)
    limits = {"act1": scalar(0.5), "act2": scalar(0.1), "act3": scalar(0.2)}
    once = clamped(model, limits)
    read = read_thresholds(once)
    assert bits_of(read.values()) == bits_of(limits.values())
    varied, values = thresholds_as_inputs(once)
    assert {name: float(value) for name, value in values.items()} == {
        f"{name}.threshold": float(value) for name, value in limits.items()
    }
    assert [value.name for value in varied.graph.input] == ["x", *values]
    lower = dict.fromkeys(read, scalar(0.05))
    again = clamped(once, lower)
    assert bits_of(read_thresholds(again).values()) == bits_of(lower.values())
    direct = clamped(model, dict.fromkeys(limits, scalar(0.05)))
    assert bits_of(plain_run(again, images).values()) == bits_of(plain_run(direct, images).values())


@pytest.mark.parametrize("kind", ["relu", "relu6", "gelu"])
def test_one_form_takes_the_place_of_the_other(kind):
    """A CReLU becomes a Clip and a Clip a CReLU, whichever was there first."""
    model, images = residual_net(kind), images_of(3)
    limits = dict.fromkeys(("act1", "act2", "act3"), scalar(0.1))
    zeroed, limited = clip_activations(model, limits)[0], clamped(model, limits)
    from_zeroed = clamped(zeroed, read_thresholds(zeroed))
    from_limited, _ = clip_activations(limited, read_thresholds(limited))
    for got, expected in ((from_zeroed, limited), (from_limited, zeroed)):
        assert bits_of(plain_run(got, images).values()) == bits_of(plain_run(expected, images).values())
    assert bits_of(plain_run(zeroed, images).values()) != bits_of(plain_run(limited, images).values())


def test_a_model_exported_with_crelu_is_clamped_like_one_with_relu():
    """Their thresholds of +Inf go."""
    limits = {"relu1": scalar(0.5), "relu2": scalar(0.25)}
    swapped = clamped(with_activation(small_cnn(), "crelu"), limits)
    direct = clamped(small_cnn(), limits)
    images = images_of(3)
    assert bits_of(plain_run(swapped, images).values()) == bits_of(plain_run(direct, images).values())


def test_of_two_limits_of_a_clip_the_lower_one_counts():
    """ReLU6 stays one where the threshold is above 6."""
    model = one_activation("relu6")
    assert [float(value) for value in read_thresholds(clamped(model, {"act": scalar(7)})).values()] == [6.0]
    assert [float(value) for value in read_thresholds(clamped(model, {"act": scalar(5)})).values()] == [5.0]


def test_nodes_without_names_are_found_by_their_outputs():
    """As they are before."""
    model = conv_then(helper.make_node("Relu", ["c"], ["y"]))
    got = clamped(model, {"y": scalar(1)})
    assert {name: float(value) for name, value in read_thresholds(got).items()} == {"y": 1.0}


def test_a_clip_of_somebody_else_is_none_of_ours():
    """Its limit has another name, or is no limit of it."""
    model = copy_of(one_activation("relu6"))
    assert [activation.kind for activation in find_activations(model)] == ["clip"]
    assert read_thresholds(model) == {}


@pytest.mark.parametrize("threshold", [scalar(1), np.ones((1, 1, 1, 1), np.float32)], ids=["clip", "min"])
def test_old_operator_sets_are_refused(threshold):
    """In one line, whatever the clamp would be made of."""
    model = conv_then(helper.make_node("Relu", ["c"], ["y"], name="act1"), opset=10)
    with pytest.raises(ModelError, match="opset 11"):
        clamped(model, {"act1": threshold})


def limits_of(model, images, part, *, per):
    """Return a part of the largest value per channel or neuron of each activation of a residual net."""
    activations = find_activations(model)
    outputs = plain_run(exposed(model, [each.output for each in activations]), images)
    axes = (0, 2, 3) if per == "channel" else (0,)
    return {each.name: part * np.abs(outputs[each.output]).max(axes, keepdims=True) for each in activations}


@pytest.mark.parametrize("per", ["channel", "neuron"])
@pytest.mark.parametrize("kind", KINDS)
def test_thresholds_of_their_own_make_each_channel_or_neuron_its_minimum(kind, per):
    """The first activation against numpy; those above all values change none, and old thresholds are replaced."""
    model, images = residual_net(kind), images_of(4)
    first = find_activations(model)[0]
    low = limits_of(model, images, np.float32(0.25), per=per)
    got = clamped(model, low)
    assert not got.functions
    assert bits_of(read_thresholds(got).values()) == bits_of(low.values())
    assert {activation.kind for activation in find_activations(got)} >= {"minabove"}
    before = plain_run(exposed(model, [first.output]), images)[first.output]
    after = plain_run(exposed(got, [first.output]), images)[first.output]
    np.testing.assert_array_equal(after, np.minimum(before, low[first.name]))
    assert (after < before).any()
    high = clamped(model, limits_of(model, images, np.float32(2), per=per))
    for mine, plain in zip(plain_run(high, images).values(), plain_run(model, images).values(), strict=True):
        np.testing.assert_array_equal(mine, plain)  # where a limit is 0, -0 becomes 0
    assert FaultSpace.of(high).fingerprint == FaultSpace.of(model).fingerprint
    again = clamped(high, dict(zip(read_thresholds(high), low.values(), strict=True)))
    assert bits_of(plain_run(again, images).values()) == bits_of(plain_run(got, images).values())
    assert bits_of(read_thresholds(again).values()) == bits_of(low.values())


@pytest.mark.parametrize("kind", ["relu", "relu6", "gelu"])
def test_zeros_per_neuron_are_replaced_by_minima(kind):
    """As those of whole activations are by Clips; ClipAct feeds the limits of either."""
    model, images = residual_net(kind), images_of(3)
    limits = limits_of(model, images, np.float32(0.25), per="neuron")
    zeroed, limited = clip_activations(model, limits)[0], clamped(model, limits)
    swapped = clamped(zeroed, read_thresholds(zeroed))
    assert bits_of(plain_run(swapped, images).values()) == bits_of(plain_run(limited, images).values())
    assert bits_of(plain_run(zeroed, images).values()) != bits_of(plain_run(limited, images).values())
    _, values = thresholds_as_inputs(limited)
    assert bits_of(values.values()) == bits_of(limits.values())


def test_a_minimum_of_somebody_else_is_none_of_ours():
    """Its limit has another name."""
    model = conv_then(helper.make_node("Min", ["c", "most"], ["y"], name="act"), held=[("most", np.float32(1))])
    assert find_activations(model) == ()


def test_an_upper_limit_that_is_computed_is_refused():
    """Nobody knows whether it is the lower one."""
    nodes = [
        helper.make_node("ReduceMax", ["c"], ["most"], keepdims=0),
        helper.make_node("Clip", ["c", "low", "most"], ["y"], name="act"),
    ]
    model = conv_then(*nodes, held=[("low", np.float32(0))])
    with pytest.raises(ModelError, match="upper limit of 'act' is computed"):
        clamped(model, {"act": scalar(1)})
    observed = plain_run(exposed(model, ["c"]), images_of(1))
    assert observed["y"].max() == observed["c"].max()


def test_an_unknown_form_is_refused():
    """With those that there are."""
    with pytest.raises(UsageError, match="'cut' is not known: use zero, clamp"):
        clip_activations(small_cnn(), {}, on_exceed="cut")
