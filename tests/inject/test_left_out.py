"""What a space leaves out: by tensor, summed up by reason, and when a reader is warned."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import model_of, random_floats, small_cnn
from weights_kit import MODELS, floats, ints, node

from ftonnx.inject import Coverage, FaultSpace, LeftOut


def reasons(model, **options):
    """Return the reason of every tensor that is left out."""
    return {each.tensor: each.reason for each in FaultSpace.of(model, **options).left_out}


def test_a_space_of_everything_leaves_nothing_out():
    """Its share is the whole."""
    space = FaultSpace.of(small_cnn())
    assert space.left_out == ()
    assert space.coverage == Coverage(elements=space.elements)
    assert (space.coverage.share, space.coverage.caution) == (1, None)
    assert repr(space.coverage) == f"Coverage(100.00 % of {space.elements} stored elements; left out: nothing)"


def test_a_users_choice_is_a_reason_and_no_warning():
    """Roles, names and bits."""
    model = MODELS["quantized"]().model
    assert reasons(small_cnn(), roles=["weight"]) == dict.fromkeys(["b1", "b2", "b3"], "role not chosen")
    assert reasons(small_cnn(), include=["w*"]) == dict.fromkeys(["b1", "b2", "b3"], "name not chosen")
    assert reasons(small_cnn(), exclude=["w*"]) == dict.fromkeys(["w1", "w2", "w3"], "name not chosen")
    assert reasons(model)["s"] == "role not chosen"
    codes = {"token", "places", "dense"}
    assert {name for name, reason in reasons(model, bits=[20]).items() if reason == "bits not chosen"} == codes
    for options in ({"roles": ["bias"]}, {"include": ["w1"]}, {"exclude": ["w*"]}):
        space = FaultSpace.of(small_cnn(), **options)
        assert space.coverage.share < 0.9
        assert space.coverage.caution is None


def test_every_entry_says_what_it_is():
    """Tensor, shape, type, elements, bits in the file, reason, and the first node that reads it."""
    space = FaultSpace.of(MODELS["relative position bias"]().model)
    entry = next(each for each in space.left_out if each.tensor == "mask")
    assert entry == LeftOut(
        tensor="mask", shape=(1, 1, 4, 4), dtype="float32", elements=16, bits=512, reason="mask", node="masked",
        op_type="Add",
    )  # fmt: skip
    assert entry.to_dict() == {
        "tensor": "mask", "shape": [1, 1, 4, 4], "dtype": "float32", "elements": 16, "bits": 512, "reason": "mask",
        "node": "masked", "op_type": "Add",
    }  # fmt: skip
    assert space.to_dict()["left_out"] == [each.to_dict() for each in space.left_out]
    assert space.to_dict()["stored"] == space.coverage.elements


def test_sums_by_reason_name_the_largest():
    """The largest reason first; shares are of everything that is stored."""
    hidden = MODELS["detector"]()
    coverage = FaultSpace.of(hidden.model).coverage
    assert [group.reason for group in coverage.groups] == [
        "grid or anchors", "shape, index or condition", "threshold",
    ]  # fmt: skip
    grid = coverage.groups[0]
    assert (grid.tensors, grid.elements, grid.bits) == (3, 72 + 72 + 36, 32 * 180)
    assert grid.largest == ("cells", "anchors", "strides")
    stored = sum(numpy_helper.to_array(tensor).size for tensor in hidden.model.graph.initializer)
    assert coverage.part(grid) == f"{100 * 180 / stored:.2f} %"
    assert coverage.share == pytest.approx((54 + 2 + 2) / stored)


def test_coverage_survives_json():
    """As results folders keep it."""
    coverage = FaultSpace.of(MODELS["detector"]().model).coverage
    assert Coverage.from_dict(coverage.to_dict()) == coverage


def test_a_reader_is_warned_of_what_may_be_weights():
    """From 1 % on; shapes, thresholds, single numbers and what nothing uses are no weights however many."""
    found = FaultSpace.of(MODELS["detector"]().model).coverage.caution
    assert found == (
        "74.07 % of the stored values may be weights but cannot flip (grid or anchors 74.07 %), such as 'cells'; "
        "see ftonnx inspect"
    )
    model = model_of(
        [node("MatMul", ["x", "w"], ["m"]), node("Min", ["m", "t"], ["n"]), node("Where", ["c", "n", "o"], ["y"])],
        [
            ("w", random_floats(8, 8)), ("t", random_floats(3, 8, 8)), ("c", np.ones((8, 8), bool)),
            ("o", np.float32(0)), ("spare", random_floats(999)),
        ],
    )  # fmt: skip
    assert FaultSpace.of(model).coverage.caution is None
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(random_floats(8), "o"))
    assert FaultSpace.of(model).coverage.caution is None
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(random_floats(8, 8), "o"))
    assert "(not followed: Where 4.6" in FaultSpace.of(model).coverage.caution


def test_reasons_of_what_operators_read_besides_weights():
    """One table: the tensor's name is the reason it is given."""
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"]),
            node("Clip", ["a", "threshold0", "threshold1"], ["b"]),
            node("Mul", ["b", "single"], ["c"]),
            node("Reshape", ["c", "shape"], ["d"]),
            node("Gather", ["d", "index"], ["e"]),
            node("Where", ["condition", "e", "followed"], ["f"]),
            node("Resize", ["f", "", "scales"], ["y"]),
        ],
        [
            ("w", random_floats(4, 3, 3, 3)), ("threshold0", np.float32(0)), ("threshold1", np.float32(6)),
            ("single", np.float32(2)), ("shape", ints(-1, 4, 36)), ("index", ints(0, 1)),
            ("condition", np.array([True, False] * 18)), ("followed", random_floats(36)),
            ("scales", np.ones(3, np.float32)), ("spare", random_floats(2)), ("nothing", random_floats(0)),
        ],
    )  # fmt: skip
    other = "shape, index or condition"
    assert reasons(model) == {
        "threshold0": "threshold", "threshold1": "threshold", "single": "single number", "shape": other, "index": other,
        "condition": other, "followed": "not followed: Where", "scales": "not followed: Resize",
        "spare": "values not used",
    }  # fmt: skip


