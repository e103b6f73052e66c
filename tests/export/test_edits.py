"""The proof that an edit changed the activations and nothing else: it notices what did change."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx_zoo import model_of, small_cnn, stored

from ftonnx.errors import ModelError
from ftonnx.export.edits import finished, stored_threshold
from ftonnx.graphs import copy_of


def test_a_model_that_was_not_edited_is_the_same():
    """Through onnx-ir and back."""
    proto = small_cnn()
    same = finished(ir.from_proto(proto), proto, changed=set())
    assert list(same.graph.node) == list(proto.graph.node)


def test_a_changed_weight_is_noticed():
    """One bit of one stored tensor."""
    proto = small_cnn()
    other = copy_of(proto)
    tensor = other.graph.initializer[0]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.reshape(-1).view(np.uint32)[0] ^= 1
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    with pytest.raises(ModelError, match=f"the edit changed the stored tensor '{tensor.name}'"):
        finished(ir.from_proto(other), proto, changed=set())


def test_a_changed_node_is_noticed_unless_it_is_one_of_the_edited():
    """By its attributes; the output's name says whose node it is."""
    proto = small_cnn()
    other = copy_of(proto)
    (node,) = [node for node in other.graph.node if node.op_type == "Relu"][:1]
    node.op_type = "Softsign"
    with pytest.raises(ModelError, match="the edit changed a node that is no activation"):
        finished(ir.from_proto(other), proto, changed=set())
    assert finished(ir.from_proto(other), proto, changed={node.output[0]})


def _branching(*, value=2.0, name="", raw=True):
    """Return a model whose branches hold a Constant each, written as raw bytes or as a list of floats."""
    branches = {}
    for key in ("then_branch", "else_branch"):
        held = np.float32([value]).tobytes() if raw else [value]
        constant = helper.make_tensor("c", onnx.TensorProto.FLOAT, [1], held, raw=raw)
        nodes = [
            helper.make_node("Constant", [], [f"{key}/c"], value=constant),
            helper.make_node("Mul", ["x", f"{key}/c"], [key], name=name),
        ]
        output = helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, None if raw else ["n", 3])
        branches[key] = helper.make_graph(nodes, key, [], [output])
    return model_of(
        [helper.make_node("If", ["yes"], ["y"], **branches)],
        [("yes", np.True_)],
        inputs={"x": ("n", 3)},
        outputs={"y": ("n", 3)},
    )


def test_what_is_in_a_branch_is_compared_too():
    """By what it computes: how a tensor is written and what is known of types may change."""
    proto = _branching()
    assert finished(ir.from_proto(_branching(raw=False)), proto, changed=set())
    for other in (_branching(value=3.0), _branching(name="named")):
        with pytest.raises(ModelError, match="the edit changed a node that is no activation"):
            finished(ir.from_proto(other), proto, changed=set())


def test_texts_are_compared_by_what_they_say():
    """Not by where they lie in memory."""
    proto = small_cnn()
    proto.graph.initializer.append(stored("names", np.array([b"ant", b"bee"], object)))
    assert finished(ir.from_proto(proto), proto, changed=set())
    other = copy_of(proto)
    other.graph.initializer[-1].string_data[1] = b"wasp"
    with pytest.raises(ModelError, match="the edit changed the stored tensor 'names'"):
        finished(ir.from_proto(other), proto, changed=set())


def test_an_edit_that_leaves_an_invalid_model_is_refused():
    """A node that reads what nobody writes."""
    proto = small_cnn()
    other = copy_of(proto)
    other.graph.node[-1].input[0] = "nowhere"
    with pytest.raises(ModelError, match="the edited model is not valid"):
        finished(ir.from_proto(other), proto, changed=set(other.graph.node[-1].output))


def test_a_threshold_is_stored_under_exactly_its_name():
    """It is found again by it, so it is refused where the name is taken."""
    graph = ir.from_proto(small_cnn()).graph
    value = stored_threshold(graph, "act.threshold", np.float32([1, 2]))
    assert graph.initializers["act.threshold"] is value
    assert value.const_value.numpy().tolist() == [1, 2]
    with pytest.raises(ModelError, match=r"stores a tensor 'act\.threshold' of its own"):
        stored_threshold(graph, "act.threshold", np.float32([1, 2]))


def test_a_copy_shares_nothing():
    """Writing to it leaves the original."""
    proto = small_cnn()
    copy = copy_of(proto)
    copy.graph.node[0].name = "other"
    assert proto.graph.node[0].name != "other"
