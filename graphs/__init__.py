"""Ground floor: edits of ONNX graphs that more than one room needs.

Not aware of sessions, faults, torch or data sets. What edits through onnx-ir, which takes long to import, is imported
from its own module: ``graphs.initializers``, ``graphs.ir_models`` and ``graphs.norms``.
"""

from ftonnx.graphs.copies import copy_of, with_outputs_too
from ftonnx.graphs.external import LOCATION, copy_without, refer_to, take_bytes
from ftonnx.graphs.hidden import hide_constants
from ftonnx.graphs.hoisting import has_inner_bodies, hoist, inner_initializers, name_apart, stored_anywhere
from ftonnx.graphs.opsets import standard_opset
from ftonnx.graphs.optimized import require_unoptimized
from ftonnx.graphs.order import is_sorted, sort_nodes
from ftonnx.graphs.readers import count_readers, defined_in, subgraphs, used_by
from ftonnx.graphs.scale_shift import ExplicitNorm, scale_and_shift
from ftonnx.graphs.stored_inputs import FREE_INITIALIZERS, forget_stored_inputs
from ftonnx.graphs.validity import check_valid

__all__ = [
    "FREE_INITIALIZERS",
    "LOCATION",
    "ExplicitNorm",
    "check_valid",
    "copy_of",
    "copy_without",
    "count_readers",
    "defined_in",
    "forget_stored_inputs",
    "has_inner_bodies",
    "hide_constants",
    "hoist",
    "inner_initializers",
    "is_sorted",
    "name_apart",
    "refer_to",
    "require_unoptimized",
    "scale_and_shift",
    "sort_nodes",
    "standard_opset",
    "stored_anywhere",
    "subgraphs",
    "take_bytes",
    "used_by",
    "with_outputs_too",
]
