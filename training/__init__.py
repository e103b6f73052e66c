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
    from ftonnx.training.qat import QuantizedNetwork, train_quantized
    from ftonnx.training.qat_settings import Int8TuningSettings, QatSettings
    from ftonnx.training.tuning import TrainedNetwork, finetune
    from ftonnx.training.tuning_int8 import TunedInt8, finetune_int8

__all__ = [
    "Epoch",
    "Int8TuningSettings",
    "PretrainedNetwork",
    "PretrainingEpoch",
    "PretrainingLog",
    "PretrainingSettings",
    "QatSettings",
    "QuantizedNetwork",
    "TrainedNetwork",
    "TrainingLog",
    "TrainingSettings",
    "TunedInt8",
    "finetune",
    "finetune_int8",
    "pretrain",
    "train_quantized",
]

# the quantizer takes a moment to load
_MODULE_OF = {
    "Int8TuningSettings": "qat_settings",
    "QatSettings": "qat_settings",
}
_NEEDS_TORCH = {
    "PretrainedNetwork": "pretraining.pretraining",
    "QuantizedNetwork": "qat",
    "TrainedNetwork": "tuning",
    "TunedInt8": "tuning_int8",
    "finetune": "tuning",
    "finetune_int8": "tuning_int8",
    "pretrain": "pretraining.pretraining",
    "train_quantized": "qat",
}


def __getattr__(name: str) -> Any:
    """Load a name from its module at first use (PEP 562)."""
    module = _MODULE_OF.get(name) or _NEEDS_TORCH.get(name)
    if module is None:
        raise AttributeError(f"module 'ftonnx.training' has no attribute {name!r}")
    if name in _NEEDS_TORCH:
        from ftonnx.models.extras import require

        require("torch")
        if module.startswith("pretraining"):
            require("lightly", extra="ssl")
    return getattr(import_module(f"ftonnx.training.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
