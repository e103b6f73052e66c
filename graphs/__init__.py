"""Ground floor: edits of ONNX graphs that more than one room needs.

Not aware of sessions, faults, torch or data sets. What edits through onnx-ir, which takes long to import, is imported
from its own module: ``graphs.initializers`` and ``graphs.norms``.
"""

from ftonnx.graphs.copies import copy_of, with_outputs_too
from ftonnx.graphs.external import LOCATION, take_bytes
from ftonnx.graphs.readers import count_readers, subgraphs, used_by
from ftonnx.graphs.scale_shift import ExplicitNorm, scale_and_shift

__all__ = [
    "LOCATION",
    "ExplicitNorm",
    "copy_of",
    "count_readers",
    "scale_and_shift",
    "subgraphs",
    "take_bytes",
    "used_by",
    "with_outputs_too",
]
