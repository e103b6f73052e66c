"""Statistics that may be looked at after every value: confidence sequences and tests by betting, and Wald's test.

A gambler bets against a hypothesis about the mean of values in [0, 1]. While the hypothesis is true, the
wealth is a non-negative martingale and reaches 1/alpha with probability at most alpha, at whatever time
one looks (Ville's inequality). The values need not be independent or alike, but each must have the same
mean given those before it: one value per pass over the test set, or batches drawn at random, not batches
in a fixed order.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from ftonnx.campaign.estimate import CONFIDENCE, check_confidence
from ftonnx.errors import UsageError

__all__ = ["PURSES", "STAKES", "BettingSequence", "MeanTest", "Sprt"]

_TRUNCATION: Final = 0.5  # c: at most this share of the wealth is at risk, Waudby-Smith and Ramdas 2024
STAKES: Final = np.array([0.02, 0.05, 0.15, 0.4, 1.0])
"""Shares of the largest possible stake; large ones decide fast where values vary little, small ones where they do."""
PURSES: Final = np.array([0.05, 0.10, 0.15, 0.25, 0.45])
"""The part of the wealth that starts on each stake."""


class BettingSequence:
    """A confidence sequence for the mean of values in [0, 1] by hedged betting.

    After every value the interval holds the mean with the confidence asked for, at all times together
    (Waudby-Smith and Ramdas 2024, theorem 3): one gambler bets that the mean is larger than m, one that
    it is smaller, with the stake sqrt(2 ln(2/alpha) / (n s^2)), s^2 being the variance estimated from
    the values before, and m is left out once half of either wealth has reached 1/alpha.

    Args:
        horizon: n, where the number of values is known beforehand; it makes the interval at n narrower.
            Without it the stake falls with t ln(t + 1), for a run without a planned end.
        confidence: what the stakes are tuned for; an interval may be asked for at another one.
        grid: cells that [0, 1] is divided into. Limits are rounded outward to cell edges.

    >>> sequence = BettingSequence(horizon=10)
    >>> for value in (.9, .8, 1, .7, .95, .85, .9, .6, 1, .9):
    ...     sequence.add(value)
    >>> low, high = sequence.interval()
    >>> round(low, 3), high
    (0.451, 1.0)
    """

    def __init__(self, *, horizon: int | None = None, confidence: float = CONFIDENCE, grid: int = 10_000) -> None:
        if horizon is not None and horizon < 1:
            raise UsageError(f"a horizon of 1 value or more was expected, got {horizon}")
        if grid < 2:
            raise UsageError(f"a grid of 2 cells or more was expected, got {grid}")
        self.count = 0
        self._horizon = horizon
        self._confidence = check_confidence(confidence)
        self._means = np.linspace(0, 1, grid + 1)
        self._log_up = np.zeros(grid + 1)
        self._log_down = np.zeros(grid + 1)
        self._peak = np.full(grid + 1, -math.inf)
        self._sum, self._squares = 0.0, 0.0

    @property
    def mean(self) -> float | None:
        """Mean of the values so far; None before the first."""
        return self._sum / self.count if self.count else None

    def add(self, value: float) -> None:
        """Take in the next value.

        Raises:
            UsageError: it is not in [0, 1].
        """
        _check(value)
        variance = (0.25 + self._squares) / (self.count + 1)
        self.count += 1
        steps = self._horizon or self.count * math.log(self.count + 1)
        stake = math.sqrt(2 * math.log(2 / (1 - self._confidence)) / (steps * variance))
        gain = value - self._means
        with np.errstate(divide="ignore"):  # a mean of exactly 0 or 1 takes any stake
            up = np.minimum(stake, _TRUNCATION / self._means)
            down = np.minimum(stake, _TRUNCATION / (1 - self._means))
        self._log_up += np.log1p(up * gain)
        self._log_down += np.log1p(-down * gain)
        np.maximum(self._peak, np.maximum(self._log_up, self._log_down) - math.log(2), out=self._peak)
        self._sum += value
        self._squares += (value - (0.5 + self._sum) / (self.count + 1)) ** 2

    def interval(self, confidence: float | None = None) -> tuple[float, float]:
        """Return the means that no gambler has ruled out so far, rounded outward to the grid."""
        limit = -math.log(1 - check_confidence(self._confidence if confidence is None else confidence))
        left = np.flatnonzero(self._peak < limit)
        if not left.size:  # between two grid points, where neither was the mean
            nearest = int(np.argmin(self._peak))
            left = np.array([nearest])
        first, last = max(0, int(left[0]) - 1), min(len(self._means) - 1, int(left[-1]) + 1)
        return float(self._means[first]), float(self._means[last])


class MeanTest:
    """A test, valid at any time, that the mean of values in [0, 1] lies on one side of a threshold.

    The wealth is a weighted average over several constant stakes, each a martingale while the mean is
    exactly the threshold and a supermartingale where it lies on the other side; so is the average. It
    finds the right stake by itself, whatever the variance.

    Args:
        threshold: in (0, 1) on the side ``above``, where it may not be 0, or ``below``, where it may not be 1.
        side: ``above`` collects evidence that the mean is larger than the threshold, ``below`` smaller.
        alpha: largest probability of rejecting although the mean is not on that side.

    >>> test = MeanTest(0.5, "above", 0.05)
    >>> while not test.rejected:
    ...     test.add(0.9)
    >>> test.count
    7
    """

    def __init__(self, threshold: float, side: Literal["above", "below"], alpha: float = 0.05) -> None:
        if side not in ("above", "below"):
            raise UsageError(f"a side above or below was expected, got {side!r}")
        if not (0 < threshold <= 1 if side == "above" else 0 <= threshold < 1):
            span = "(0, 1]" if side == "above" else "[0, 1)"
            raise UsageError(f"a threshold in {span} was expected for {side}, got {threshold}: outside it is certain")
        self.threshold, self.side, self.alpha = threshold, side, 1 - check_confidence(1 - alpha)
        self.count = 0
        self._log_wealths = np.log(PURSES)
        self._peak = 0.0

    def add(self, value: float) -> None:
        """Take in the next value.

        Raises:
            UsageError: it is not in [0, 1].
        """
        _check(value)
        self.count += 1
        above = self.side == "above"
        # The largest stake is 1 / threshold, for which a value of 0 costs everything.
        gain = (value - self.threshold) / self.threshold if above else (self.threshold - value) / (1 - self.threshold)
        with np.errstate(divide="ignore"):
            self._log_wealths += np.log1p(STAKES * max(gain, -1.0))
        self._peak = max(self._peak, self.log_wealth)

    @property
    def log_wealth(self) -> float:
        """Natural logarithm of the wealth; it starts at 0."""
        return float(np.logaddexp.reduce(self._log_wealths))

    @property
    def p_value(self) -> float:
        """An upper bound of the p-value that holds at every time: 1 / largest wealth so far."""
        return math.exp(-self._peak)

    @property
    def rejected(self) -> bool:
        """Whether the wealth has ever reached 1 / alpha: the mean lies on ``side``."""
        return self._peak >= -math.log(self.alpha)


@dataclass(slots=True)
class Sprt:
    """Wald's sequential probability ratio test (1945) of a failure probability p0 against p1 > p0.

    For independent trials only: one verdict per fault pattern, not one per image.

    Attributes:
        p0: acceptable failure probability.
        p1: unacceptable one.
        alpha: probability of calling p0 unacceptable.
        beta: probability of calling p1 acceptable.
        log_ratio: ln(likelihood under p1 / likelihood under p0).

    >>> test = Sprt(0.05, 0.10, alpha=0.05, beta=0.1)
    >>> for _ in range(5):
    ...     test.add(failed=True)
    >>> round(test.log_ratio, 4), test.verdict
    (3.4657, 'p1')
    """

    p0: float
    p1: float
    alpha: float = 0.05
    beta: float = 0.1
    log_ratio: float = field(default=0.0, init=False)
    verdict: Literal["p0", "p1"] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.p0 < self.p1 < 1:
            raise UsageError(f"0 < p0 < p1 < 1 was expected, got p0 = {self.p0}, p1 = {self.p1}")
        if not (self.alpha > 0 and self.beta > 0 and self.alpha + self.beta < 1):
            raise UsageError(f"error probabilities of sum below 1 were expected, got {self.alpha} and {self.beta}")

    @property
    def bounds(self) -> tuple[float, float]:
        """The log-ratios at which p0 and p1 are decided for: ln(beta/(1-alpha)), ln((1-beta)/alpha)."""
        return math.log(self.beta / (1 - self.alpha)), math.log((1 - self.beta) / self.alpha)

    def add(self, *, failed: bool) -> None:
        """Take in the next trial; after the verdict nothing changes any more."""
        if self.verdict is not None:
            return
        p0, p1 = (self.p0, self.p1) if failed else (1 - self.p0, 1 - self.p1)
        self.log_ratio += math.log(p1 / p0)
        lower, upper = self.bounds
        if self.log_ratio >= upper:
            self.verdict = "p1"
        elif self.log_ratio <= lower:
            self.verdict = "p0"


def _check(value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"a value in [0, 1] was expected, got {value}")
