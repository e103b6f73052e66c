"""Random operators are found where their numbers reach an output, and only there."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_zoo import model_of, stored

from ftonnx.inject import RandomNode, load_model, random_nodes

node = helper.make_node
ON, OFF = (stored("on", np.array(True)), stored("off", np.array(False)))
HALF, NONE = stored("half", np.float32(0.5)), stored("none", np.float32(0))

RANDOM = {
    "RandomNormal": node("RandomNormal", [], ["n"], shape=[1, 3, 8, 8]),
    "RandomNormal with a seed": node("RandomNormal", [], ["n"], shape=[1, 3, 8, 8], seed=1.0),
    "RandomNormalLike": node("RandomNormalLike", ["x"], ["n"]),
    "RandomUniform": node("RandomUniform", [], ["n"], shape=[1, 3, 8, 8]),
    "RandomUniformLike": node("RandomUniformLike", ["x"], ["n"], seed=2.0),
    "Bernoulli": node("Bernoulli", ["p"], ["n"]),
    "Dropout in training": node("Dropout", ["x", "half", "on"], ["n"]),
    "Dropout in training with a seed": node("Dropout", ["x", "half", "on"], ["n"], seed=1),
    "Dropout in training by the usual ratio": node("Dropout", ["x", "", "on"], ["n"]),
}
CALM = {
    "Dropout": node("Dropout", ["x"], ["n"]),
    "Dropout that is switched off": node("Dropout", ["x", "half", "off"], ["n"]),
    "Dropout of nothing": node("Dropout", ["x", "none", "on"], ["n"]),
    "an operator of the same name of somebody else": node("RandomNormal", ["x"], ["n"], domain="com.example"),
}


def added(*nodes, initializers=(), outputs=("y",), **options):
    """Return a model that adds ``n`` to its input, checked."""
    nodes = [node("Sigmoid", ["x"], ["p"]), *nodes, node("Add", ["x", "n"], ["y"])]
    return model_of(nodes, [ON, OFF, HALF, NONE, *initializers], outputs=outputs, **options)


def found(model):
    """Return (name, always) of what is found."""
    return [(each.name, each.always) for each in random_nodes(model)]


def graph(nodes, outputs, inputs=(), initializers=()):
    """Return a graph of floats, as subgraphs are."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*inputs, *outputs)]
    return helper.make_graph(list(nodes), "body", values[: len(inputs)], values[len(inputs) :], list(initializers))


@pytest.mark.parametrize("kind", RANDOM)
def test_every_random_operator_is_found(kind):
    """By its output's name, since these have no name of their own; a seed changes nothing."""
    assert random_nodes(load_model(added(RANDOM[kind])).proto) == [RandomNode("n", kind.split()[0], True)]


@pytest.mark.parametrize("kind", CALM)
def test_what_draws_nothing_is_not_found(kind):
    """Dropout passes its input on where it is off."""
    assert found(added(CALM[kind], domains=("com.example",))) == []


def test_a_drawn_class_is_found_behind_other_nodes():
    """Multinomial's numbers are integers, which a Cast makes scores of."""
    drawn = node("Multinomial", ["f"], ["m"], name="draw", sample_size=1)
    nodes = [node("Flatten", ["x"], ["f"]), drawn, node("Cast", ["m"], ["y"], to=TensorProto.FLOAT)]
    assert found(model_of(nodes)) == [("draw", True)]


def test_noise_that_nobody_uses_is_not_found():
    """No path leads to an output, or only its shape is used."""
    unused = [node("RandomNormalLike", ["x"], ["z"]), node("Relu", ["z"], ["r"])]
    assert found(model_of([*unused, node("Relu", ["x"], ["y"])])) == []
    shape_only = [node("Shape", ["z"], ["s"]), node("Reshape", ["x", "s"], ["y"])]
    assert found(model_of([*unused, *shape_only])) == []
    assert found(model_of([*unused, node("Relu", ["x"], ["y"])], outputs=("y", "r"))) == [("z", True)]


def test_a_switch_behind_other_nodes_is_read_where_the_file_holds_it():
    """As a Constant, or passed on; a computed one may be on."""
    constant = node("Constant", [], ["c"], value=stored("", np.array(False)))
    passed_on = node("Identity", ["c"], ["t"])
    dropout = node("Dropout", ["x", "half", "t"], ["n"], name="drop")
    assert found(added(constant, passed_on, dropout)) == []
    computed = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Greater", ["m", "none"], ["t"])]
    assert found(added(*computed, dropout)) == [("drop", False)]
    no_ratio = node("Constant", [], ["r"], value_float=0.0)
    assert found(added(*computed, no_ratio, node("Dropout", ["x", "r", "t"], ["n"]))) == []


