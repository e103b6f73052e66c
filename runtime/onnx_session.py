"""The one place where ONNX Runtime sessions are opened and run, and its exceptions are translated."""

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from ftonnx.errors import ModelError, UsageError, message_of
from ftonnx.runtime.providers import resolve_providers

__all__ = [
    "Arrays", "FaultyRunError", "SessionOptions", "Values", "as_values", "give_back", "open_session", "run_session",
    "run_values", "same_bits",
]  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]
Values = Mapping[str, ort.OrtValue]

_ORT_ERRORS: Final[tuple[type[Exception], ...]] = tuple(
    error
    for error in vars(onnxruntime_pybind11_state).values()
    if isinstance(error, type) and issubclass(error, Exception)
)
_REFUSALS: Final[tuple[type[Exception], ...]] = (*_ORT_ERRORS, MemoryError, RuntimeError, ValueError)
_LOG_NOTHING: Final = 4  # its errors come as exceptions, which become one line of ours


class FaultyRunError(ModelError):
    """ONNX Runtime refused or aborted a run because of the flipped bits: a detected, unrecoverable error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session is opened; two sessions with equal options give bit-equal outputs.

    Attributes:
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime.
        optimize: apply all graph optimizations (False for a graph that is already optimized).
        prepack: let kernels keep a packed copy of their weights.
        disabled: names of graph optimizers that are left out.
        shared_arena: take memory from one arena of the process instead of the session's own.
        spin_between_runs: let threads wait for the next run in a loop, ready but busy.
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int | None = None
    optimize: bool = True
    prepack: bool = True
    disabled: tuple[str, ...] = ()
    shared_arena: bool = field(default=False, compare=False)
    spin_between_runs: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        """Resolve the providers and check the threads."""
        object.__setattr__(self, "providers", resolve_providers(self.providers))
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads must be 1 or more, got {self.threads}")

    def to_ort(self, *, save_to: Path | None = None) -> ort.SessionOptions:
        """Return ONNX Runtime's own options object."""
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if self.optimize else level.ORT_DISABLE_ALL
        options.log_severity_level = _LOG_NOTHING
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        if not self.prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        if self.shared_arena:
            _register_shared_arena()
            options.add_session_config_entry("session.use_env_allocators", "1")
        if not self.spin_between_runs:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if save_to is not None:
            options.optimized_model_filepath = str(save_to)
        return options


def open_session(
    model: bytes, options: SessionOptions, ort_options: ort.SessionOptions | None = None
) -> ort.InferenceSession:
    """Open a session on a serialized model.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    try:
        session = ort.InferenceSession(
            model,
            ort_options or options.to_ort(),
            providers=list(options.providers),
            disabled_optimizers=list(options.disabled),
        )
    except _REFUSALS as error:
        raise ModelError(f"ONNX Runtime refuses the model: {message_of(error)}") from error
    missing = set(options.providers) - set(session.get_providers())
    if missing:
        raise UsageError(f"ONNX Runtime could not start {', '.join(sorted(missing))}; see its message above")
    return session


def run_session(session: ort.InferenceSession, feeds: Arrays) -> list[NDArray[Any]]:
    """Run a session and return all outputs.

    Raises:
        ModelError: ONNX Runtime refuses the inputs or fails.
    """
    try:
        outputs: list[NDArray[Any]] = session.run(None, dict(feeds))
    except _REFUSALS as error:
        raise ModelError(f"ONNX Runtime cannot run the model on these inputs: {message_of(error)}") from error
    return outputs


def as_values(arrays: Arrays) -> dict[str, ort.OrtValue]:
    """Wrap arrays; the values read the arrays' own memory where it is contiguous."""
    return {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}


def run_values(session: ort.InferenceSession, names: Sequence[str], feeds: Values) -> dict[str, ort.OrtValue]:
    """Run a session on values of ONNX Runtime's own and return the named outputs, uncopied.

    Raises:
        ModelError: ONNX Runtime refuses the inputs or fails.
    """
    try:
        return dict(zip(names, session.run_with_ort_values(names, dict(feeds)), strict=True))
    except _REFUSALS as error:
        raise ModelError(f"ONNX Runtime cannot run the model on these inputs: {message_of(error)}") from error


def give_back() -> None:
    """Return freed memory to the system; glibc keeps what it may need again, and every peak would add up."""
    if trim := _malloc_trim():
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not glibc
        return None


def same_bits(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Say whether two lists of outputs agree in every bit, NaN payloads included."""
    return len(left) == len(right) and all(_same_value(a, b) for a, b in zip(left, right, strict=True))


def _same_value(left: Any, right: Any) -> bool:
    """Compare two outputs: tensors, or the sequences, maps and texts that some classifiers return beside them."""
    if not (isinstance(left, np.ndarray) and isinstance(right, np.ndarray)):
        return repr(left) == repr(right)
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype == object:  # texts, of which the array holds the addresses
        return bool(left.tolist() == right.tolist())
    return left.tobytes() == right.tobytes()


@functools.cache
def _register_shared_arena() -> None:
    """Give the process one CPU arena, so that a fresh session does not page-fault its own."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, -1, -1, -1))
