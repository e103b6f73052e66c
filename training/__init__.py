"""Training torch networks on data sets: fine-tuning from a checkpoint, to a state dict that ``export`` takes.

Knows torch, architectures and data sets; does not know ONNX Runtime, faults, or the command line. Importing this needs
no torch; a name that does is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.training.records import Epoch, TrainingLog
from ftonnx.training.settings import TrainingSettings

if TYPE_CHECKING:
    from ftonnx.training.tuning import TrainedNetwork, finetune

__all__ = ["Epoch", "TrainedNetwork", "TrainingLog", "TrainingSettings", "finetune"]

_NEEDS_TORCH = ("TrainedNetwork", "finetune")


def __getattr__(name: str) -> Any:
    """Load a name that needs torch (PEP 562)."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'ftonnx.training' has no attribute {name!r}")
    from ftonnx.models.extras import require

    require("torch")
    module = import_module("ftonnx.training.tuning")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
