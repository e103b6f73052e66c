"""What rounds of fault patterns say about a mean, at whatever time one looks, by betting.

A *round* is one fault pattern on every batch. A gambler bets on every pattern that the mean is larger
than m and multiplies the wealth by 1 + stake * (value - m) / m. It is spread over several stakes, which
stay the same from value to value: their sum finds the right one by itself, whatever the variance. While
the mean is m or less, the wealth is a non-negative supermartingale and reaches 1/alpha with probability at
most alpha, at whatever time one looks (Ville's inequality; Waudby-Smith and Ramdas 2024). How rounds
combine depends on what is asked about.

``these-images``, these images: with independent patterns and mu_b batch b's own mean, a round's expected
factor is prod_b (1 + s_b (mu_b - m)), which is at most (1 + mean_b s_b (mu_b - m))^B because of the
inequality of arithmetic and geometric means, and so at most 1 when s_b is proportional to the batch's
images and the mean over the test set is m or less. The wealth is multiplied from round to round.

There a second gambler bets on differences to the fault-free accuracy of each batch, which is known: batches of few
images differ in it, and where faults do no harm that is all that varies. The mean difference lies above a value where
the mean lies above that value and the mean of the known ones, so the same holds of its wealth; the average of both
gamblers' wealth is looked at, whichever of them is the better one.

``new-images``, new images too: a round is one sample of images. The next round has new patterns but the
same images, so the rounds' wealths are exchangeable, and not to be multiplied: they are averaged. That
average reaches 1/alpha at any time with probability at most alpha (exchangeable Markov inequality,
Ramdas and Manole 2023).
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.stats.estimate import CONFIDENCE, Estimate, check_confidence

__all__ = [
    "PURSES",
    "QUESTIONS",
    "Question",
    "RoundTest",
    "Side",
    "anytime_limits",
    "anytime_mean",
    "log_gains",
    "parse_question",
]

Question = Literal["these-images", "new-images"]
Side = Literal["above", "below"]

QUESTIONS: Final[tuple[Question, ...]] = get_args(Question)
# Limits to 6e-8, far below what any number of images can tell apart.
_HALVINGS: Final = 24
_STAKES: Final = np.array([0.02, 0.05, 0.15, 0.4, 1.0])
"""Shares of the largest possible stake; large ones decide fast where values vary little, small ones where they do."""
PURSES: Final = np.array([0.05, 0.10, 0.15, 0.25, 0.45])
"""The part of the wealth that starts on each stake."""


def parse_question(question: str) -> Question:
    """Return a question that is known.

    Raises:
        UsageError: it is not.
    """
    for known in QUESTIONS:
        if question == known:
            return known
    raise UsageError(f"question {question!r} is not known: use {' or '.join(QUESTIONS)}")


class RoundTest:
    """A test, valid after every round, that a mean over batches lies on one side of a threshold.

    Args:
        threshold: in (0, 1).
        side: ``above`` collects evidence that the mean is larger than the threshold, ``below`` smaller.
        sizes: images in each batch, or other weights of theirs, (batches,).
        question: ``these-images`` or ``new-images``.
        golden: for ``these-images``, the fault-free fraction of each batch, (batches,); None where it is not known.

    Raises:
        UsageError: the threshold is not in (0, 1).

    >>> test = RoundTest(0.9, "above", np.array([128, 128, 104]))
    >>> while test.p_value > 0.05:
    ...     test.add(np.array([1.0, 0.99, 0.98]))
    >>> test.rounds
    14
    """

    def __init__(
        self,
        threshold: float,
        side: Side,
        sizes: NDArray[Any],
        *,
        question: Question = "these-images",
        golden: NDArray[np.float64] | None = None,
    ) -> None:
        if not 0 < threshold < 1:
            raise UsageError(f"a threshold between 0 and 1 was expected, got {threshold}")
        self.rounds = 0
        self._side = side
        self._sizes = sizes
        self._question = question
        self._scales: list[tuple[_Scale, float]] = []
        for scale in _scales(golden if question == "these-images" else None, sizes):
            # beyond its ends there is nothing to bet on
            if 0 < scale.of_mean(threshold) < 1:
                self._scales.append((scale, scale.of_mean(threshold)))
        self._log_wealths = np.log(PURSES) - math.log(len(self._scales)) + np.zeros((len(self._scales), 1))
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
        gains = np.array(
            [
                log_gains(scale.of(values), self._sizes, threshold, self._side).sum(axis=0)
                for scale, threshold in self._scales
            ]
        )
        if self._question == "these-images":
            self._log_wealths += gains
            log_wealth = float(np.logaddexp.reduce(self._log_wealths, axis=None))
        else:
            # Each round starts from the same purses: its wealth is averaged with those of the others.
            this_round = np.logaddexp.reduce(self._log_wealths + gains, axis=None)
            self._log_sum = float(np.logaddexp(self._log_sum, this_round))
            log_wealth = self._log_sum - math.log(self.rounds)
        # Ville's inequality is about the largest wealth ever reached: what was shown stays shown.
        self._peak = max(self._peak, log_wealth)

    @property
    def p_value(self) -> float:
        """An upper bound of the p-value that holds at every time: 1 / largest wealth so far."""
        return math.exp(-self._peak)


def anytime_limits(
    values: NDArray[np.float64],
    sizes: NDArray[Any],
    alpha: float,
    *,
    question: Question = "these-images",
    golden: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Return a lower and an upper limit of a mean, each wrong with probability at most alpha, whenever one stops.

    They are the thresholds at which the gambler's wealth is 1 / alpha *now*. The best limits of earlier rounds would
    be valid too, but a fluke early on would narrow the interval for good, and the mean of all rounds could lie
    outside it.

    Args:
        values: fractions, (rounds, batches).
        sizes: images in each batch, or other weights of theirs, (batches,).
        alpha: in (0, 1).
        question: ``these-images`` or ``new-images``.
        golden: for ``these-images``, the fault-free fraction of each batch, (batches,); None where it is not known.

    >>> low, high = anytime_limits(np.full((10, 3), 0.95), np.array([128, 128, 128]), 0.05)
    >>> round(low, 4), round(high, 4)
    (0.8395, 0.9558)
    """
    low = _lower(values, sizes, alpha, question, golden)
    # A mean below m is one minus a mean above 1 - m.
    high = 1 - _lower(1 - values, sizes, alpha, question, None if golden is None else 1 - golden)
    return low, high


