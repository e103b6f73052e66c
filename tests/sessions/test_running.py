"""Opening and running sessions: what they take over, and whose words an error has."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx_zoo import bits_of, ort_run, random_floats, small_cnn

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
