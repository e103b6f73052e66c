"""Training on data sets: self-supervised pretraining, fine-tuning, and quantization-aware training of ONNX models.

Knows torch, architectures, data sets and the quantizer; does not know faults or the command line. Importing this needs
no torch; a name that does is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftonnx.training.records import Epoch, PretrainingEpoch, PretrainingLog, TrainingLog
from ftonnx.training.settings import PretrainingSettings, TrainingSettings

if TYPE_CHECKING:
    from ftonnx.training.pretraining.pretraining import PretrainedNetwork, pretrain
    from ftonnx.training.qat import QatSettings, QuantizedNetwork, train_quantized
    from ftonnx.training.tuning import TrainedNetwork, finetune

__all__ = [
    "Epoch",
    "PretrainedNetwork",
    "PretrainingEpoch",
    "PretrainingLog",
    "PretrainingSettings",
    "QatSettings",
    "QuantizedNetwork",
    "TrainedNetwork",
    "TrainingLog",
    "TrainingSettings",
    "finetune",
    "pretrain",
    "train_quantized",
]

_NEEDS_TORCH = {
    "PretrainedNetwork": "pretraining.pretraining",
    "QatSettings": "qat",
    "QuantizedNetwork": "qat",
    "TrainedNetwork": "tuning",
    "finetune": "tuning",
    "pretrain": "pretraining.pretraining",
    "train_quantized": "qat",
}


def __getattr__(name: str) -> Any:
    """Load a name that needs torch (PEP 562)."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module 'ftonnx.training' has no attribute {name!r}")
    from ftonnx.models.extras import require

    home = _NEEDS_TORCH[name]
    require("torch")
    if home.startswith("pretraining"):
        require("lightly", extra="ssl")
    module = import_module(f"ftonnx.training.{home}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
