"""From a measured probability to failures in time (FIT, per 1e9 device-hours) and mispredictions per hour."""

import math
from dataclasses import dataclass
from typing import Final

from ftonnx.environment.radiation import FIT_HOURS
from ftonnx.errors import UsageError

__all__ = [
    "ALONE",
    "FailureRate",
    "MispredictionRate",
    "coverage_for_budget",
    "failure_rate",
    "misprediction_rate",
]

ALONE: Final = 0.1
"""So few flips at a time that two together are rare, one run in 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """How often silent data corruptions occur, and what a budget asks for.

    Attributes:
        device_fit: upsets in the memory per 1e9 hours.
        sdc_fit: upsets that lead to a silent data corruption, per 1e9 hours.
        mttf_hours: mean time to such a failure, 1e9 / sdc_fit; infinite at 0.
        budget_fit: allowed failures per 1e9 hours.
        coverage_needed: share of upsets that must be detected or corrected for the budget; None without one.
    """

    device_fit: float
    sdc_fit: float
    mttf_hours: float
    budget_fit: float | None
    coverage_needed: float | None


def failure_rate(
    device_fit: float, sdc: float, *, coverage: float = 0.0, budget_fit: float | None = None
) -> FailureRate:
    """Return FIT_SDC = device FIT x P(SDC | one upset) x (1 - coverage), mean time to failure, coverage for a budget.

    Args:
        device_fit: upsets in the memory per 1e9 hours.
        sdc: probability that one upset corrupts an output silently; an upper confidence limit, for claims.
        coverage: share of upsets that is detected or corrected already.
        budget_fit: allowed failures per 1e9 hours.

    Raises:
        UsageError: a number is out of range.

    >>> found = failure_rate(106_317, 0.05, budget_fit=10)
    >>> round(found.sdc_fit), round(found.coverage_needed, 4)
    (5316, 0.9981)
    """
    if not (0 <= sdc <= 1 and 0 <= coverage <= 1 and 0 <= device_fit < math.inf):
        raise UsageError(
            "probabilities from 0 to 1 and a finite upset rate of 0 or more were expected; "
            f"got SDC {sdc}, coverage {coverage}, {device_fit} FIT"
        )
    undetected = 1 - coverage
    sdc_fit = device_fit * sdc * undetected
    # What never fails has no mean time between failures.
    mttf_hours = math.inf
    if sdc_fit:
        mttf_hours = FIT_HOURS / sdc_fit
    coverage_needed = None
    if budget_fit is not None:
        # What is covered already does not count twice: the need is that of the bare memory.
        coverage_needed = coverage_for_budget(device_fit * sdc, budget_fit)
    return FailureRate(
        device_fit=device_fit,
        sdc_fit=sdc_fit,
        mttf_hours=mttf_hours,
        budget_fit=budget_fit,
        coverage_needed=coverage_needed,
    )


def coverage_for_budget(fit: float, budget_fit: float) -> float:
    """Return the diagnostic coverage that brings ``fit`` down to a budget; 0 where it is within it already.

    >>> round(coverage_for_budget(531.6, 100), 4), coverage_for_budget(53, 100)
    (0.8119, 0.0)
    """
    if not budget_fit > 0:
        raise UsageError(f"a budget above 0 FIT was expected, got {budget_fit}")
    # Nothing fails, so nothing has to be covered.
    if fit == 0:
        return 0.0
    missing = 1 - budget_fit / fit
    return max(0.0, missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class MispredictionRate:
    """How often a running model predicts something else than without faults.

    Attributes:
        probability: per inference.
        per_hour: mispredictions.
        hours_between: mean time between two; infinite where there are none.
    """

    probability: float
    per_hour: float
    hours_between: float


def misprediction_rate(probability: float, inferences_per_hour: float) -> MispredictionRate:
    """Return how often mispredictions occur: 1 / (inferences per hour x probability) hours apart on average.

    >>> misprediction_rate(1e-4, 3600).hours_between
    2.777...
    """
    if not (0 <= probability <= 1 and 0 <= inferences_per_hour < math.inf):
        raise UsageError(
            "a probability from 0 to 1 and a finite number of inferences per hour were expected; "
            f"got {probability} and {inferences_per_hour}"
        )
    per_hour = probability * inferences_per_hour
    # A model that is never wrong, or never asked, has no time between mispredictions.
    hours_between = math.inf
    if per_hour:
        hours_between = 1 / per_hour
    return MispredictionRate(
        probability=probability,
        per_hour=per_hour,
        hours_between=hours_between,
    )
