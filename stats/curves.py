"""Numbers that sum up an accuracy curve over fault rates; their limits follow from those at the rates."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.stats.estimate import Estimate, weighted_sum
from ftonnx.words import nine_digits

__all__ = [
    "AUC_AXES",
    "CriticalRate",
    "GridRate",
    "adjusted_log_odds",
    "area_under",
    "auc",
    "auc_weights",
    "critical_rate",
    "log_odds",
    "rate_at_loss",
]

AUC_AXES: Final = ("log", "linear", "index")


def auc_weights(rates: Sequence[float], axis: str) -> NDArray[np.float64]:
    """Return the trapezoid weights of accuracies at ascending ``rates``; they sum to 1.

    Args:
        rates: two or more, ascending, above 0 on the ``log`` axis.
        axis: ``log`` (log10 of the rate), ``linear``, or ``index`` (equally spaced).

    Raises:
        UsageError: the axis is not known, or the rates do not suit it.

    >>> auc_weights([1e-7, 1e-6, 3e-6, 1e-5, 3e-5], "index").tolist()
    [0.125, 0.25, 0.25, 0.25, 0.125]
    >>> auc_weights([1e-7, 1e-6, 3e-6, 1e-5, 3e-5], "log").round(4).tolist()
    [0.2018, 0.2982, 0.2018, 0.2018, 0.0963]
    """
    if axis not in AUC_AXES:
        raise UsageError(f"AUC axis {axis!r} is not known: use {', '.join(AUC_AXES)}")
    is_ascending = len(rates) >= 2 and all(np.diff(rates) > 0)
    if not is_ascending or (axis == "log" and rates[0] <= 0):
        raise UsageError(f"an area needs two or more ascending rates, above 0 on a log axis; got {list(rates)}")
    places = _places(rates, axis)
    steps = np.diff(places)
    # rates that differ in their last bits have one logarithm
    if not all(steps > 0):
        raise UsageError(f"an area needs rates that lie apart on the {axis} axis; got {list(rates)}")
    before = np.append(0, steps)
    after = np.append(steps, 0)
    # Each rate has half of the step before it and half of the one after it.
    around = before + after
    length = places[-1] - places[0]
    weights: NDArray[np.float64] = around / 2 / length
    return weights


def _places(rates: Sequence[float], axis: str) -> NDArray[np.float64]:
    """Return where the rates lie on the axis."""
    # The axis of published areas whose rates are not evenly spaced.
    if axis == "index":
        return np.arange(len(rates), dtype=np.float64)
    if axis == "log":
        return np.log10(np.asarray(rates, np.float64))
    return np.asarray(rates, np.float64)


def auc(rates: Sequence[float], accuracies: Sequence[float], axis: str = "log") -> float:
    """Return the area under accuracy over the fault rate, in units of accuracy.

    >>> round(auc([3e-7, 3e-6, 3e-5], [41.86, 7.41, .09]), 4)  # per cent; paper, table 3
    14.1925
    """
    return float(np.dot(auc_weights(rates, axis), accuracies))


def area_under(
    rates: Sequence[float],
    curve: Sequence[Estimate],
    axis: str = "log",
    *,
    span: tuple[float, float] = (0.0, 1.0),
    together: bool = False,
) -> Estimate:
    """Return the area under a curve, or under a difference of curves, with limits that follow from the rates'.

    Patterns at different rates are independent (see `estimate.weighted_sum`), so the area leaves the same room
    for harm that was not drawn as the rates do. For these images only: new ones would be the same at all rates.

    Args:
        rates: two or more, ascending; or other places, such as times.
        curve: the estimates there, of one confidence.
        axis: see `auc_weights`.
        span: smallest and largest possible height.
        together: whether the estimates depend on each other in any way, as those of nested patterns do: then all of
            them may be off to the same side, and the limits are the areas under the limits.

    >>> area_under([1e-6, 1e-5], [Estimate(.9, .8, .95), Estimate(.5, .4, .6)])
    Estimate(mean=0.7, low=0.6292..., high=0.7559..., confidence=0.95)
    """
    weights = auc_weights(rates, axis)
    if together:
        return _area_of_limits(weights, curve)
    return weighted_sum(weights.tolist(), curve, span=span)


def _area_of_limits(weights: NDArray[np.float64], curve: Sequence[Estimate]) -> Estimate:
    """Return the area with limits that hold where those of all heights do.

    >>> _area_of_limits(np.array([.5, .5]), [Estimate(.9, .8, .95), Estimate(.5, .4, .6)])
    Estimate(mean=0.7, low=0.6..., high=0.77..., confidence=0.95)
    """
    mean = float(weights @ [estimate.mean for estimate in curve])
    lows = [estimate.low for estimate in curve if estimate.low is not None]
    highs = [estimate.high for estimate in curve if estimate.high is not None]
    confidence = curve[0].confidence
    if len(lows) < len(curve) or len(highs) < len(curve):
        return Estimate(mean, None, None, confidence)
    return Estimate(mean, float(weights @ lows), float(weights @ highs), confidence)


@dataclass(frozen=True, slots=True)
class GridRate:
    """A rate that is read off a curve which is known at some rates only.

    Attributes:
        rate: flips per bit.
        relation: ``=`` where it lies between two rates of the curve; ``<=`` where it is the lowest of them or less;
            ``>`` where it is beyond the highest.

    >>> str(GridRate(3.162e-6)), str(GridRate(1e-7, "<=")), str(GridRate(1e-5, ">"))
    ('3.2e-06', '≤ 1e-07', '> 1e-05')
    """

    rate: float
    relation: Literal["=", "<=", ">"] = "="

    def __str__(self) -> str:
        return self.words()

    def words(self, text: Callable[[float], str] = "{:g}".format) -> str:
        """Return the rate to two digits, or how it lies to the rates of the curve.

        Args:
            text: writes a rate.
        """
        # Two digits are more than an interpolation between rates can claim.
        if self.relation == "=":
            rounded = float(f"{self.rate:.2g}")
            return text(rounded)
        sign = ">"
        if self.relation == "<=":
            sign = "≤"
        return f"{sign} {text(self.rate)}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"relation": self.relation, "rate": nine_digits(self.rate)}


@dataclass(frozen=True, slots=True)
class CriticalRate:
    """The rate at which a curve loses so much, with limits that follow from the curve's.

    Attributes:
        at: where the estimated accuracies lose it.
        low: where their lower limits do; None where they have none.
        high: where their upper limits do, likewise.
    """

    at: GridRate
    low: GridRate | None
    high: GridRate | None

    def interval(self, text: Callable[[float], str] = "{:g}".format) -> str | None:
        """Return the limits in words; None where there are none.

        >>> CriticalRate(GridRate(3e-6), GridRate(1e-7, "<="), GridRate(1e-5, ">")).interval()
        '≤ 1e-07 to > 1e-05'
        """
        if self.low is None or self.high is None:
            return None
        low = self.low.words(text)
        if self.low == self.high:
            return low
        return f"{low} to {self.high.words(text)}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        found: dict[str, Any] = {"at": self.at.to_dict(), "low": None, "high": None}
        if self.low is not None:
            found["low"] = self.low.to_dict()
        if self.high is not None:
            found["high"] = self.high.to_dict()
        return found


def rate_at_loss(rates: Sequence[float], accuracies: Sequence[float], clean: float, points: float) -> GridRate:
    """Return the rate at which accuracy first has lost ``points``, linear in log10 of the rate between rates.

    Args:
        rates: ascending, above 0, at least one.
        accuracies: at the rates, fractions.
        clean: fault-free accuracy.
        points: the loss, a fraction: 0.05 for five percentage points.

    >>> rate_at_loss([1e-7, 1e-6, 1e-5], [.90, .86, .50], 0.90, 0.22)
    GridRate(rate=3.162...e-06, relation='=')
    """
    level = clean - points
    # What happens below the lowest rate was not measured.
    if accuracies[0] <= level:
        return GridRate(rates[0], "<=")
    for index in range(1, len(rates)):
        after = accuracies[index]
        if after > level:
            continue
        before = accuracies[index - 1]
        share = (before - level) / (before - after)
        start = math.log10(rates[index - 1])
        length = math.log10(rates[index]) - start
        exponent = start + share * length
        # Only the first crossing counts: a curve that rises again by chance has lost the points all the same.
        return GridRate(float(10**exponent))
    return GridRate(rates[-1], ">")


def critical_rate(rates: Sequence[float], curve: Sequence[Estimate], clean: float, points: float) -> CriticalRate:
    """Return the rate at which ``points`` are lost; its limits are where the limits of the curve lose them.

    A curve that lies between its limits loses the points between the places where these do. At either end of the
    rates the limits say "at the lowest or below" and "beyond the highest", never a point.

    Args:
        rates: ascending, above 0, at least one.
        curve: accuracy at the rates.
        clean: fault-free accuracy.
        points: the loss, a fraction.

    >>> limits = [Estimate(.95, .94, .96), Estimate(.90, .85, .93), Estimate(.40, .30, .50)]
    >>> print(critical_rate([1e-7, 1e-6, 1e-5], limits, 0.96, 0.05).interval())
    2.2e-07 to 1.1e-06
    """
    means = []
    lows = []
    highs = []
    for estimate in curve:
        means.append(estimate.mean)
        if estimate.low is not None:
            lows.append(estimate.low)
        if estimate.high is not None:
            highs.append(estimate.high)

    def lost_by(limits: Sequence[float]) -> GridRate | None:
        # A rate without limits leaves a hole through which the curve may have passed.
        if len(limits) < len(rates):
            return None
        return rate_at_loss(rates, limits, clean, points)

    return CriticalRate(
        at=rate_at_loss(rates, means, clean, points),
        low=lost_by(lows),
        high=lost_by(highs),
    )


def log_odds(accuracy: float) -> float:
    """Return ln(p / (1 - p)) of an accuracy p, equation (6) of the paper; infinite at 0 and 1.

    >>> round(log_odds(0.9), 6)
    2.197225
    """
    return float(scipy.special.logit(accuracy))


def adjusted_log_odds(accuracies: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each method's mean adjusted log-odds over data sets, and its standard error.

    For studies that compare methods over several data sets; a single campaign has no use for it.
    From each log-odds the data set's mean over all methods is subtracted (equation 7 of the paper); the
    standard error over data sets is multiplied by sqrt(M / (M - 1)) for M methods (equation 8; Kornblith,
    Shlens and Le, CVPR 2019).

    Args:
        accuracies: strictly between 0 and 1, (methods, datasets), two or more of each.

    Raises:
        UsageError: the table is too small, or an accuracy is 0 or 1.

    >>> means, errors = adjusted_log_odds(np.array([[.9, .8], [.7, .5]]))
    >>> means.round(4).tolist(), errors.round(4).tolist()
    ([0.6841, -0.6841], [0.0129, 0.0129])
    """
    methods = accuracies.shape[0]
    datasets = accuracies.shape[1]
    if methods < 2 or datasets < 2:
        raise UsageError(f"two or more methods and data sets were expected, got {methods} and {datasets}")
    if not ((accuracies > 0) & (accuracies < 1)).all():
        raise UsageError("accuracies strictly between 0 and 1 were expected: log-odds are infinite at 0 and 1")
    odds = scipy.special.logit(accuracies)
    adjusted = odds - odds.mean(axis=0)
    plain = adjusted.std(axis=1, ddof=1) / math.sqrt(datasets)
    # Subtracting the methods' mean took out 1 / M of the variance.
    errors = plain * math.sqrt(methods / (methods - 1))
    return adjusted.mean(axis=1), errors
