"""Models: the embedded ONNX files, torch architectures by name, checkpoints, and the clipped ReLU as a module.

Knows torch architectures and the embedded ONNX files; does not know ONNX Runtime or faults.
Importing this needs no torch; a name that does is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.models.architectures import architectures, build, input_shape, preprocessing
from ftonnx.models.registry import names, resolve

if TYPE_CHECKING:
    from ftonnx.models.checkpoint_files import read_metadata, read_state_dict
    from ftonnx.models.checkpoints import load_checkpoint
    from ftonnx.models.crelu import CReLU

__all__ = [
    "CReLU",
    "architectures",
    "build",
    "input_shape",
    "load_checkpoint",
    "names",
    "preprocessing",
    "read_metadata",
    "read_state_dict",
    "resolve",
]

_NEEDS_TORCH = {
    "CReLU": "crelu",
    "load_checkpoint": "checkpoints",
    "read_metadata": "checkpoint_files",
    "read_state_dict": "checkpoint_files",
}


def __getattr__(name: str) -> Any:
    """Load a name that needs torch from its module (PEP 562)."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'ftonnx.models' has no attribute {name!r}")
    from ftonnx.models.extras import require

    require("torch")
    path = f"ftonnx.models.{_NEEDS_TORCH[name]}"
    module = import_module(path)
    value = getattr(module, name)
    # asked for once only
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
