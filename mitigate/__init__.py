"""Clipping thresholds: ReLU6, ActMax, ClipAct, and the activation statistics they rest on.

Not aware of the command line or of reports.
"""

from ftonnx.mitigate.clipact import ClipActSettings, search_thresholds
from ftonnx.mitigate.distribution import Distribution, activation_distributions
from ftonnx.mitigate.protect import METHODS, Protected, protect, protectable
from ftonnx.mitigate.thresholds import SCOPES, Thresholds, largest_values

__all__ = [
    "METHODS",
    "SCOPES",
    "ClipActSettings",
    "Distribution",
    "Protected",
    "Thresholds",
    "activation_distributions",
    "largest_values",
    "protect",
    "protectable",
    "search_thresholds",
]
