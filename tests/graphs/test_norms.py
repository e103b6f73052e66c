"""Normalizations written as scale and shift, for both rooms that do so."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import model_of, ort_run, random_floats

from ftonnx.graphs import scale_and_shift
from ftonnx.graphs.initializers import add_initializer, free_name
from ftonnx.graphs.norms import make_explicit, stored_norms

NAMES = ("g", "b", "m", "v")


def parameters(channels=6):
    """Return gamma, beta, mean and variance."""
    arrays = [random_floats(channels, seed=seed) for seed in range(4)]
    arrays[3] = np.abs(arrays[3]) + np.float32(0.1)
    return arrays


def net(shape, *, missing=(), **attributes):
    """Return a model of one normalization."""
    stored = [(name, array) for name, array in zip(NAMES, parameters(), strict=True) if name not in missing]
    inputs = {"x": shape} | dict.fromkeys(missing, (6,))
    node = helper.make_node("BatchNormalization", ["x", *NAMES], ["y"], name="norm", **attributes)
    return model_of([node], stored, inputs=inputs)


def rewritten(model, precision):
    """Return the model with its normalizations made explicit, and what was changed."""
    edited = ir.from_proto(model)
    found = list(stored_norms(edited.graph))
    made = [
        make_explicit(edited.graph, norm, scale="the/scale", shift="the/shift", precision=precision) for norm in found
    ]
    return ir.to_proto(edited), made


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (4, 6, 5, 5), (2, 6, 3, 3, 3)])
def test_the_model_computes_what_it_did(shape, precision):
    """Whatever its rank; the new tensors hold exactly the scale and shift."""
    model = net(shape, epsilon=1e-3)
    changed, (norm,) = rewritten(model, precision)
    assert norm.inputs == NAMES
    assert norm.epsilon == pytest.approx(1e-3)
    x = {"x": random_floats(*shape, seed=7)}
    np.testing.assert_allclose(ort_run(changed, x)[0], ort_run(model, x)[0], rtol=1e-5, atol=1e-5)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in changed.graph.initializer}
    scale, shift = scale_and_shift(parameters(), norm.epsilon, precision=precision)
    assert stored[norm.scale].ravel().tobytes() == scale.tobytes()
    assert stored[norm.shift].tobytes() == shift.tobytes()
    assert changed.graph.node[0].name == "norm"


def test_the_precision_is_that_of_every_step():
    """float32 rounds as ONNX Runtime does, float64 once at the end; both against numpy by hand."""
    gamma, beta, mean, variance = parameters()
    scale, shift = scale_and_shift((gamma, beta, mean, variance), 1e-5)
    by_hand = gamma / np.sqrt(variance + np.float32(1e-5))
    assert scale.tobytes() == by_hand.tobytes()
    assert shift.tobytes() == (beta - mean * by_hand).tobytes()
    scale, shift = scale_and_shift((gamma, beta, mean, variance), 1e-5, precision=np.float64)
    exact = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + 1e-5)
    assert scale.tobytes() == exact.astype(np.float32).tobytes()
    assert shift.tobytes() == (beta - mean * exact).astype(np.float32).tobytes()
    assert scale.dtype == shift.dtype == np.float32


@pytest.mark.parametrize("model", [net((4, 6, 5, 5), missing=("m",)), net((4, 6, 5, 5), training_mode=0)])
def test_a_normalization_with_a_computed_parameter_stays(model):
    """Only stored values can be put together beforehand."""
    changed, made = rewritten(model, np.float32)
    stays = any(value.name == "m" for value in model.graph.input)
    assert len(made) == (not stays)
    assert (changed.graph.node[0].op_type == "BatchNormalization") == stays


def test_a_taken_name_gets_a_number():
    """The first one that is free."""
    graph = ir.from_proto(net((4, 6))).graph
    assert free_name(graph, "new") == "new"
    assert free_name(graph, "g") == "g_1"
    add_initializer(graph, "g_1", np.zeros(2))
    assert free_name(graph, "g") == "g_2"
    with pytest.raises(ValueError, match="g_1"):
        add_initializer(graph, "g_1", np.zeros(2))


def test_a_stored_array_is_a_copy_of_its_own():
    """A later change of the array does not reach the model."""
    graph = ir.from_proto(net((4, 6))).graph
    array = np.zeros((2, 3), np.float32).T
    value = add_initializer(graph, "new", array)
    array += 1
    assert value.const_value.numpy().tolist() == [[0, 0], [0, 0], [0, 0]]


def test_a_branch_that_reads_a_normalization_reads_what_stands_in_its_place():
    """No node of the main graph does."""
    branches = {}
    for name, source in (("then", "y"), ("else", "x")):
        output = helper.make_tensor_value_info(f"{name}.o", 1, None)
        branches[f"{name}_branch"] = helper.make_graph(
            [helper.make_node("Neg", [source], [f"{name}.o"])], name, [], [output]
        )
    model = net((4, 6, 5, 5))
    model.graph.node.append(helper.make_node("If", ["p"], ["z"], **branches))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "p"))
    model.graph.output[0].name = "z"
    changed, (_,) = rewritten(model, np.float32)
    x = {"x": random_floats(4, 6, 5, 5, seed=7)}
    np.testing.assert_allclose(ort_run(changed, x)[0], ort_run(model, x)[0], rtol=1e-5, atol=1e-5)
