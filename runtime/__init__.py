"""ONNX Runtime sessions that run with faults: strategies, and the proof that the faults arrive.

Not aware of data sets, labels, statistics or results folders.
"""

from ftonnx.runtime.determinism import require_no_random_node
from ftonnx.runtime.layout.cache import cache_folder
from ftonnx.runtime.model_inputs import ModelInputs
from ftonnx.runtime.plain import PlainSession
from ftonnx.runtime.rehearsal import require_end
from ftonnx.runtime.reuse.chain import Work
from ftonnx.runtime.reuse.held import HeldBatch
from ftonnx.runtime.reuse.limits import cache_limit, free_memory
from ftonnx.runtime.reuse.trials import Rows, Trials
from ftonnx.runtime.session import FaultySession
from ftonnx.runtime.strategies import STRATEGIES
from ftonnx.runtime.strategies.base import FaultyRunError

__all__ = [
    "STRATEGIES",
    "FaultyRunError",
    "FaultySession",
    "HeldBatch",
    "ModelInputs",
    "PlainSession",
    "Rows",
    "Trials",
    "Work",
    "cache_folder",
    "cache_limit",
    "free_memory",
    "require_end",
    "require_no_random_node",
]