def test_values_in_branches_functions_attributes_and_sparse_tensors_are_counted():
    """Wherever a file can hold them."""
    inside = helper.make_graph(
        [node("Max", ["x", "inner"], ["o"])], "g", [],
        [helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, (None, 3, 8, 8))],
        [numpy_helper.from_array(floats(8), "inner")],
    )  # fmt: skip
    body = [
        node("Constant", [], ["own"], value=numpy_helper.from_array(floats(8), "")),
        node("Constant", [], ["listed"], value_floats=[0.5] * 8),
        node("Max", ["a", "own", "listed"], ["out"]),
    ]
    imports = [helper.make_opsetid("", 20)]
    model = model_of(
        [
            node("If", ["yes"], ["o"], then_branch=inside, else_branch=inside),
            node("Bounded", ["o"], ["p"], domain="local"),
            node("Constant", [], ["whole"], value_ints=[1, 2, 3]),
            node("MatMul", ["p", "w"], ["y"]),
        ],
        [("yes", np.array(True)), ("w", random_floats(8, 5))],
        functions=[helper.make_function("local", "Bounded", ["a"], ["out"], body, imports)],
        domains=["local"], outputs={"y": (None, 3, 8, 5)},
    )  # fmt: skip
    values = helper.make_tensor("rare", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    where = helper.make_tensor("at", onnx.TensorProto.INT64, [2], [3, 5])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, [9]))
    found = [(each.tensor, each.elements, each.reason) for each in FaultSpace.of(model).left_out]
    assert found == [
        ("yes", 1, "shape, index or condition"), ("inner", 8, "threshold"), ("inner", 8, "threshold"),
        ("own", 8, "threshold"), ("rare", 2, "sparse"), ("whole", 3, "shape, index or condition"),
        ("listed", 8, "attribute of Constant"),
    ]  # fmt: skip
    assert FaultSpace.of(model).coverage.elements == 40 + 38
