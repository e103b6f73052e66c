"""Training on data sets: fine-tuning from a checkpoint, and quantization-aware training of ONNX models.

Knows torch, architectures, data sets and the quantizer; does not know faults or the command line. Importing this needs
no torch; a name that does is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.training.records import Epoch, TrainingLog
from ftonnx.training.settings import TrainingSettings

if TYPE_CHECKING:
    from ftonnx.training.qat import QatSettings, QuantizedNetwork, train_quantized
    from ftonnx.training.tuning import TrainedNetwork, finetune

__all__ = [
    "Epoch",
    "QatSettings",
    "QuantizedNetwork",
    "TrainedNetwork",
    "TrainingLog",
    "TrainingSettings",
    "finetune",
    "train_quantized",
]

_NEEDS_TORCH = {
    "QatSettings": "qat",
    "QuantizedNetwork": "qat",
    "TrainedNetwork": "tuning",
    "finetune": "tuning",
    "train_quantized": "qat",
}


def __getattr__(name: str) -> Any:
    """Load a name that needs torch (PEP 562)."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'ftonnx.training' has no attribute {name!r}")
    from ftonnx.models.extras import require

    require("torch")
    module = import_module(f"ftonnx.training.{_NEEDS_TORCH[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
