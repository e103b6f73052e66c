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
from ftonnx.environment.radiation import (
    HOURS_PER_YEAR,
    PLACES,
    Environment,
    duration_text,
    parse_duration,
    plain_words,
    time_to_reach,
)

__all__ = [
    "HOURS_PER_YEAR",
    "PLACES",
    "Environment",
    "FailureRate",
    "MispredictionRate",
    "coverage_for_budget",
    "duration_text",
    "failure_rate",
    "misprediction_rate",
    "parse_duration",
    "plain_words",
    "time_to_reach",
]
