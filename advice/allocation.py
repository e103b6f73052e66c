"""Which strata to measure next, and when enough is known.

A plan leaves bits unguarded until what they lose together is what may be lost, the least harmful bits first. So the
strata have an order, by harm per flip, and a cut in it: what lies below is left alone. That much of the ranking has to
be certain, and no more: which of two harmless strata is the more harmless one is nobody's question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.advice.harms import Harm, standard_error
from ftonnx.stats import normal_quantile

__all__ = ["Cut", "shares_of", "worth_measuring"]

_WASTE: Final = 0.05
"""Guarded bits of which it is not certain that they need it may be so large a part of all guarded bits."""
_ALIKE: Final = 2
"""Strata whose harms differ by no larger factor may change places: which of them is guarded is all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which strata would be left unguarded, and whether that is certain.

    Attributes:
        left: numbers of the strata below the cut.
        guarded: numbers of those above it.
        undecided: those of the guarded ones that are not shown to lie above it, or close below.
        loss: of accuracy per run, at most, by what is left, with the confidence.
        allowed: what it may be.
        is_certain: whether the ranking is certain where it decides: what is left loses no more than is allowed, and
            what is guarded lies above the cut, but for a small part of its bits.
    """

    left: tuple[int, ...]
    guarded: tuple[int, ...]
    undecided: tuple[int, ...]
    loss: float
    allowed: float
    is_certain: bool

    @classmethod
    def of(cls, harms: Sequence[Harm], rate: float, allowed: float, confidence: float) -> "Cut":
        """Find the cut by what is known.

        Args:
            harms: of all strata.
            rate: flips per bit.
            allowed: accuracy that may be lost per run, the sum over single flips.
            confidence: of the upper limit of what is lost, and of all guarded strata together.
        """
        order = sorted(range(len(harms)), key=lambda number: (harms[number].mean, number))
        ends = np.cumsum([rate * harms[number].size * harms[number].mean for number in order])
        # half of it is kept for what is not known yet
        below = int(np.searchsorted(ends, allowed / 2, side="right"))
        left = tuple(sorted(order[:below]))
        guarded = tuple(sorted(order[below:]))
        threshold = harms[order[below - 1]].mean if below else 0.0
        # one side matters, so each limit errs with probability (1 - confidence) / strata
        each = 1 - 2 * (1 - confidence) / len(harms)
        undecided = tuple(number for number in guarded if harms[number].limits(each)[0] <= threshold / _ALIKE)
        rest = [harms[number] for number in left]
        expected = float(ends[below - 1]) if below else 0.0
        # likewise one-sided
        loss = expected + normal_quantile(2 * confidence - 1) * standard_error(rest, rate)
        waste = sum(harms[number].size for number in undecided)
        return cls(
            left=left,
            guarded=guarded,
            undecided=undecided,
            loss=loss,
            allowed=allowed,
            is_certain=loss <= allowed and waste <= _WASTE * sum(harms[number].size for number in guarded),
        )


def worth_measuring(harms: Sequence[Harm], cut: Cut) -> tuple[int, ...]:
    """Return the numbers of the strata of which more would tell something: all but those shown to need a guard."""
    known = set(cut.guarded) - set(cut.undecided)
    return tuple(number for number in range(len(harms)) if number not in known)


def shares_of(harms: Sequence[Harm], numbers: Sequence[int], total: int) -> NDArray[np.int64]:
    """Share injections out to strata so that the sum of their losses gets most certain (Neyman), one each at least.

    Args:
        harms: of all strata.
        numbers: of those that get some.
        total: injections, or the number of these strata where that is more.

    >>> strata = [Harm(tensor="w", bits=(bit,), size=100 * bit, injections=8, lost=bit) for bit in (1, 2, 4)]
    >>> shares_of(strata, (0, 1, 2), 100).tolist()
    [6, 26, 66]
    """
    weights = np.array([harms[number].size * harms[number].spread for number in numbers])
    done = np.array([harms[number].injections for number in numbers], np.float64)
    # what each would have had of all injections so far and of these
    ideal = weights / weights.sum() * (done.sum() + total)
    wanted = np.maximum(ideal - done, 0)
    spare = max(total - len(numbers), 0)
    counts: NDArray[np.int64] = 1 + np.floor(wanted / max(wanted.sum(), 1) * spare).astype(np.int64)
    return counts
