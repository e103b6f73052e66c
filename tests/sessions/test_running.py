"""Opening and running sessions: what they take over, and whose words an error has."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx_zoo import bits_of, model_of, ort_run, random_floats, small_cnn

from ftonnx.errors import ModelError
from ftonnx.sessions import (
    SessionOptions,
    as_values,
    open_session,
    optimize_model,
    run_session,
    run_values,
    same_bits,
    same_value,
    shrink_arena,
)

X = random_floats(3, 3, 8, 8, seed=9, scale=1)
FEEDS = {"x": X}


@pytest.fixture(scope="module")
def session():
    """An open session on a small CNN."""
    return open_session(small_cnn().SerializeToString(), SessionOptions(threads=1))


def test_a_session_gives_what_an_ordinary_one_gives(session):
    """Arrays and values alike, chosen outputs too."""
    expected = bits_of(ort_run(small_cnn(), FEEDS, threads=1))
    assert bits_of(run_session(session, FEEDS)) == expected
    assert bits_of(run_session(session, FEEDS, names=["y"])) == expected
    made = run_values(session, ["y"], as_values(FEEDS))
    assert bits_of([made["y"].numpy()]) == expected


def test_what_is_refused_is_a_model_error_of_one_line(session):
    """With ONNX Runtime's own words in it, and the caller's for the inputs."""
    with pytest.raises(ModelError, match=r"^ONNX Runtime refuses the model: ") as opened:
        open_session(b"no model", SessionOptions())
    wrong = {"x": X[:, :2]}
    with pytest.raises(ModelError, match=r"^ONNX Runtime cannot run the model on these inputs: ") as run:
        run_session(session, wrong)
    with pytest.raises(ModelError, match=r"^ONNX Runtime cannot run the model on these inputs: "):
        run_values(session, ["y"], as_values(wrong))
    with pytest.raises(ModelError, match=r"on the calibration data: "):
        run_session(session, wrong, on="the calibration data")
    for caught in (opened, run):
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None


def test_an_optimized_model_computes_the_same():
    """Within rounding; with standard operators alone where that is asked for."""
    model = small_cnn()
    for options in (SessionOptions(), SessionOptions(standard=True)):
        optimized = optimize_model(model.SerializeToString(), options)
        again = open_session(optimized.SerializeToString(), SessionOptions(optimize=False))
        np.testing.assert_allclose(run_session(again, FEEDS)[0], ort_run(model, FEEDS)[0], rtol=1e-4, atol=1e-4)
    assert {node.domain for node in optimized.graph.node} == {""}


def test_large_tensors_of_an_optimized_model_may_stay_in_a_file(tmp_path):
    """They are the same there, and the rest of the model is."""
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = random_floats(128, 256)
    model = model_of([product], [("w", weights)], inputs={"x": (None, 128)}, outputs={"y": (None, 256)})
    whole = optimize_model(model.SerializeToString(), SessionOptions())
    apart = optimize_model(model.SerializeToString(), SessionOptions(), tmp_path)
    (tensor,) = apart.graph.initializer
    assert tensor.data_location == onnx.TensorProto.EXTERNAL
    for node, same in zip(apart.graph.node, whole.graph.node, strict=True):
        assert (node.op_type, node.input, node.output) == (same.op_type, same.input, same.output)
    onnx.load_external_data_for_model(apart, str(tmp_path))
    assert numpy_helper.to_array(apart.graph.initializer[0]).tolist() == weights.tolist()


def test_a_session_for_one_run_keeps_no_arena():
    """Neither its own nor that of the process, and gives the same bits."""
    options = SessionOptions(threads=1, shared_arena=True)
    brief = options.for_one_run()
    assert brief == options
    assert not brief.to_ort().enable_cpu_mem_arena
    session = open_session(small_cnn().SerializeToString(), brief)
    assert bits_of(run_session(session, FEEDS)) == bits_of(ort_run(small_cnn(), FEEDS, threads=1))


def test_sessions_go_on_after_their_arena_was_shrunk():
    """What they hold in it stays, between two runs and among several sessions."""
    options = SessionOptions(threads=1, shared_arena=True)
    first = open_session(small_cnn().SerializeToString(), options)
    second = open_session(small_cnn(seed=1).SerializeToString(), options)
    expected = [bits_of(run_session(each, FEEDS)) for each in (first, second)]
    del second
    shrink_arena()
    second = open_session(small_cnn(seed=1).SerializeToString(), options)
    shrink_arena()
    assert [bits_of(run_session(each, FEEDS)) for each in (first, second)] == expected


def test_bits_are_compared_not_numbers():
    """-0 is not 0, a NaN equals itself, types and shapes count, texts are compared by content."""
    nan = np.array([np.nan, 0.0], np.float32)
    assert same_bits([nan], [nan.copy()])
    assert not same_bits([nan], [nan * np.float32([1, -1])])
    assert not same_bits([nan], [nan, nan])
    assert not same_bits([nan], [nan.astype(np.float64)])
    assert not same_bits([nan], [nan.reshape(2, 1)])
    assert same_bits([np.array(["a"], object), {1: 2}], [np.array(["a"], object), {1: 2}])
    assert not same_bits([{1: 2}], [{1: 3}])


@pytest.mark.parametrize("size", [0, 1, 1 << 16, (1 << 18) + 3])
def test_values_of_onnx_runtime_are_compared_to_the_last_byte(size):
    """Piece by piece: also a difference in the last one is seen."""
    array = np.arange(size, dtype=np.float32)
    changed = array.copy()
    changed[-1:] += 1
    values = as_values({"one": array, "same": array.copy(), "other": changed})
    assert same_value(values["one"], values["same"])
    assert same_value(values["one"], values["other"]) == (size == 0)
    assert not same_value(values["one"], as_values({"longer": np.zeros(size + 1, np.float32)})["longer"])


def test_what_is_compared_of_options_is_what_changes_bits():
    """The level of optimization does, the arena does not."""
    assert SessionOptions(standard=True) != SessionOptions()
    assert SessionOptions(spin_between_runs=False) == SessionOptions()


@pytest.mark.parametrize(("name", "size"), [("bfloat16", 12), ("float8_e4m3fn", 6), ("int4", 3), ("float16", 12)])
def test_arrays_of_types_that_numpy_lacks_become_values_too(name, size):
    """With the element type that ONNX has for them, and the bytes that it takes."""
    array = np.ones((2, 3), np.dtype(name) if name == "float16" else getattr(ml_dtypes, name))
    value = as_values({"w": array})["w"]
    element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    assert value.element_type() == element
    assert value.shape() == [2, 3]
    assert value.tensor_size_in_bytes() == size
