"""Damaged bytes: a ModelError with one line, or a model that is valid after all."""

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_zoo import model_of, random_floats

from ftonnx.errors import ModelError
from ftonnx.inject import Faults, FaultSpace, faulty_model, list_faults, load_model


def victim():
    """Return a small model with most kinds of fields: function, subgraph, Constant, metadata, shapes."""
    node, opset = helper.make_node, helper.make_opsetid("", 20)
    weight = helper.make_tensor("v", onnx.TensorProto.FLOAT, [3, 3], random_floats(9))
    dense = helper.make_function("local", "Dense", ["a", "k"], ["o"], [node("MatMul", ["a", "k"], ["o"])], [opset])
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [node("Constant", [], ["v"], value=weight), node("MatMul", ["h", "v"], ["b"])], "branch", [],
        [value("b", onnx.TensorProto.FLOAT, (None, 3))],
    )  # fmt: skip
    model = model_of(
        [
            node("Dense", ["x", "w"], ["h"], domain="local"),
            node("ReduceSum", ["h"], ["s"], keepdims=0),
            node("Cast", ["s"], ["c"], to=9),
            node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        ],
        [("w", random_floats(3, 3))],
        functions=[dense], domains=["local"], inputs={"x": ("n", 3)}, outputs={"y": ("n", 3)},
    )  # fmt: skip
    helper.set_model_props(model, {"author": "test"})
    return model.SerializeToString()


VICTIM = victim()


def check(path):
    """Load a file and use what was loaded; any other exception than ModelError fails the test."""
    try:
        loaded = load_model(path)
        space = FaultSpace.of(loaded)
    except ModelError as error:
        message = str(error)
    else:
        faults = Faults([0], [0], [space.targets[0].format.bits - 1])
        assert len(list_faults(loaded.proto, space, faults)) == 1
        faulty_model(loaded.proto, space, faults)
        return True
    assert message
    assert "\n" not in message
    return False


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One file, written again and again."""
    return tmp_path_factory.mktemp("fuzz") / "m.onnx"


def test_the_victim_is_valid(path):
    """Otherwise the following tests would show nothing."""
    path.write_bytes(VICTIM)
    assert check(path)


EDIT = st.tuples(st.integers(0, len(VICTIM) - 1), st.integers(0, 3), st.binary(min_size=1, max_size=4))


@settings(max_examples=1000, deadline=None)
@given(st.lists(EDIT, min_size=1, max_size=3))
def test_a_damaged_file_is_refused_or_valid(path, edits):
    """Bytes overwritten, inserted, removed, or all from there on cut off."""
    data = bytearray(VICTIM)
    for place, kind, piece in edits:
        start = min(place, len(data))
        if kind == 0:
            data[start : start + len(piece)] = piece
        elif kind == 1:
            data[start:start] = piece
        elif kind == 2:
            del data[start : start + len(piece)]
        else:
            del data[start:]
    path.write_bytes(data)
    check(path)


@pytest.mark.parametrize("bit", range(8))
def test_every_single_bit_of_a_file_may_flip(path, bit):
    """Every byte in turn, one bit of it."""
    for place in range(len(VICTIM)):
        data = bytearray(VICTIM)
        data[place] ^= 1 << bit
        path.write_bytes(data)
        check(path)
