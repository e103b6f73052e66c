"""From torch to ONNX, and clipped activations in any ONNX graph.

Not aware of data sets or faults.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.export.files import write_model

if TYPE_CHECKING:
    from ftonnx.export.activations import (
        clip_activations,
        read_thresholds,
        thresholds_as_inputs,
        with_activation,
        with_outputs,
    )
    from ftonnx.export.clamp import ON_EXCEED, check_on_exceed, threshold_name
    from ftonnx.export.crelu import CLIP_ABOVE, CRELU, DOMAIN, add_crelu_function
    from ftonnx.export.finding import Activation, feeding_tensors, find_activations
    from ftonnx.export.parity import check_parity
    from ftonnx.export.torch_export import export_module

__all__ = [
    "CLIP_ABOVE",
    "CRELU",
    "DOMAIN",
    "ON_EXCEED",
    "Activation",
    "add_crelu_function",
    "check_on_exceed",
    "check_parity",
    "clip_activations",
    "export_module",
    "feeding_tensors",
    "find_activations",
    "read_thresholds",
    "threshold_name",
    "thresholds_as_inputs",
    "with_activation",
    "with_outputs",
    "write_model",
]

_MODULE_OF = {
    "CLIP_ABOVE": "crelu",
    "CRELU": "crelu",
    "DOMAIN": "crelu",
    "ON_EXCEED": "clamp",
    "Activation": "finding",
    "add_crelu_function": "crelu",
    "check_on_exceed": "clamp",
    "check_parity": "parity",
    "clip_activations": "activations",
    "export_module": "torch_export",
    "feeding_tensors": "finding",
    "find_activations": "finding",
    "read_thresholds": "activations",
    "threshold_name": "clamp",
    "thresholds_as_inputs": "activations",
    "with_activation": "activations",
    "with_outputs": "activations",
}


def __getattr__(name: str) -> Any:
    """Load a name from its module at first use (PEP 562): onnx-ir takes long to import."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ftonnx.export' has no attribute {name!r}")
    path = f"ftonnx.export.{_MODULE_OF[name]}"
    module = import_module(path)
    value = getattr(module, name)
    globals()[name] = value  # asked for once only
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
