"""ONNX Runtime sessions that run with faults: strategies, and the proof that the faults arrive.

Not aware of data sets, labels, statistics or results folders.
"""

from ftonnx.runtime.batches import fixed_batch, padded, unpadded
from ftonnx.runtime.chain import Work
from ftonnx.runtime.determinism import require_no_random_node
from ftonnx.runtime.held import HeldBatch, cache_limit, free_memory
from ftonnx.runtime.onnx_session import Arrays, FaultyRunError, SessionOptions
from ftonnx.runtime.providers import resolve_providers
from ftonnx.runtime.session import STRATEGIES, FaultySession

__all__ = [
    "STRATEGIES",
    "Arrays",
    "FaultyRunError",
    "FaultySession",
    "HeldBatch",
    "SessionOptions",
    "Work",
    "cache_limit",
    "fixed_batch",
    "free_memory",
    "padded",
    "require_no_random_node",
    "resolve_providers",
    "unpadded",
]
