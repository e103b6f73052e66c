"""From torch to ONNX, and clipped activations in any ONNX graph.

Not aware of data sets or faults.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.export.files import check_target, write_file, write_model

if TYPE_CHECKING:
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

_MODULES = {
    "activations": (
        "Activation",
        "clip_activations",
        "feeding_tensors",
        "find_activations",
        "read_thresholds",
        "thresholds_as_inputs",
        "with_activation",
        "with_outputs",
    ),
    "crelu": ("CLIP_ABOVE", "CRELU", "DOMAIN", "add_crelu_function"),
    "parity": ("check_parity",),
    "torch_export": ("export_module",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a name from its module at first use (PEP 562): onnx-ir takes long to import."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ftonnx.export' has no attribute {name!r}")
    value = getattr(import_module(f"ftonnx.export.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
