"""Who reads a value, bodies of If, Loop and Scan included."""

from onnx import TensorProto, helper

from ftonnx.graphs import count_readers, used_by

node = helper.make_node


def value(name):
    """Return a float tensor of any shape."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def body(name, nodes, outputs, *, inputs=(), stored=()):
    """Return a subgraph."""
    tensors = [helper.make_tensor(each, TensorProto.FLOAT, (), [1.0]) for each in stored]
    return helper.make_graph(nodes, name, [value(i) for i in inputs], [value(o) for o in outputs], tensors)


def branching(then_nodes, then_output, **given):
    """Return an If whose else branch reads nothing."""
    nothing = body("else", [node("Identity", ["e_w"], ["e"])], ["e"], stored=["e_w"])
    return node("If", ["p"], ["y"], then_branch=body("then", then_nodes, [then_output], **given), else_branch=nothing)


def test_inputs_outputs_and_repeated_inputs_are_counted_each():
    """An optional input that is left out is nobody's."""
    graph = body("g", [node("Add", ["x", "x"], ["a"]), node("Clip", ["a", "", "x"], ["y"])], ["y", "a"], inputs=["x"])
    assert dict(count_readers(graph)) == {"x": 3, "a": 2, "y": 1}
    assert count_readers(graph)["nobody"] == 0


def test_what_a_branch_takes_from_around_it_is_read():
    """Its own stored values and those it makes are not."""
    branch = branching([node("Mul", ["r", "w"], ["t"]), node("Add", ["t", "r"], ["u"])], "u", stored=["w"])
    assert list(used_by(branch)) == ["p", "r", "r"]
    graph = body("g", [node("Relu", ["x"], ["r"]), branch], ["y"], inputs=["x", "p"])
    assert dict(count_readers(graph)) == {"x": 1, "p": 1, "r": 2, "y": 1}


def test_a_branch_that_hands_out_a_value_from_around_it_reads_it():
    """Without a node of its own."""
    assert list(used_by(branching([], "r"))) == ["p", "r"]


def test_bodies_within_bodies_read_what_is_around_all_of_them():
    """The inner one's view of the outer one's values stays inside."""
    inner = branching([node("Add", ["t", "deep"], ["u"])], "u")
    outer = body("then", [node("Relu", ["r"], ["t"]), node("Identity", ["deep2"], ["p"]), inner], ["y"])
    assert sorted(used_by(node("If", ["c"], ["z"], then_branch=outer))) == ["c", "deep", "deep2", "r"]


def test_what_a_loop_or_scan_is_given_is_its_own_inside():
    """A name of the body's inputs means the body's, also where a value around it has it too."""
    step = body("step", [node("Add", ["carried", "captured"], ["next"])], ["next"], inputs=["carried"])
    assert list(used_by(node("Scan", ["start"], ["y"], body=step, num_scan_inputs=0))) == ["start", "captured"]
