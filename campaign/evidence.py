"""What rounds of fault patterns say about a mean, at whatever time one looks, by betting.

A *round* is one fault pattern on every batch. A gambler bets on every pattern that the mean is larger
than m and multiplies the wealth by 1 + stake * (value - m) / m, with stakes from `sequential` that
stay the same within a round. How rounds combine depends on what is asked about.

``test-set``, these images: with independent patterns and mu_b batch b's own mean, a round's expected
factor is prod_b (1 + s_b (mu_b - m)), which is at most (1 + mean_b s_b (mu_b - m))^B because of the
inequality of arithmetic and geometric means, and so at most 1 when s_b is proportional to the batch's
images and the mean over the test set is m or less. The wealth is multiplied from round to round; by
Ville's inequality it reaches 1/alpha with probability at most alpha.

``population``, new images too: a round is one sample of images. The next round has new patterns but the
same images, so the rounds' wealths are exchangeable, and not to be multiplied: they are averaged. That
average reaches 1/alpha at any time with probability at most alpha (exchangeable Markov inequality,
Ramdas and Manole 2023).
"""

import math
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.campaign.estimate import CONFIDENCE, Estimate, check_confidence
from ftonnx.campaign.sequential import PURSES, STAKES
from ftonnx.errors import UsageError

__all__ = [
    "TARGETS",
    "RoundTest",
    "Side",
    "Target",
    "anytime_limits",
    "anytime_mean",
    "parse_target",
]

Target = Literal["test-set", "population"]
Side = Literal["above", "below"]

TARGETS: Final[tuple[Target, ...]] = get_args(Target)
_HALVINGS: Final = 24  # limits to 6e-8


def parse_target(target: str) -> Target:
    """Return a target that is known.

    Raises:
        UsageError: it is not.
    """
    for known in TARGETS:
        if target == known:
            return known
    raise UsageError(f"target {target!r} is not known: use {' or '.join(TARGETS)}")


class RoundTest:
    """A test, valid after every round, that a mean over batches lies on one side of a threshold.

    Args:
        threshold: in (0, 1).
        side: ``above`` collects evidence that the mean is larger than the threshold, ``below`` smaller.
        sizes: images in each batch, (batches,).
        target: ``test-set`` or ``population``.

    Raises:
        UsageError: the threshold is not in (0, 1).

    >>> test = RoundTest(0.9, "above", np.array([128, 128, 104]))
    >>> while test.p_value > 0.05:
    ...     test.add(np.array([1.0, 0.99, 0.98]))
    >>> test.rounds
    14
    """

    def __init__(self, threshold: float, side: Side, sizes: NDArray[np.int64], *, target: Target = "test-set") -> None:
        if not 0 < threshold < 1:
            raise UsageError(f"a threshold between 0 and 1 was expected, got {threshold}")
        self.rounds = 0
        self._threshold, self._side, self._sizes, self._target = threshold, side, sizes, target
        self._log_wealths = np.log(PURSES)
        self._log_sum = -math.inf
        self._peak = 0.0

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in a round.

        Args:
            values: fractions, one per batch, (batches,).

        Raises:
            UsageError: a value is not in [0, 1].
        """
        self.rounds += 1
        gains = _log_gains(values[np.newaxis], self._sizes, self._threshold, self._side)[0]
        if self._target == "test-set":
            self._log_wealths += gains
            log_wealth = np.logaddexp.reduce(self._log_wealths)
        else:
            self._log_sum = float(np.logaddexp(self._log_sum, np.logaddexp.reduce(self._log_wealths + gains)))
            log_wealth = self._log_sum - math.log(self.rounds)
        self._peak = max(self._peak, float(log_wealth))

    @property
    def p_value(self) -> float:
        """An upper bound of the p-value that holds at every time: 1 / largest wealth so far."""
        return math.exp(-self._peak)


def anytime_limits(
    values: NDArray[np.float64], sizes: NDArray[np.int64], alpha: float, *, target: Target = "test-set"
) -> tuple[float, float]:
    """Return a lower and an upper limit of a mean, each wrong with probability at most alpha, whenever one stops.

    They are the thresholds at which the gambler's wealth is 1 / alpha *now*. The best limits of earlier rounds would
    be valid too, but a fluke early on would narrow the interval for good, and the mean of all rounds could lie
    outside it.

    Args:
        values: fractions, (rounds, batches).
        sizes: images in each batch, (batches,).
        alpha: in (0, 1).
        target: ``test-set`` or ``population``.

    >>> low, high = anytime_limits(np.full((10, 3), 0.95), np.array([128, 128, 128]), 0.05)
    >>> round(low, 4), round(high, 4)
    (0.8395, 0.9558)
    """
    low = _lower(values, sizes, alpha, target)
    high = 1 - _lower(1 - values, sizes, alpha, target)
    return low, high


def anytime_mean(values: NDArray[np.float64], sizes: NDArray[np.int64], *, confidence: float = CONFIDENCE) -> Estimate:
    """Return the image-weighted mean over a fixed test set with an interval that holds whenever one stops.

    Args:
        values: fractions, (rounds, batches).
        sizes: images in each batch, (batches,).
        confidence: coverage of the interval.
    """
    values = np.ascontiguousarray(values)  # sums depend on the layout in their last digit
    mean = float(np.average(values.mean(axis=0), weights=sizes))
    low, high = anytime_limits(values, sizes, (1 - check_confidence(confidence)) / 2)
    return Estimate(mean, min(mean, low), max(mean, high), confidence)


def _lower(values: NDArray[np.float64], sizes: NDArray[np.int64], alpha: float, target: Target) -> float:
    """Return the largest threshold that the mean has been shown to lie above: evidence falls as it rises."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        shown = _log_wealth(values, sizes, middle, target) >= -math.log(alpha)
        low, high = (middle, high) if shown else (low, middle)
    return low


def _log_wealth(values: NDArray[np.float64], sizes: NDArray[np.int64], threshold: float, target: Target) -> float:
    """Return the log wealth after all rounds of a gambler who bets that the mean lies above."""
    gains = _log_gains(values, sizes, threshold, "above")
    if target == "test-set":
        return float(np.logaddexp.reduce(np.log(PURSES) + gains.sum(axis=0)))
    each = np.logaddexp.reduce(np.log(PURSES) + gains, axis=1)
    return float(np.logaddexp.reduce(each) - math.log(len(each)))


def _log_gains(
    values: NDArray[np.float64], sizes: NDArray[np.int64], threshold: float, side: Side
) -> NDArray[np.float64]:
    """Return the log factor of the wealth by round and stake, (rounds, stakes)."""
    if not ((values >= 0) & (values <= 1)).all():
        raise UsageError("values in [0, 1] were expected")
    up = side == "above"
    gains = (values - threshold) / threshold if up else (threshold - values) / (1 - threshold)
    stakes = STAKES * (sizes / sizes.max())[:, np.newaxis]
    with np.errstate(divide="ignore"):  # the largest stake loses everything at the worst value
        logs: NDArray[np.float64] = np.log1p(stakes * np.maximum(gains, -1.0)[..., np.newaxis]).sum(axis=1)
    return logs
