"""ONNX Runtime sessions that run with faults: strategies, and the proof that the faults arrive.

Not aware of data sets, labels, statistics or results folders.
"""

from ftonnx.runtime.batches import fixed_batch, padded, unpadded
from ftonnx.runtime.onnx_session import FaultyRunError, SessionOptions
from ftonnx.runtime.providers import resolve_providers
from ftonnx.runtime.session import STRATEGIES, FaultySession, HeldBatch

__all__ = [
    "STRATEGIES",
    "FaultyRunError",
    "FaultySession",
    "HeldBatch",
    "SessionOptions",
    "fixed_batch",
    "padded",
    "resolve_providers",
    "unpadded",
]
