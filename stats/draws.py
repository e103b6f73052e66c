"""What batches that are drawn at random say about the mean over all of them, at whatever time one looks, by betting.

A batch is drawn with the probability of its share of the images, with replacement, and meets a fault pattern of its
own. Whatever was drawn before, the expected value of a draw is the mean over all images, so a gambler's wealth (see
`betting`) is a supermartingale draw by draw, and Ville's inequality holds for every number of draws: a verdict need not
wait until each image was met once.

What a draw loses against its own batch without faults is bet on too: its expected value is the mean loss, which a draw
says without the fault-free runs of any other batch.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.stats.betting import PURSES, Side, log_gains

__all__ = ["DrawnValues", "drawn_limits", "drawn_p_value"]

_HALVINGS: Final = 24
_ONE_SIZE: Final = np.ones(1, np.int64)


class DrawnValues(NamedTuple):
    """Values of independent draws with one mean, which a gambler bets on.

    Attributes:
        values: one per draw, (draws,).
        lowest: what no value is below.
        highest: what no value is above.
        offset: that is added to their mean for the quantity in question, such as the known mean without faults.
    """

    values: NDArray[np.float64]
    lowest: float
    highest: float
    offset: float = 0.0

    @property
    def scaled(self) -> NDArray[np.float64]:
        """The values as numbers from 0 to 1, (draws,)."""
        scaled: NDArray[np.float64] = (self.values - self.lowest) / (self.highest - self.lowest)
        # rounding may leave the ends
        return np.clip(scaled, 0.0, 1.0)

    def scaled_mean(self, quantity: float) -> float:
        """Return the mean of these numbers where the quantity is this one."""
        return (quantity - self.offset - self.lowest) / (self.highest - self.lowest)


def drawn_p_value(bets: Sequence[DrawnValues], threshold: float, side: Side, *, gamblers: int = 1) -> float:
    """Return an upper bound of the p-value, valid at every number of draws, of a quantity on one side of a threshold.

    It is 1 / the largest wealth so far.

    Args:
        bets: what each gambler bets on, who share what they start with; all of the same draws.
        threshold: of the quantity, which is the mean of every bet's values plus its offset.
        side: ``above`` collects evidence that the quantity is larger than the threshold, ``below`` smaller.
        gamblers: how many there are; some may still be waiting for what they need to know.

    >>> lost = np.zeros(400)
    >>> round(drawn_p_value([DrawnValues(-lost, -1, 1)], -0.01, "above"), 3)
    0.037
    """
    paths = []
    for bet in bets:
        own = bet.scaled_mean(threshold)
        # beyond its ends there is nothing to bet on
        if not 0 < own < 1:
            continue
        gains = log_gains(bet.scaled[:, np.newaxis], _ONE_SIZE, own, side)[:, 0]
        by_stake = np.log(PURSES) + np.cumsum(gains, axis=0)
        paths.append(np.logaddexp.reduce(by_stake, axis=1))
    if not paths or not paths[0].size:
        return 1.0
    wealth = np.logaddexp.reduce(paths, axis=0) - math.log(gamblers)
    # what was shown stays shown
    return math.exp(-max(0.0, float(wealth.max())))


def drawn_limits(bets: Sequence[DrawnValues], alpha: float, *, gamblers: int = 1) -> tuple[float, float]:
    """Return a lower and an upper limit of a quantity, each wrong with probability at most alpha, whenever one stops.

    They are the thresholds at which the gamblers' wealth is 1 / alpha *now*, see `betting.anytime_limits`.

    Args:
        bets: as in ``drawn_p_value``.
        alpha: in (0, 1).
        gamblers: likewise.

    >>> low, high = drawn_limits([DrawnValues(np.full(30, 0.95), 0, 1)], 0.05)
    >>> round(low, 4), round(high, 4)
    (0.8395, 0.9558)
    """
    lowest = min(bet.lowest + bet.offset for bet in bets)
    highest = max(bet.highest + bet.offset for bet in bets)
    counted = [(bet, *np.unique(bet.scaled, return_counts=True)) for bet in bets]
    limits: list[float] = []
    sides: tuple[tuple[Side, float, float], ...] = (("above", lowest, highest), ("below", highest, lowest))
    for side, shown, open_end in sides:
        for _ in range(_HALVINGS):
            middle = (shown + open_end) / 2
            wealths = [_log_wealth(*each, middle, side) for each in counted]
            wealth = float(np.logaddexp.reduce(wealths)) - math.log(gamblers)
            if wealth >= -math.log(alpha):
                shown = middle
            else:
                open_end = middle
        limits.append(shown)
    low, high = limits
    return low, high


def _log_wealth(
    bet: DrawnValues, numbers: NDArray[np.float64], counts: NDArray[np.int64], threshold: float, side: Side
) -> float:
    """Return the log wealth now of a gambler, given each different number with how often it was drawn."""
    own = bet.scaled_mean(threshold)
    if not 0 < own < 1:
        # no mean can be as low, or as high
        is_shown = (own <= 0) == (side == "above")
        return math.inf if is_shown else -math.inf
    gains = log_gains(numbers[:, np.newaxis], _ONE_SIZE, own, side)[:, 0]
    log_wealths = np.log(PURSES) + (counts[:, np.newaxis] * gains).sum(axis=0)
    return float(np.logaddexp.reduce(log_wealths))
