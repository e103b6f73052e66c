"""From torch to ONNX, and clipped activations in any ONNX graph.

Not aware of data sets or faults.
"""

from ftonnx.export.activations import (
    Activation,
    clip_activations,
    feeding_tensors,
    find_activations,
    read_thresholds,
    thresholds_as_inputs,
    with_activation,
    with_outputs,
)
from ftonnx.export.crelu import CLIP_ABOVE, CRELU, DOMAIN, add_crelu_function
from ftonnx.export.files import check_target, write_file, write_model
from ftonnx.export.parity import check_parity
from ftonnx.export.torch_export import export_module

__all__ = [
    "CLIP_ABOVE",
    "CRELU",
    "DOMAIN",
    "Activation",
    "add_crelu_function",
    "check_parity",
    "check_target",
    "clip_activations",
    "export_module",
    "feeding_tensors",
    "find_activations",
    "read_thresholds",
    "thresholds_as_inputs",
    "with_activation",
    "with_outputs",
    "write_file",
    "write_model",
]
