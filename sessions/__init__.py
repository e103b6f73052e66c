"""Ground floor: ONNX Runtime sessions are opened and run here, and its exceptions become errors of ours.

Not aware of faults, data sets, campaigns or the command line.
"""

from ftonnx.sessions.arena import shrink_arena
from ftonnx.sessions.batches import (
    Declared,
    dimension,
    fixed_batch,
    free_inputs,
    joined_runs,
    padded,
    size_name,
    unpadded,
)
from ftonnx.sessions.bits import same_bits, same_value
from ftonnx.sessions.freed import give_back
from ftonnx.sessions.options import SessionOptions
from ftonnx.sessions.providers import resolve_providers
from ftonnx.sessions.refusals import REFUSALS
from ftonnx.sessions.running import (
    Arrays,
    Session,
    SessionModel,
    Values,
    as_values,
    open_session,
    optimize_model,
    run_session,
    run_values,
)
from ftonnx.sessions.saturation import kernels_saturate, saturating_operators, saturation_caution
from ftonnx.sessions.time_limit import STUCK, RunTimeoutError, TimeLimit, exit_when_stuck

__all__ = [
    "REFUSALS",
    "STUCK",
    "Arrays",
    "Declared",
    "RunTimeoutError",
    "Session",
    "SessionModel",
    "SessionOptions",
    "TimeLimit",
    "Values",
    "as_values",
    "dimension",
    "exit_when_stuck",
    "fixed_batch",
    "free_inputs",
    "give_back",
    "joined_runs",
    "kernels_saturate",
    "open_session",
    "optimize_model",
    "padded",
    "resolve_providers",
    "run_session",
    "run_values",
    "same_bits",
    "same_value",
    "saturating_operators",
    "saturation_caution",
    "shrink_arena",
    "size_name",
    "unpadded",
]
