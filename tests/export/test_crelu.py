"""The functions CReLU and ClipAbove against a numpy definition, value by value."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_zoo import stored

from ftonnx.errors import ModelError
from ftonnx.export import CLIP_ABOVE, CRELU, DOMAIN, add_crelu_function

INF = np.float32(np.inf)
LIMIT = np.float32(1.7)
LEVELS = {"plain": ort.GraphOptimizationLevel.ORT_DISABLE_ALL, "optimized": ort.GraphOptimizationLevel.ORT_ENABLE_ALL}


def up(value):
    """Return the next larger float32."""
    with np.errstate(over="ignore"):
        return np.nextafter(np.float32(value), INF)


def down(value):
    """Return the next smaller float32."""
    return np.nextafter(np.float32(value), -INF)


def probes(*thresholds):
    """Return every kind of float32 around zero, around the thresholds and at the ends."""
    tiny, largest = np.finfo(np.float32).smallest_subnormal, np.finfo(np.float32).max
    near = [f(t) for t in thresholds for f in (np.float32, up, down, np.negative)]
    values = [0.0, -0.0, tiny, -tiny, 100 * tiny, np.finfo(np.float32).tiny, 0.3, -0.3, 6, 1e30, -1e30, largest]
    values += [-largest, INF, -INF, np.nan, -np.nan, *near]
    return np.array(values, np.float32)


def expected(kind, x, threshold):
    """Define the functions with one Python comparison per value."""
    flat = [
        float(v) if ((v >= 0 or kind == CLIP_ABOVE) and v <= t) else 0.0
        for v, t in zip(x.ravel().tolist(), np.broadcast_to(threshold, x.shape).ravel().tolist(), strict=True)
    ]
    return np.array(flat, np.float32).reshape(x.shape)


def one_node(kind, threshold, opset, *, rank=2):
    """Return a model of one clipped activation of ``rank`` axes."""
    shape = ["batch", *[None] * (rank - 1)]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "t"], ["y"], name="act", domain=DOMAIN)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [stored("t", np.asarray(threshold, np.float32))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    add_crelu_function(model)
    return model


def run(model, x, level):
    """Run a model at one optimization level."""
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("opset", range(12, 23))
@pytest.mark.parametrize("kind", [CRELU, CLIP_ABOVE])
def test_onnx_runtime_gives_what_the_definition_says_at_every_opset(kind, opset, level):
    """Signed zeros, subnormals, both neighbours of T, infinities and NaN; equal bits but for the sign of zero."""
    x = probes(LIMIT)[:, np.newaxis]
    got = run(one_node(kind, LIMIT, opset), x, level)
    np.testing.assert_array_equal(got, expected(kind, x, LIMIT))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("threshold", [0.0, up(0), np.finfo(np.float32).tiny, 6.0, np.finfo(np.float32).max, INF])
@pytest.mark.parametrize("kind", [CRELU, CLIP_ABOVE])
def test_any_threshold_from_zero_to_infinity_is_exact(kind, threshold, level):
    """T = 0 leaves nothing above zero; T = +Inf changes no number and keeps +Inf, which is not above it."""
    x = probes(np.float32(threshold))[:, np.newaxis]
    got = run(one_node(kind, threshold, 20), x, level)
    np.testing.assert_array_equal(got, expected(kind, x, threshold))
    assert np.isfinite(got).all() == (threshold < INF) or kind == CLIP_ABOVE
    assert not np.isnan(got).any()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", [CRELU, CLIP_ABOVE])
def test_one_threshold_per_channel_is_compared_with_its_channel(kind, level):
    """T of shape (1, channels, 1, 1), with 0 and +Inf among the thresholds."""
    threshold = np.array([0, 1, 2.5, INF], np.float32).reshape(1, 4, 1, 1)
    x = np.tile(probes(0, 1, 2.5), (2, 4, 1, 1)).astype(np.float32)
    got = run(one_node(kind, threshold, 20, rank=4), x, level)
    np.testing.assert_array_equal(got, expected(kind, x, threshold))


@pytest.mark.parametrize("opset", [12, 13, 18, 22])
@pytest.mark.parametrize("kind", [CRELU, CLIP_ABOVE])
def test_onnx_reference_evaluator_agrees(kind, opset):
    """A second runtime, which knows nothing of ftonnx, executes the body."""
    x = probes(LIMIT)[:, np.newaxis]
    with np.errstate(invalid="ignore"):  # it computes Inf * 0 with numpy, which would warn
        (got,) = ReferenceEvaluator(one_node(kind, LIMIT, opset)).run(None, {"x": x})
    np.testing.assert_array_equal(got, expected(kind, x, LIMIT))


@pytest.mark.parametrize("kind", [CRELU, CLIP_ABOVE])
def test_the_body_is_standard_onnx_of_the_models_own_opset(kind):
    """The checker passes with full type inference, and no node of the body needs a plug-in."""
    model = one_node(kind, LIMIT, 17)
    onnx.checker.check_model(model, full_check=True)
    (function,) = model.functions
    assert (function.domain, function.name, list(function.input), list(function.output)) == (
        DOMAIN, kind, ["X", "T"], ["Y"],
    )  # fmt: skip
    assert {node.domain for node in function.node} == {""}
    assert [(entry.domain, entry.version) for entry in function.opset_import] == [("", 17)]
    assert {(entry.domain, entry.version) for entry in model.opset_import} == {("", 17), (DOMAIN, 1)}
    assert model.ir_version == 8, "functions came with IR version 8"


@pytest.mark.parametrize("opset", [7, 11])
def test_an_older_opset_is_refused_with_the_way_to_go_on(opset):
    """LessOrEqual came with opset 12."""
    with pytest.raises(ModelError, match=f"opset 12 or newer was expected, got {opset}; use onnx.version_converter"):
        one_node(CRELU, 1.0, opset)


def test_adding_the_functions_twice_or_for_nothing_changes_nothing():
    """What is there stays, and a model without such nodes gets none."""
    model = one_node(CRELU, LIMIT, 20)
    before = model.SerializeToString()
    add_crelu_function(model)
    assert model.SerializeToString() == before
    plain = onnx.ModelProto(ir_version=4, opset_import=[helper.make_opsetid("", 9)])
    add_crelu_function(plain)
    assert (len(plain.functions), plain.ir_version, len(plain.opset_import)) == (0, 4, 1)
