"""Radiation: from an environment to a bit-fault rate, from a measured probability to failures in time.

Not aware of models and campaigns.
"""

from ftonnx.environment.failures import (
    FailureRate,
    MispredictionRate,
    coverage_for_budget,
    failure_rate,
    misprediction_rate,
)
from ftonnx.environment.memory_map import MemoryMap
from ftonnx.environment.multiplicity import Multiplicity
from ftonnx.environment.radiation import (
    HOURS_PER_YEAR,
    PLACES,
    Environment,
    duration_text,
    flipped_at_end,
    parse_duration,
    plain_words,
    time_to_reach,
)
from ftonnx.environment.upset_shape import UpsetShape

__all__ = [
    "HOURS_PER_YEAR",
    "PLACES",
    "Environment",
    "FailureRate",
    "MemoryMap",
    "MispredictionRate",
    "Multiplicity",
    "UpsetShape",
    "coverage_for_budget",
    "duration_text",
    "failure_rate",
    "flipped_at_end",
    "misprediction_rate",
    "parse_duration",
    "plain_words",
    "time_to_reach",
]
