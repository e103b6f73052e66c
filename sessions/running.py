"""The one place where ONNX Runtime sessions are opened and run, and its exceptions are translated."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ftonnx.errors import ModelError, UsageError, message_of
from ftonnx.files import scratch_folder
from ftonnx.sessions.options import SessionOptions
from ftonnx.sessions.providers import load_cuda
from ftonnx.sessions.refusals import REFUSALS
from ftonnx.sessions.time_limit import limit_in_use

__all__ = [
    "Arrays",
    "Session",
    "SessionModel",
    "Values",
    "as_values",
    "open_session",
    "optimize_model",
    "run_session",
    "run_values",
]

_CODES: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")

_OPTIMIZED: Final = "optimized.onnx"
_APART: Final = {
    "session.optimized_model_external_initializers_file_name": "optimized.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": str(2**16),
}

_Outputs = TypeVar("_Outputs")

Session = ort.InferenceSession
Arrays = Mapping[str, NDArray[Any]]
Values = Mapping[str, ort.OrtValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionModel:
    """A model as a session is opened on it, of whatever size.

    Attributes:
        content: its bytes.
        apart: the stored tensors that ``content`` declares as external and does not carry, by name.
    """

    content: bytes = field(repr=False)
    apart: Arrays = field(repr=False)


def open_session(
    model: bytes | SessionModel, options: SessionOptions, ort_options: ort.SessionOptions | None = None
) -> ort.InferenceSession:
    """Open a session on a serialized model.

    Args:
        model: its bytes, or what it is made of.
        options: how.
        ort_options: ONNX Runtime's own options, where more was added to them than ``options`` knows.

    Raises:
        ModelError: ONNX Runtime refuses the model.
        UsageError: a provider did not start.
    """
    ort_options = ort_options or options.to_ort()
    content = model
    if isinstance(model, SessionModel):
        values = as_values(model.apart)
        ort_options.add_external_initializers(list(values.keys()), list(values.values()))
        content = model.content
    load_cuda(options.providers)
    try:
        session = ort.InferenceSession(
            content,
            ort_options,
            providers=list(options.providers),
            disabled_optimizers=list(options.disabled),
        )
    except REFUSALS as error:
        raise ModelError(f"ONNX Runtime refuses the model: {_reason(error)}") from error
    # ONNX Runtime goes on without a provider that does not start, and says so on stderr only
    missing = set(options.providers) - set(session.get_providers())
    if missing:
        names = ", ".join(sorted(missing))
        raise UsageError(f"ONNX Runtime could not start {names}; see its message above")
    return session


def optimize_model(model: bytes | SessionModel, options: SessionOptions, folder: Path | None = None) -> onnx.ModelProto:
    """Return what ONNX Runtime's optimizer makes of a serialized model.

    Args:
        model: its bytes, or what it is made of.
        options: how; the result is what a session with these options runs.
        folder: gets a file in which the large tensors of the result lie, external to it; None for a result that
            holds all of them.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    brief = options.for_one_run()
    # ONNX Runtime writes the result to files only
    if folder is None:
        with scratch_folder() as own:
            path = own / _OPTIMIZED
            open_session(model, brief, brief.to_ort(save_to=path))
            return onnx.load(path)
    path = folder / _OPTIMIZED
    ort_options = brief.to_ort(save_to=path)
    for key, value in _APART.items():
        ort_options.add_session_config_entry(key, value)
    open_session(model, brief, ort_options)
    return onnx.load(path, load_external_data=False)


def run_session(
    session: ort.InferenceSession,
    feeds: Arrays,
    *,
    names: Sequence[str] | None = None,
    on: str = "these inputs",
) -> list[NDArray[Any]]:
    """Run a session.

    Args:
        session: an open one.
        feeds: its inputs by name.
        names: the outputs to return, all of them by default.
        on: what the inputs are called in a message.

    Raises:
        RunTimeoutError: it took longer than this thread's ``TimeLimit`` allows.
        ModelError: ONNX Runtime refuses the inputs or fails.
    """
    return _limited(partial(session.run, names, dict(feeds)), on)


def as_values(arrays: Arrays) -> dict[str, ort.OrtValue]:
    """Wrap arrays; the values read the arrays' own memory where it is contiguous."""
    values: dict[str, ort.OrtValue] = {}
    for name, array in arrays.items():
        contiguous = np.ascontiguousarray(array)
        values[name] = _as_value(contiguous)
    return values


def _as_value(array: NDArray[Any]) -> ort.OrtValue:
    if array.dtype.type.__module__ == np.__name__:
        return ort.OrtValue.ortvalue_from_numpy(array)
    # such as bfloat16, which ONNX Runtime's binding does not know by numpy's name for it
    element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, element)


def run_values(session: ort.InferenceSession, names: Sequence[str], feeds: Values) -> dict[str, ort.OrtValue]:
    """Run a session on values of ONNX Runtime's own and return the named outputs, uncopied.

    Raises:
        RunTimeoutError: it took longer than this thread's ``TimeLimit`` allows.
        ModelError: ONNX Runtime refuses the inputs or fails.
    """
    made = _limited(partial(session.run_with_ort_values, names, dict(feeds)), "these inputs")
    return dict(zip(names, made, strict=True))


def _reason(error: BaseException) -> str:
    """Return what ONNX Runtime says, without its codes."""
    return _CODES.sub("", message_of(error))


def _limited(run: Callable[[ort.RunOptions], _Outputs], on: str) -> _Outputs:
    """Run within this thread's time limit, and translate what ONNX Runtime raises."""
    limit = limit_in_use()
    limit.begin_run()
    try:
        return run(limit.options)
    except REFUSALS as error:
        limit.raise_if_over()
        raise ModelError(f"ONNX Runtime cannot run the model on {on}: {_reason(error)}") from error
    finally:
        limit.end_run()
