"""Stored tensors of subgraphs and functions, moved to the main graph: plain ONNX Runtime computes the same bits."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import bits_of, find_tensors, model_of, ort_run, random_floats
from work_kit import calls_of

from ftonnx.graphs import copy_of, has_inner_bodies, hoist, inner_initializers, name_apart, stored_anywhere

node = helper.make_node
ROW = helper.make_tensor_value_info
X = {"x": random_floats(2, 4, seed=1, scale=1)}
OPSET = [helper.make_opsetid("", 20)]


def constant(name, *shape, seed=0):
    """Return a Constant node with a random tensor."""
    return node("Constant", [], [name], value=numpy_helper.from_array(random_floats(*shape, seed=seed), name))


def branch(nodes, output, stored=(), name="branch"):
    """Return a subgraph with one output."""
    tensors = [numpy_helper.from_array(array, tensor) for tensor, array in stored]
    return helper.make_graph(nodes, name, [], [ROW(output, TensorProto.FLOAT, (None, 4))], tensors)


def table(nodes, initializers=(), **more):
    """Return a model from (batch, 4) to (batch, 4)."""
    return model_of(nodes, initializers, inputs={"x": ("n", 4)}, outputs={"y": ("n", 4)}, **more)


def condition(then, other):
    """Return nodes that run one of two subgraphs on x."""
    return [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]


def one_name_in_two_branches():
    """Each has its own w, and so has the main graph."""
    then = branch([node("MatMul", ["x", "w"], ["t"])], "t", [("w", random_floats(4, 4, seed=2))])
    other = branch([node("MatMul", ["x", "w"], ["e"])], "e", [("w", random_floats(4, 4, seed=3))])
    nodes = condition(then, other)
    nodes[-1].output[0] = "z"
    stored = [("zero", np.float32(0)), ("w", random_floats(4, 4, seed=4))]
    return table([*nodes, node("MatMul", ["z", "w"], ["y"])], stored)


def branch_in_a_branch():
    """The inner one reads the outer one's tensor, and stores another in a Constant."""
    inner = branch(
        [constant("v", 4, 4, seed=5), node("MatMul", ["x", "v"], ["a"]), node("Add", ["a", "w"], ["i"])], "i"
    )
    outer_nodes = [
        node("ReduceMax", ["w"], ["top"], keepdims=0),
        node("Greater", ["top", "zero"], ["again"]),
        node("If", ["again"], ["o"], then_branch=inner, else_branch=branch([node("Identity", ["x"], ["k"])], "k")),
    ]
    outer = branch(outer_nodes, "o", [("w", random_floats(4, seed=6))])
    return table(condition(outer, branch([node("Neg", ["x"], ["e"])], "e")), [("zero", np.float32(0))])


def a_tensor_that_is_the_output():
    """Of a branch, beside its use."""
    then = branch([], "w", [("w", random_floats(1, 4, seed=7))])
    return table(condition(then, branch([node("Neg", ["x"], ["e"])], "e")), [("zero", np.float32(0))])


def functions_in_functions():
    """The outer one is called twice, the inner one from a branch inside it, with an optional input left out."""
    inner = helper.make_function(
        "local", "Inner", ["a", "limit"], ["o"],
        [constant("w", 4, 4, seed=8), node("MatMul", ["a", "w"], ["m"]), node("Clip", ["m", "limit"], ["o"])], OPSET,
    )  # fmt: skip
    body = branch([node("Inner", ["a"], ["t"], domain="local")], "t")
    outer_nodes = [
        constant("w", 4, seed=9),
        node("Add", ["a", "w"], ["s"]),
        node("ReduceMax", ["s"], ["top"], keepdims=0),
        node("Less", ["top", "w0"], ["small"]),
        node("If", ["small"], ["b"], then_branch=branch([node("Identity", ["s"], ["k"])], "k"), else_branch=body),
        node("Sub", ["b", "w"], ["o"]),
    ]
    outer_nodes.insert(1, node("ReduceMin", ["w"], ["w0"], keepdims=0))
    imports = [*OPSET, helper.make_opsetid("local", 1)]
    outer = helper.make_function("local", "Outer", ["a"], ["o"], outer_nodes, imports)
    nodes = [node("Outer", ["x"], ["h"], domain="local"), node("Outer", ["h"], ["y"], domain="local")]
    return table(nodes, functions=[inner, outer], domains=["local"])


