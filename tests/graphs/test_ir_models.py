"""What onnx-ir does not know passes an edit unharmed."""

import logging

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, ort_run, random_floats

from ftonnx.graphs import check_valid
from ftonnx.graphs.ir_models import edited_proto, to_ir

node = helper.make_node
ROWS = random_floats(3, 8, seed=9)


def maps_type(*, in_sequence):
    """Return the type of a map from names to floats, or of a sequence of such."""
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    return helper.make_sequence_type_proto(kind) if in_sequence else kind


def with_maps():
    """Return a model with scores, and a list of maps of them."""
    maps = node("ZipMap", ["y"], ["m"], domain="ai.onnx.ml", classlabels_strings=list("abcde"))
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"]), maps], [("w", random_floats(8, 5))], inputs={"x": ("n", 8)},
        outputs={"y": ("n", 5)}, domains=["ai.onnx.ml"],
    )  # fmt: skip
    model.graph.output.append(helper.make_value_info("m", maps_type(in_sequence=True)))
    return model


def with_sparse(*, places=1):
    """Return a model of a dense and a sparse weight, whose indices are of one or two axes."""
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "rare"], ["y"])]
    model = model_of(nodes, [("w", random_floats(8, 6))], inputs={"x": ("n", 8)}, outputs={"y": ("n", 5)})
    values = numpy_helper.from_array(random_floats(4, seed=1), "rare")
    flat = np.array([0, 7, 13, 29])
    where = flat if places == 1 else np.stack(np.divmod(flat, 5), axis=1)
    indices = numpy_helper.from_array(where, "where")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [6, 5]))
    return model


def test_maps_are_outputs_again_after_an_edit():
    """Their types too, in a sequence or alone, in outputs and in what is noted of inner values."""
    model = with_maps()
    model.graph.value_info.append(helper.make_value_info("inner", maps_type(in_sequence=False)))
    untouched = model.SerializeToString(deterministic=True)
    edited = edited_proto(to_ir(model), model)
    assert model.SerializeToString(deterministic=True) == untouched
    assert list(edited.graph.output) == list(model.graph.output)
    check_valid(edited)
    scores, maps = ort_run(edited, {"x": ROWS})
    expected_scores, expected_maps = ort_run(model, {"x": ROWS})
    np.testing.assert_array_equal(scores, expected_scores)
    assert maps == expected_maps


@pytest.mark.parametrize("places", [1, 2])
def test_sparse_tensors_are_stored_again_after_an_edit(places, caplog):
    """As they were, without becoming inputs, and without a word in the log."""
    model = with_sparse(places=places)
    untouched = model.SerializeToString(deterministic=True)
    with caplog.at_level(logging.WARNING):
        edited = edited_proto(to_ir(model), model)
    assert not caplog.records
    assert model.SerializeToString(deterministic=True) == untouched
    assert list(edited.graph.sparse_initializer) == list(model.graph.sparse_initializer)
    assert [value.name for value in edited.graph.input] == ["x"]
    check_valid(edited)
    np.testing.assert_array_equal(ort_run(edited, {"x": ROWS})[0], ort_run(model, {"x": ROWS})[0])


def test_stored_tensors_that_old_files_list_as_inputs_are_none_after_an_edit():
    """A tensor that an edit adds would have to be listed too; the file that was given stays as it is."""
    model = model_of([node("MatMul", ["x", "w"], ["y"])], [("w", random_floats(8, 5))], inputs={"x": ("n", 8)}, opset=9)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (8, 5)))
    model.ir_version = 3
    untouched = model.SerializeToString(deterministic=True)
    edited = edited_proto(to_ir(model), model)
    assert model.SerializeToString(deterministic=True) == untouched
    assert [value.name for value in edited.graph.input] == ["x"]
    assert edited.ir_version == 4
    np.testing.assert_array_equal(ort_run(edited, {"x": ROWS})[0], ort_run(model, {"x": ROWS})[0])