@pytest.mark.parametrize("used", [True, False])
def test_noise_in_a_branch_is_found_where_the_branch_can_be_taken(used):
    """A stored condition takes one branch; each output of an If is made by one output of its branch."""
    noisy = graph([node("RandomNormalLike", ["x"], ["tn"], name="noise"), node("Relu", ["x"], ["tc"])], ["tn", "tc"])
    calm = graph([node("Relu", ["x"], ["en"]), node("Relu", ["x"], ["ec"])], ["en", "ec"])
    made = ["n", "unused"] if used else ["unused", "n"]
    computed = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Greater", ["m", "none"], ["cond"])]
    assert found(added(*computed, node("If", ["cond"], made, then_branch=noisy, else_branch=calm))) == (
        [("noise", True)] if used else []
    )
    assert found(added(node("If", ["on"], made, then_branch=noisy, else_branch=calm))) == (
        [("noise", True)] if used else []
    )
    assert found(added(node("If", ["off"], made, then_branch=noisy, else_branch=calm))) == []


@pytest.mark.parametrize(("outputs", "expected"), [(["n", ""], ["carried"]), (["", "n"], ["carried", "scanned"])])
def test_noise_in_a_loop_is_found_where_it_is_carried_on_or_handed_out(outputs, expected):
    """What one turn leaves to the next may reach everything; what every turn hands out reaches that output only."""
    body = graph(
        [
            node("Identity", ["go"], ["go_on"]),
            node("RandomNormalLike", ["x"], ["a"], name="carried"),
            node("Add", ["state", "a"], ["state_out"]),
            node("RandomUniformLike", ["x"], ["b"], name="scanned"),
        ],
        ["go_on", "state_out", "b"], ["turn", "go", "state"],
    )  # fmt: skip
    for value, kind in (("turn", TensorProto.INT64), ("go", TensorProto.BOOL)):
        next(v for v in body.input if v.name == value).type.tensor_type.elem_type = kind
    body.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    model = added(
        node("Loop", ["times", "", "x"], outputs, body=body), initializers=[stored("times", np.array(2, np.int64))]
    )
    assert [name for name, _ in found(load_model(model).proto)] == expected


def test_noise_in_a_scan_is_found():
    """With the names of the body."""
    body = graph([node("RandomNormalLike", ["row"], ["out"], name="noise")], ["out"], ["row"])
    model = added(node("Scan", ["x"], ["n"], body=body, num_scan_inputs=1))
    assert found(model) == [("noise", True)]


@pytest.mark.parametrize(("switch", "expected"), [("on", [("drop", True)]), ("off", [])])
def test_noise_in_a_function_is_found_by_what_the_caller_hands_in(switch, expected):
    """The switch is an argument; a function in a function is followed too, and named once for two calls."""
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    inner = helper.make_function(
        "own", "Inner", ["a", "s"], ["b", "unused"],
        [
            node("Dropout", ["a", "", "s"], ["b"], name="drop"),
            node("RandomNormalLike", ["a"], ["unused"], name="unused"),
        ],
        imports,
    )  # fmt: skip
    outer = helper.make_function(
        "own", "Outer", ["a", "s"], ["b"], [node("Inner", ["a", "s"], ["b", "u"], domain="own")], imports
    )
    calls = [
        node("Outer", ["x", switch], ["o"], domain="own"),
        node("Inner", ["o", switch], ["n", "u"], domain="own"),
    ]
    assert found(added(*calls, functions=[inner, outer], domains=("own",))) == expected


def test_an_unset_attribute_of_a_function_is_not_taken_for_zero():
    """A ratio that the caller sets by attribute is not known to be 0."""
    ratio = node("Constant", [], ["r"])
    ratio.attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="ratio")
    body = [ratio, node("Dropout", ["a", "r", "s"], ["b"], name="drop")]
    function = helper.make_function("own", "F", ["a", "s"], ["b"], body, [helper.make_opsetid("", 20)], ["ratio"])
    call = node("F", ["x", "on"], ["n"], domain="own", ratio=0.5)
    assert found(added(call, functions=[function], domains=("own",))) == [("drop", False)]
