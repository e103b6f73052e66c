"""How a session is opened."""

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import onnxruntime as ort

from ftonnx.errors import UsageError
from ftonnx.sessions.providers import resolve_providers

__all__ = ["SessionOptions", "has_shared_arena"]

_LOG_NOTHING: Final = 4  # its errors come as exceptions, which become one line of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a session is opened; two sessions with equal options give bit-equal outputs.

    Attributes:
        providers: execution providers in priority order, full or partial names.
        threads: intra-op threads; None leaves the choice to ONNX Runtime.
        optimize: apply all graph optimizations (False for a graph that is already optimized).
        standard: of the graph optimizations apply only those that keep to the standard's operators.
        prepack: let kernels keep a packed copy of their weights.
        disabled: names of graph optimizers that are left out.
        arena: keep memory that a run gives back for the next one, until the session is closed.
        shared_arena: take memory from one arena of the process instead of the session's own.
        spin_between_runs: let threads wait for the next run in a loop, ready but busy.
    """

    providers: tuple[str, ...] = ("cpu",)
    threads: int | None = None
    optimize: bool = True
    standard: bool = False
    prepack: bool = True
    disabled: tuple[str, ...] = ()
    arena: bool = field(default=True, compare=False)
    shared_arena: bool = field(default=False, compare=False)
    spin_between_runs: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        """Resolve the providers and check the threads."""
        providers = resolve_providers(self.providers)
        object.__setattr__(self, "providers", providers)
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"threads must be 1 or more, got {self.threads}")

    def for_one_run(self) -> "SessionOptions":
        """Return the options for a session that runs once or never: an arena would keep what nobody asks for again.

        The shared one would keep it for as long as the process lives.
        """
        return replace(self, arena=False, shared_arena=False)

    def to_ort(self, *, save_to: Path | None = None) -> ort.SessionOptions:
        """Return ONNX Runtime's own options object."""
        options = ort.SessionOptions()
        options.graph_optimization_level = self._level()
        options.log_severity_level = _LOG_NOTHING
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        if not self.prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = self.arena
        if self.shared_arena:
            _register_shared_arena()
            options.add_session_config_entry("session.use_env_allocators", "1")
            # else every session would plan a block of its own in it, as large as all that a run needs at a time
            options.enable_mem_pattern = False
        if not self.spin_between_runs:
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if save_to is not None:
            options.optimized_model_filepath = str(save_to)
        return options

    def _level(self) -> ort.GraphOptimizationLevel:
        level = ort.GraphOptimizationLevel
        if not self.optimize:
            return level.ORT_DISABLE_ALL
        if self.standard:
            return level.ORT_ENABLE_BASIC
        return level.ORT_ENABLE_ALL


def has_shared_arena() -> bool:
    """Say whether a session of this process was opened on the shared arena."""
    return _register_shared_arena.cache_info().currsize > 0


@functools.cache
def _register_shared_arena() -> None:
    """Give the process one CPU arena, so that a fresh session does not page-fault its own."""
    memory = ort.OrtMemoryInfo(
        "Cpu",
        ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
        0,
        ort.OrtMemType.DEFAULT,
    )
    # no limit, and ONNX Runtime's own way of growing
    configuration = ort.OrtArenaCfg(0, -1, -1, -1)
    ort.create_and_register_allocator(memory, configuration)
