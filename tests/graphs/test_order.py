"""Nodes in an order in which each has what it needs."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_zoo import bits_of, model_of, ort_run, random_floats, small_cnn, stored
from work_kit import calls_of

from ftonnx.errors import ModelError
from ftonnx.graphs import is_sorted, sort_nodes

node = helper.make_node


def reordered(model, order):
    """Put the nodes of a model into another order, in place."""
    nodes = [model.graph.node[index] for index in order]
    copies = [helper.make_node("Identity", [], []) for _ in nodes]
    for copy, each in zip(copies, nodes, strict=True):
        copy.CopyFrom(each)
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def order_of(body):
    """Return the first outputs of the nodes."""
    return [each.output[0] for each in body.node]


def test_sorted_nodes_stay_as_they_are():
    """Byte for byte."""
    model = small_cnn()
    before = model.SerializeToString(deterministic=True)
    assert is_sorted(model.graph)
    sort_nodes(model.graph)
    assert model.SerializeToString(deterministic=True) == before


def test_any_order_becomes_one_that_runs_and_gives_the_same_bits():
    """Every fourth of the orders of seven nodes; nothing is lost or there twice."""
    x = random_floats(2, 3, 8, 8, seed=3)
    expected = bits_of(ort_run(small_cnn(), {"x": x}))
    count = len(small_cnn().graph.node)
    for order in itertools.islice(itertools.permutations(range(count)), 1, None, 997):
        model = reordered(small_cnn(), order)
        assert not is_sorted(model.graph)
        sort_nodes(model.graph)
        assert order_of(model.graph) == order_of(small_cnn().graph)
        assert bits_of(ort_run(model, {"x": x})) == expected


def test_only_what_comes_too_late_moves():
    """As a converter appends its Casts: each goes in front of the first node that needs it."""
    nodes = [
        node("Relu", ["a16"], ["b"]), node("Neg", ["x"], ["n"]), node("Add", ["b", "n16"], ["c"]),
        node("Abs", ["x"], ["unrelated"]), node("Cast", ["x"], ["a16"], to=10), node("Cast", ["n"], ["n16"], to=10),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [], [])
    sort_nodes(graph)
    assert order_of(graph) == ["a16", "b", "n", "n16", "c", "unrelated"]
    assert is_sorted(graph)


def branch(name, captured, *, late):
    """Return a branch of two nodes."""
    nodes = [node("Add", [captured, f"{name}_w"], [f"{name}_t"]), node("Relu", [f"{name}_t"], [f"{name}_o"])]
    if late:
        nodes.reverse()
    output = helper.make_tensor_value_info(f"{name}_o", TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [output], [stored(f"{name}_w", np.float32(2))])


@pytest.mark.parametrize("inside", [False, True])
def test_what_a_branch_takes_from_around_it_comes_first(inside):
    """The node with the branches is sorted behind it, and the nodes in the branches are sorted too."""
    branches = {f"{name}_branch": branch(name, "a", late=inside) for name in ("then", "else")}
    nodes = [node("If", ["p"], ["y"], **branches), node("MatMul", ["x", "w"], ["a"])]
    model = model_of(
        nodes, [("p", np.array(True)), ("w", random_floats(4, 4))], inputs={"x": ("n", 4)}, outputs={"y": ("n", 4)}
    )
    assert not is_sorted(model.graph)
    sort_nodes(model.graph)
    assert is_sorted(model.graph)
    assert order_of(model.graph) == ["a", "y"]
    assert order_of(model.graph.node[1].attribute[0].g) in (["then_t", "then_o"], ["else_t", "else_o"])
    x = random_floats(3, 4, seed=5)
    np.testing.assert_array_equal(ort_run(model, {"x": x})[0], np.maximum(x @ random_floats(4, 4) + np.float32(2), 0))


def test_a_function_is_sorted_as_a_graph_is():
    """Its nodes stand in the same way."""
    nodes = [node("Relu", ["t"], ["b"]), node("Add", ["a", "a"], ["t"])]
    function = helper.make_function("local", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 20)])
    assert not is_sorted(function)
    sort_nodes(function)
    assert order_of(function) == ["t", "b"]


def test_a_long_chain_in_reverse_is_sorted():
    """Longer than Python's own stack."""
    nodes = [node("Neg", [str(place)], [str(place + 1)]) for place in reversed(range(5000))]
    graph = helper.make_graph(nodes, "g", [], [])
    sort_nodes(graph)
    assert order_of(graph) == [str(place + 1) for place in range(5000)]


CIRCLES = {
    "itself": ([node("Relu", ["y"], ["y"], name="own")], ["'own' (Relu)"]),
    "each other": (
        [node("Add", ["x", "b"], ["a"], name="first"), node("Neg", ["a"], ["b"])],
        ["'first' (Add)", "'b' (Neg)"],
    ),
    "through a branch": (
        [node("If", ["p"], ["y"], name="if", then_branch=branch("t", "z", late=False)), node("Neg", ["y"], ["z"])],
        ["'if' (If)", "'z' (Neg)"],
    ),
}


@pytest.mark.parametrize(("nodes", "named"), CIRCLES.values(), ids=CIRCLES)
def test_a_circle_is_refused_by_the_names_of_its_nodes(nodes, named):
    """Those that lead into it are not named."""
    before = [node("Abs", [nodes[0].output[0]], ["leads_in"], name="before")]
    graph = helper.make_graph([*before, *nodes], "g", [], [])
    with pytest.raises(ModelError, match="in a circle") as caught:
        sort_nodes(graph)
    assert str(caught.value).endswith(f"in a circle: {', '.join(named)}")


def test_of_a_long_circle_the_first_nodes_are_named():
    """A message is one line that can be read."""
    nodes = [node("Neg", [str((place + 1) % 9)], [str(place)], name=f"n{place}") for place in range(9)]
    with pytest.raises(ModelError, match="'n4' \\(Neg\\) and 4 more"):
        sort_nodes(helper.make_graph(nodes, "g", [], []))


def test_nested_graphs_are_looked_into_once():
    """Not once for every graph around them."""
    shallow = calls_of(lambda: is_sorted(_nested(4).graph))
    deep = calls_of(lambda: is_sorted(_nested(8).graph))
    assert deep < 2.3 * shallow


def _nested(depth):
    """Return a model with Ifs in each other, and ten nodes around each."""
    output = onnx.ValueInfoProto(name="o")
    short = helper.make_graph([node("Relu", ["x"], ["o"])], "short", [], [output])
    graph = short
    for level in range(depth):
        nodes = [node("Relu", ["x"], [f"r{level}_{place}"]) for place in range(9)]
        choice = node("If", ["yes"], ["o"], then_branch=graph, else_branch=short)
        graph = helper.make_graph([*nodes, choice], f"g{level}", [], [output])
    return helper.make_model(graph)