def anytime_mean(
    values: NDArray[np.float64],
    sizes: NDArray[Any],
    *,
    golden: NDArray[np.float64] | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Return the image-weighted mean over a fixed test set with an interval that holds whenever one stops.

    Args:
        values: fractions, (rounds, batches).
        sizes: images in each batch, or other weights of theirs, (batches,).
        golden: the fault-free fraction of each batch, (batches,); None where it is not known.
        confidence: coverage of the interval.
    """
    # Sums depend on the layout in their last digit, and a table may arrive transposed.
    values = np.ascontiguousarray(values)
    mean = float(np.average(values.mean(axis=0), weights=sizes))
    tail = (1 - check_confidence(confidence)) / 2
    limits = anytime_limits(values, sizes, tail, golden=golden)
    return Estimate(
        mean=mean,
        low=min(mean, limits[0]),
        high=max(mean, limits[1]),
        confidence=confidence,
    )


class _Scale(NamedTuple):
    """From fractions to numbers in [0, 1] that are bet on, and that rise with them.

    Attributes:
        zero: of each batch, the fraction that is 0 there, (batches,) or a single number.
        width: of the fractions between 0 and 1 there.
        mean_zero: the mean of ``zero`` over all images.
    """

    zero: NDArray[np.float64]
    width: float
    mean_zero: float

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the numbers of fractions, (..., batches)."""
        scaled: NDArray[np.float64] = (values - self.zero) / self.width
        # rounding may leave the ends
        return np.clip(scaled, 0.0, 1.0) if self.width != 1.0 else scaled

    def of_mean(self, mean: float) -> float:
        """Return the mean number where the mean fraction is this one."""
        return (mean - self.mean_zero) / self.width


def _scales(golden: NDArray[np.float64] | None, sizes: NDArray[Any]) -> list[_Scale]:
    """Return what is bet on: the fractions and, where the fault-free ones are known, differences to them."""
    scales = [_Scale(np.zeros(1), 1.0, 0.0)]
    if golden is not None:
        lowest, highest = float(golden.min()), float(golden.max())
        zero = golden - highest
        scales.append(_Scale(zero, 1.0 + highest - lowest, float(np.average(zero, weights=sizes))))
    return scales


def _lower(
    values: NDArray[np.float64],
    sizes: NDArray[Any],
    alpha: float,
    question: Question,
    golden: NDArray[np.float64] | None,
) -> float:
    """Return the largest threshold that the mean has been shown to lie above: evidence falls as it rises."""
    needed = -math.log(alpha)
    low = 0.0
    high = 1.0
    bets: list[tuple[_Scale, _Counted]] = []
    if question == "these-images":
        bets = [(scale, _counted(scale.of(values), sizes)) for scale in _scales(golden, sizes)]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        wealth = _log_shared(bets, middle) if bets else _log_average(values, sizes, middle)
        if wealth >= needed:
            low = middle
        else:
            high = middle
    return low


def _log_shared(bets: Sequence[tuple["_Scale", "_Counted"]], threshold: float) -> float:
    """Return the log of the average wealth of gamblers on several scales."""
    wealths = []
    for scale, counted in bets:
        own = scale.of_mean(threshold)
        # no mean can be as low
        wealths.append(counted.log_wealth(own) if own > 0 else math.inf)
    return float(np.logaddexp.reduce(wealths)) - math.log(len(wealths))


def _log_average(values: NDArray[np.float64], sizes: NDArray[Any], threshold: float) -> float:
    """Return the log of the rounds' average wealth of a gambler who bets that the mean lies above."""
    gains = log_gains(values, sizes, threshold, "above").sum(axis=1)
    by_round = np.logaddexp.reduce(np.log(PURSES) + gains, axis=1)
    log_sum = np.logaddexp.reduce(by_round)
    return float(log_sum - math.log(len(by_round)))


class _Counted(NamedTuple):
    """All values of a batch's size, each once: of a few images there are few different fractions.

    Attributes:
        values: fractions, (values,).
        sizes: images of the batches they are of, (values,).
        counts: how often each was found, (values,).
    """

    values: NDArray[np.float64]
    sizes: NDArray[Any]
    counts: NDArray[np.int64]

    def log_wealth(self, threshold: float) -> float:
        """Return the log wealth after all rounds of a gambler who bets that the mean lies above."""
        gains = log_gains(self.values, self.sizes, threshold, "above")
        log_wealths = np.log(PURSES) + (self.counts[:, np.newaxis] * gains).sum(axis=0)
        return float(np.logaddexp.reduce(log_wealths))


def _counted(values: NDArray[np.float64], sizes: NDArray[Any]) -> _Counted:
    """Count the values of each batch size.

    >>> [part.tolist() for part in _counted(np.array([[0.5, 1.0, 0.5], [0.5, 0.5, 1.0]]), np.array([2, 2, 4]))]
    [[0.5, 1.0, 0.5, 1.0], [2, 2, 4, 4], [3, 1, 1, 1]]
    """
    parts = []
    for size in np.unique(sizes):
        distinct, counts = np.unique(values[:, sizes == size], return_counts=True)
        parts.append((distinct, np.full(len(distinct), size), counts))
    return _Counted(*map(np.concatenate, zip(*parts, strict=True)))


def log_gains(values: NDArray[np.float64], sizes: NDArray[Any], threshold: float, side: Side) -> NDArray[np.float64]:
    """Return the log factor of the wealth by value and stake, (..., batches, stakes).

    Args:
        values: in [0, 1], (..., batches).
        sizes: images in each batch, or other weights of theirs, (batches,), or the same for all, (1,).
        threshold: in (0, 1), of the mean.
        side: on which the mean lies by the gambler's bet.

    Raises:
        UsageError: a value is not in [0, 1].
    """
    if not ((values >= 0) & (values <= 1)).all():
        raise UsageError("values in [0, 1] were expected")
    distances = values - threshold
    largest_loss = threshold
    if side == "below":
        distances = threshold - values
        largest_loss = 1 - threshold
    # Rounding must not let a value cost more than everything.
    gains = np.maximum(distances / largest_loss, -1.0)
    # Smaller batches get smaller stakes; the guarantee for a test set rests on it (see the top of this file).
    shares = sizes / sizes.max()
    stakes = _STAKES * shares[:, np.newaxis]
    # The largest stake loses everything at the worst value: a log of 0, which is meant.
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log1p(stakes * gains[..., np.newaxis])
    return logs