def loop():
    """Three rounds of a dense layer."""
    body = helper.make_graph(
        [
            node("Identity", ["go"], ["still"]),
            node("MatMul", ["state", "w"], ["m"]),
            node("Tanh", ["m"], ["next"]),
        ],
        "body",
        [ROW("step", TensorProto.INT64, ()), ROW("go", TensorProto.BOOL, ()), ROW("state", TensorProto.FLOAT, None)],
        [ROW("still", TensorProto.BOOL, ()), ROW("next", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(random_floats(4, 4, seed=1), "w")],
    )
    return table([node("Loop", ["times", "", "x"], ["y"], body=body)], [("times", np.int64(3))])


MODELS = {
    "one name in two branches": (one_name_in_two_branches, 3),
    "a branch in a branch": (branch_in_a_branch, 2),
    "a tensor that is the output": (a_tensor_that_is_the_output, 1),
    "functions in functions": (functions_in_functions, 2),
    "a loop": (loop, 1),
}


def floats_of(model):
    """Return every stored matrix or vector, wherever it lies."""
    found = []
    for body in (model.graph, *model.functions):
        for name in ("w", "v"):
            found += find_tensors(body, name)
    return found


@pytest.mark.parametrize("case", MODELS)
def test_a_model_computes_the_same_with_its_tensors_in_the_main_graph(case):
    """Bit for bit, and for inputs of either sign; every tensor is found under a name of its own, with its values."""
    make, count = MODELS[case]
    model = make()
    assert has_inner_bodies(model)
    moved = copy_of(model)
    tensors = floats_of(moved)
    values = [numpy_helper.to_array(tensor).tolist() for tensor in tensors]
    names = hoist(moved, tensors)
    assert len(names) == len(set(names)) == count
    stored = {tensor.name: tensor for tensor in moved.graph.initializer}
    assert [numpy_helper.to_array(stored[name]).tolist() for name in names] == values
    assert not any(tensor.name in names for tensor in inner_initializers(moved))
    onnx.checker.check_model(moved)
    for sign in (1, -1):
        feeds = {"x": sign * X["x"]}
        assert bits_of(ort_run(moved, feeds)) == bits_of(ort_run(model, feeds))
        changed = copy_of(moved)
        for tensor in changed.graph.initializer:
            if tensor.name in names:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
        # they are what is read: other values give other outputs
        if sign == 1:
            assert bits_of(ort_run(changed, feeds)) != bits_of(ort_run(model, feeds))


@pytest.mark.parametrize("case", MODELS)
def test_names_alone_change_nothing_either(case):
    """Tensors stay where they are, under names that nothing else has."""
    make, _ = MODELS[case]
    model = make()
    named = copy_of(model)
    names = name_apart(named, floats_of(named))
    assert stored_anywhere(named).keys() >= set(names)
    assert len(named.graph.initializer) == len(model.graph.initializer)
    assert bits_of(ort_run(named, X)) == bits_of(ort_run(model, X))


def test_a_name_that_means_something_else_further_in_is_left_alone():
    """A subgraph may use an outer name for a value of its own."""
    inner = branch([node("Neg", ["x"], ["w"]), node("Identity", ["w"], ["i"])], "i")
    outer_nodes = [
        node("If", ["positive"], ["o"], then_branch=inner, else_branch=inner),
        node("Add", ["o", "w"], ["p"]),
    ]
    outer = branch(outer_nodes, "p", [("w", random_floats(4))])
    model = table(condition(outer, branch([node("Neg", ["x"], ["e"])], "e")), [("zero", np.float32(0))])
    (tensor,) = inner_initializers(model)
    (name,) = hoist(model, [tensor])
    (outer,) = [each.g for each in model.graph.node[2].attribute if each.name == "then_branch"]
    assert list(outer.node[1].input) == ["o", name]
    for each in outer.node[0].attribute:
        assert [list(inside.input) for inside in each.g.node] == [["x"], ["w"]]


def test_what_cannot_be_moved_is_refused():
    """The default of a subgraph's input, and another model's tensor."""
    model = loop()
    body = model.graph.node[0].attribute[0].g
    body.initializer[0].name = "state"
    with pytest.raises(ValueError, match="'state' is an input of a subgraph"):
        hoist(model, [body.initializer[0]])
    with pytest.raises(ValueError, match="another model"):
        hoist(loop(), [numpy_helper.from_array(np.float32(1), "stranger")])


def test_a_plain_model_has_nothing_to_move():
    """Its tensors keep their names, and its Constants become initializers."""
    model = table(
        [constant("w", 4, 4), node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])],
        [("b", random_floats(4))],
    )
    assert not has_inner_bodies(model)
    expected = bits_of(ort_run(model, X))
    stored = stored_anywhere(model)
    assert hoist(model, [stored["w"], stored["b"]]) == ["w", "b"]
    assert {tensor.name for tensor in model.graph.initializer} == {"w", "b"}
    assert bits_of(ort_run(model, X)) == expected


def test_many_equal_names_take_time_in_proportion():
    """Counted in calls: twice as many tensors are at most 2.3 times the work."""
    few = calls_of(lambda: hoist(*_equal_names(60)))
    many = calls_of(lambda: hoist(*_equal_names(120)))
    assert many < 2.3 * few


def _equal_names(count):
    """Return a model whose branches store tensors of equal names, and the tensors."""
    names = [f"b{place}" for place in range(count)]
    branches = []
    for which in ("then", "else"):
        reads = ["h", *[f"{which}{place}" for place in range(count)]]
        adds = [node("Add", [reads[place], names[place]], [reads[place + 1]]) for place in range(count)]
        stored = [(name, random_floats(4)) for name in names]
        branches.append(branch(adds, reads[-1], stored, which))
    choice = node("If", ["yes"], ["y"], then_branch=branches[0], else_branch=branches[1])
    yes = numpy_helper.from_array(np.array(True), "yes")
    model = table([node("Relu", ["x"], ["h"]), choice], [yes])
    return model, inner_initializers(model)
