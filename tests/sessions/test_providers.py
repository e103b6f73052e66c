"""Names of execution providers, against a list of installed ones made up by the test."""

import onnxruntime
import pytest

from ftonnx.errors import UsageError
from ftonnx.sessions import SessionOptions, open_session, resolve_providers

CPU = "CPUExecutionProvider"


@pytest.fixture
def installed(monkeypatch):
    """Pretend that four providers are there."""
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "NvTensorRTRTXExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))
    return names


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["cpu"], [CPU]),
        (["CPU"], [CPU]),
        ([" Cpu "], [CPU]),
        ([CPU], [CPU]),
        (["cuda", "cpu"], ["CUDAExecutionProvider", CPU]),
        (["cpu", "cuda"], [CPU, "CUDAExecutionProvider"]),
        (["cu"], ["CUDAExecutionProvider"]),
        (["tensorrt"], ["TensorrtExecutionProvider"]),  # a whole name wins over a part of another
        (["rtx"], ["NvTensorRTRTXExecutionProvider"]),
        (["cpu", "CPU", CPU], [CPU]),
    ],
)
def test_parts_of_names_are_resolved_in_order(installed, wanted, found):
    """Case does not matter, duplicates go."""
    assert resolve_providers(wanted) == tuple(found)


@pytest.mark.parametrize("name", ["rocm", "execution", "provider", "", "  ", "c", "cpuu"])
def test_a_name_that_fits_none_or_several_is_a_usage_error(installed, name):
    """The message lists what is installed; nothing is replaced silently."""
    with pytest.raises(UsageError) as caught:
        resolve_providers([name])
    assert all(provider in str(caught.value) for provider in installed)
    assert "\n" not in str(caught.value)


def test_no_provider_at_all_is_a_usage_error(installed):
    """An empty list is no list."""
    with pytest.raises(UsageError, match="at least one"):
        resolve_providers([])


def test_a_missing_cuda_explains_how_to_get_it(monkeypatch):
    """The two wheels overwrite each other, so the first must go."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(UsageError, match="onnxruntime-gpu"):
        resolve_providers(["cuda"])


def test_a_session_uses_the_resolved_name():
    """The options of a session show full names."""
    options = SessionOptions(providers=("cPu",), threads=1)
    assert options.providers == (CPU,)
    with pytest.raises(UsageError, match="installed"):
        SessionOptions(providers=("nonsense",))


def test_a_provider_that_does_not_start_is_not_replaced_silently(monkeypatch):
    """ONNX Runtime would go on with the CPU and a warning."""

    class Lazy:
        def __init__(self, *args, **kwargs):
            pass

        def get_providers(self):
            return [CPU]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Lazy)
    with pytest.raises(UsageError, match="could not start CUDA"):
        open_session(b"", SessionOptions(providers=("cuda", "cpu")))


def test_options_are_values():
    """The arena does not change outputs, so it does not make options different."""
    assert SessionOptions(shared_arena=True) == SessionOptions(shared_arena=False)
    assert SessionOptions(threads=1) != SessionOptions(threads=2)
