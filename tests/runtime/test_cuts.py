"""Cuts: where they lie, and which are chosen."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_zoo import model_of, random_floats, small_cnn

from ftonnx.runtime.reuse.cuts import Cut, choose_cuts, find_cuts

node = helper.make_node


def residual():
    """Return conv, relu, conv, add with a skip, relu."""
    return model_of(
        [
            node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"]),
            node("Conv", ["b", "w2"], ["c"], pads=[1, 1, 1, 1]),
            node("Add", ["b", "c"], ["d"]),
            node("Relu", ["d"], ["y"]),
        ],
        [("w1", random_floats(4, 3, 3, 3)), ("w2", random_floats(4, 4, 3, 3))],
    )


def test_a_cut_lists_everything_that_later_nodes_need():
    """Inside the block two tensors are alive, at its end one; stored tensors and inputs are none of them."""
    assert [(cut.node, cut.tensors) for cut in find_cuts(residual().graph)] == [
        (1, ("a",)), (2, ("b",)), (3, ("b", "c")), (4, ("d",)),
    ]  # fmt: skip


def test_a_model_output_made_early_stays_alive():
    """It is part of every later cut, so that a run that starts there still has it."""
    model = residual()
    model.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
    later = find_cuts(model.graph)[1:]
    assert later
    assert all("b" in cut.tensors for cut in later)


def test_what_a_subgraph_takes_from_around_it_stays_alive():
    """The branches of an If read tensors that are no inputs of the node."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node("Add", ["a", "a"], [f"{name}_o"])], name, [],
            [helper.make_tensor_value_info(f"{name}_o", TensorProto.FLOAT, None)],
        )
        for name in ("then", "else")
    }  # fmt: skip
    graph = helper.make_graph(
        [
            node("Relu", ["x"], ["a"]),
            node("ReduceSum", ["x"], ["s"], keepdims=0),
            node("Greater", ["s", "zero"], ["p"]),
            node("If", ["p"], ["y"], **branches),
        ],
        "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    assert [cut.tensors for cut in find_cuts(graph)] == [("a",), ("a", "s"), ("a", "p")]


def test_a_long_graph_is_thinned_to_its_narrow_places():
    """At most 64 candidates; of a block of three nodes the one-tensor place stays."""
    nodes = []
    for i in range(100):
        nodes += [
            node("Relu", [f"t{i}"], [f"u{i}"]),
            node("Neg", [f"t{i}"], [f"v{i}"]),
            node("Add", [f"u{i}", f"v{i}"], [f"t{i + 1}"]),
        ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("t100", TensorProto.FLOAT, None)],
    )  # fmt: skip
    cuts = find_cuts(graph)
    assert 40 <= len(cuts) <= 64
    assert all(len(cut.tensors) == 1 for cut in cuts)


def test_a_graph_of_one_node_has_no_cut():
    """Nothing lies between its beginning and its end."""
    model = model_of([node("Relu", ["x"], ["y"])])
    assert find_cuts(model.graph) == []
    assert choose_cuts([], [], {}, [1.0], 10) == []


def saved(chosen, cuts, seconds, weights):
    """Return the mean time saved per run: every first faulty node in turn starts at the last cut before it."""
    before = {cut.node: t for cut, t in zip(cuts, seconds, strict=True)}
    return sum(
        weight * max((before[cut.node] for cut in chosen if cut.node <= place), default=0.0)
        for place, weight in enumerate(weights)
    )


@pytest.mark.parametrize("seed", range(5))
def test_with_room_for_all_the_choice_saves_nearly_as_much_as_every_cut(seed):
    """What is left out saves less than its share of the time each."""
    rng = np.random.default_rng(seed)
    cuts = [Cut(i + 1, (f"t{i}",)) for i in range(12)]
    seconds = np.cumsum(rng.random(12)).tolist()
    weights = rng.dirichlet(np.ones(13)).tolist()
    chosen = choose_cuts(cuts, seconds, {f"t{i}": 1 for i in range(12)}, weights, 12)
    best = saved(cuts, cuts, seconds, weights)
    assert best - 0.001 * seconds[-1] * len(cuts) <= saved(chosen, cuts, seconds, weights) <= best


@pytest.mark.parametrize("seed", range(5))
def test_with_little_room_the_choice_is_close_to_the_best_one(seed):
    """Against every subset that fits; greedy choices lose little."""
    rng = np.random.default_rng(seed)
    cuts = [Cut(i + 1, (f"t{i}",)) for i in range(9)]
    sizes = {f"t{i}": int(size) for i, size in enumerate(np.linspace(60, 5, 9))}
    seconds = np.cumsum(rng.random(9)).tolist()
    weights = rng.dirichlet(np.ones(10)).tolist()
    chosen = choose_cuts(cuts, seconds, sizes, weights, 80)
    assert sum(sizes[name] for cut in chosen for name in cut.tensors) <= 80
    fitting = (
        some for n in range(10) for some in itertools.combinations(cuts, n)
        if sum(sizes[name] for cut in some for name in cut.tensors) <= 80
    )  # fmt: skip
    best = max(saved(some, cuts, seconds, weights) for some in fitting)
    assert saved(chosen, cuts, seconds, weights) >= 0.7 * best


def test_without_memory_nothing_is_chosen():
    """Zero bytes switch reuse off."""
    cuts = find_cuts(small_cnn().graph)
    names = {name: 100 for cut in cuts for name in cut.tensors}
    count = len(small_cnn().graph.node)
    assert choose_cuts(cuts, list(range(1, len(cuts) + 1)), names, [1 / count] * count, 0) == []


def test_a_tensor_that_is_held_anyway_costs_nothing_again():
    """Two cuts share their tensor: the second needs no memory."""
    cuts = [Cut(1, ("a",)), Cut(2, ("a",))]
    assert choose_cuts(cuts, [1.0, 2.0], {"a": 10}, [0.2, 0.4, 0.4], 10) == cuts
