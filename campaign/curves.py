"""Numbers that sum up an accuracy curve over fault rates, with intervals by resampling fault patterns."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.errors import UsageError

__all__ = [
    "AUC_AXES",
    "adjusted_log_odds",
    "auc",
    "auc_weights",
    "bootstrap_curves",
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
    if len(rates) < 2 or (axis == "log" and rates[0] <= 0) or any(np.diff(rates) <= 0):
        raise UsageError(f"an area needs two or more ascending rates, above 0 on a log axis; got {list(rates)}")
    if axis == "index":
        places = np.arange(len(rates), dtype=np.float64)
    else:
        places = np.log10(rates) if axis == "log" else np.asarray(rates, np.float64)
    steps = np.diff(places)
    weights: NDArray[np.float64] = (np.append(steps, 0) + np.append(0, steps)) / 2 / (places[-1] - places[0])
    return weights


def auc(rates: Sequence[float], accuracies: Sequence[float], axis: str = "log") -> float:
    """Return the area under accuracy over the fault rate, in units of accuracy.

    >>> round(auc([3e-7, 3e-6, 3e-5], [41.86, 7.41, .09]), 4)  # per cent; paper, table 3
    14.1925
    """
    return float(np.dot(auc_weights(rates, axis), accuracies))


def rate_at_loss(rates: Sequence[float], accuracies: Sequence[float], clean: float, points: float) -> float | None:
    """Return the rate at which accuracy first has lost ``points``, linear in log10 of the rate between rates.

    Args:
        rates: ascending; 0 is left out.
        accuracies: at the rates, fractions.
        clean: fault-free accuracy.
        points: the loss, a fraction: 0.05 for five percentage points.

    Returns:
        None where the loss is not reached at any of the rates; the first rate where it is reached there
        already, the true rate then being lower or equal.

    >>> round(rate_at_loss([1e-7, 1e-6, 1e-5], [.90, .86, .50], 0.90, 0.22), 9)
    3.162e-06
    """
    level, before = clean - points, None
    for rate, accuracy in zip(rates, accuracies, strict=True):
        if rate == 0:
            continue
        if accuracy <= level:
            if before is None:
                return rate
            known, higher = before
            share = (higher - level) / (higher - accuracy)
            return float(10 ** (math.log10(known) + share * (math.log10(rate) - math.log10(known))))
        before = (rate, accuracy)
    return None


def log_odds(accuracy: float) -> float:
    """Return ln(p / (1 - p)) of an accuracy p, equation (6) of the paper; infinite at 0 and 1.

    >>> round(log_odds(0.9), 6)
    2.197225
    """
    return float(scipy.special.logit(accuracy))


def adjusted_log_odds(accuracies: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each method's mean adjusted log-odds over data sets, and its standard error.

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
    methods, datasets = accuracies.shape
    if methods < 2 or datasets < 2:
        raise UsageError(f"two or more methods and data sets were expected, got {methods} and {datasets}")
    if not ((accuracies > 0) & (accuracies < 1)).all():
        raise UsageError("accuracies strictly between 0 and 1 were expected: log-odds are infinite at 0 and 1")
    odds = scipy.special.logit(accuracies)
    adjusted = odds - odds.mean(axis=0)
    errors = adjusted.std(axis=1, ddof=1) / math.sqrt(datasets) * math.sqrt(methods / (methods - 1))
    return adjusted.mean(axis=1), errors


def bootstrap_curves(
    counts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    statistic: Callable[[NDArray[np.float64]], float | None],
    *,
    target: Literal["test-set", "population"] = "test-set",
    seed: int,
    samples: int = 2000,
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """Return a statistic of an accuracy curve with an interval from resampled fault patterns.

    Patterns are drawn with replacement, the same (batch, repeat) pairs at all rates: within each batch for
    the target ``test-set``, from all of them for ``population``. Of R patterns, R - 1 are drawn: R would make
    the variance too small by (R - 1) / R (Rao and Wu 1988). The limits are percentiles.

    Args:
        counts: images counted, (rates, batches, repeats).
        sizes: images in each batch, (batches,).
        statistic: of one curve, (rates,) fractions; None where it is beyond the highest rate.
        target: ``test-set`` or ``population``.
        seed: of the resampling.
        samples: how many times.
        confidence: coverage of the interval.

    Returns:
        None where the statistic of the curve is None. The limits are None with one pattern, and ``high``
        is None where it lies beyond the highest rate.

    >>> counts = np.array([[[9, 9, 8, 9]], [[5, 7, 6, 4]]])
    >>> bootstrap_curves(counts, np.array([10]), lambda curve: auc([1e-6, 1e-5], curve), seed=1)
    Estimate(mean=0.7125, low=0.666..., high=0.766..., confidence=0.95)
    """
    check_confidence(confidence)
    if target not in ("test-set", "population"):
        raise UsageError(f"target {target!r} is not known: use test-set, population")
    if target == "population":
        counts, sizes_of = counts.reshape(len(counts), 1, -1), np.repeat(sizes, counts.shape[2])[np.newaxis]
    else:
        sizes_of = np.repeat(sizes[:, np.newaxis], counts.shape[2], axis=1)
    value = statistic(counts.sum(axis=(1, 2)) / sizes_of.sum())
    if value is None:
        return None
    if counts.shape[2] < 2:
        return Estimate(float(value), None, None, confidence)
    found = [statistic(curve) for curve in _resampled(counts, sizes_of, samples, seed)]
    values = np.array([math.inf if one is None else one for one in found])
    tail = (1 - confidence) / 2
    limits = np.quantile(values, [tail, 1 - tail], method="inverted_cdf").tolist()
    low, high = (None if math.isinf(limit) else limit for limit in limits)
    return Estimate(float(value), low, high, confidence)


def _resampled(counts: NDArray[np.int64], sizes: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.float64]:
    """Return resampled curves, (samples, rates); strata are (strata, patterns)."""
    strata, patterns = sizes.shape
    rng = np.random.Generator(np.random.Philox(seed))
    curves = np.empty((samples, len(counts)))
    for sample in range(samples):
        drawn = rng.integers(0, patterns, (strata, patterns - 1))
        rows: tuple[Any, ...] = (np.arange(strata)[:, np.newaxis], drawn)
        curves[sample] = counts[:, rows[0], rows[1]].sum(axis=(1, 2)) / sizes[rows].sum()
    return curves
