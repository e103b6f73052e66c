"""Making a model last: clipping (ReLU6, ActMax, ClipAct) and quantization, and the statistics they rest on.

Not aware of the command line or of reports.
"""

from ftonnx.mitigate.accuracy import AccuracyChange
from ftonnx.mitigate.clipact import ClipActSettings, search_thresholds
from ftonnx.mitigate.distribution import Distribution, activation_distributions
from ftonnx.mitigate.protect import protect
from ftonnx.mitigate.protectable import protectable
from ftonnx.mitigate.protections import (
    METHODS,
    ActMax,
    ClipAct,
    Protected,
    Protection,
    ReLU6,
    protection,
    protection_from_dict,
)
from ftonnx.mitigate.quantize import QuantizedModel, quantize
from ftonnx.mitigate.statistics import ActivationStatistics, measure_activations
from ftonnx.mitigate.thresholds import SCOPES, Thresholds, largest_values
from ftonnx.mitigate.weights import ClippedWeights, clip_weights

__all__ = [
    "METHODS",
    "SCOPES",
    "AccuracyChange",
    "ActMax",
    "ActivationStatistics",
    "ClipAct",
    "ClipActSettings",
    "ClippedWeights",
    "Distribution",
    "Protected",
    "Protection",
    "QuantizedModel",
    "ReLU6",
    "Thresholds",
    "activation_distributions",
    "clip_weights",
    "largest_values",
    "measure_activations",
    "protect",
    "protectable",
    "protection",
    "protection_from_dict",
    "quantize",
    "search_thresholds",
]
