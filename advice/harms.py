"""What single flips of some bits of a tensor cost, as measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.inject import FaultSpace
from ftonnx.stats import anytime_proportion

__all__ = ["Harm", "standard_error", "strata_of"]

_SMALL: Final = 1 / 200
"""A tensor with a smaller share of all bits is measured by groups of bits: what it adds to a loss is little."""
_GROUP: Final = 4  # bits
_PRIOR: Final = 0.5  # of an injection that loses everything, and of one that loses nothing: none seen is not none


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What is known of single flips of some bits of a stored tensor.

    Attributes:
        tensor: its name.
        bits: numbers of bits, ascending.
        size: so many stored bits these are.
        injections: single faults that were run.
        lost: accuracy that they cost, summed over injections; negative where flips happened to help.
    """

    tensor: str
    bits: tuple[int, ...]
    size: int
    injections: int = 0
    lost: float = 0.0

    @property
    def mean(self) -> float:
        """Accuracy lost per flip, 0 where nothing was lost or measured."""
        return max(0.0, self.lost / self.injections) if self.injections else 0.0

    @property
    def spread(self) -> float:
        """Standard deviation of the loss of one flip, at most: that of all or nothing, with a prior of one injection.

        >>> round(Harm(tensor="w", bits=(31,), size=9, injections=8, lost=4.0).spread, 3)
        0.5
        """
        share = (max(0.0, self.lost) + _PRIOR) / (self.injections + 2 * _PRIOR)
        return float(np.sqrt(share * (1 - share)))

    def limits(self, confidence: float) -> tuple[float, float]:
        """Return an interval of the mean that holds whenever one looks; from 0 to 1 where nothing was measured."""
        if not self.injections:
            return 0.0, 1.0
        lost = min(max(0.0, self.lost), self.injections)
        found = anytime_proportion(lost, self.injections, confidence)
        # it has both
        assert found.low is not None
        assert found.high is not None
        return found.low, found.high

    def with_more(self, injections: int, lost: float) -> "Harm":
        """Return it after more injections."""
        return replace(self, injections=self.injections + injections, lost=self.lost + lost)


def strata_of(space: FaultSpace) -> tuple[Harm, ...]:
    """Return what is measured apart: every bit of every tensor, or, in small tensors, groups of neighbouring bits.

    >>> space = FaultSpace.of("digits")
    >>> strata = strata_of(space)
    >>> len(strata), strata[0].tensor, strata[0].bits, sum(each.size for each in strata) == space.bits
    (376, 'conv.weight', (28, 29, 30, 31), True)
    """
    found = []
    for target in space.targets:
        step = _GROUP if target.bits < _SMALL * space.bits else 1
        numbers = sorted(target.bit_numbers)
        # from the highest bit down: it is the one that matters, so no group of few bits is left at its end
        for end in range(len(numbers), 0, -step):
            bits = tuple(numbers[max(0, end - step) : end])
            found.append(Harm(tensor=target.tensor, bits=bits, size=target.elements * len(bits)))
    return tuple(found)


def standard_error(harms: Sequence[Harm], rate: float) -> float:
    """Return how far the sum of losses at a rate may be off: one standard error, which no zero makes zero."""
    if not harms:
        return 0.0
    weights = rate * _column(harms, "size")
    spreads = np.array([each.spread for each in harms])
    injections = np.maximum(_column(harms, "injections"), 1)
    return float(np.sqrt(((weights * spreads) ** 2 / injections).sum()))


def _column(harms: Sequence[Harm], name: str) -> NDArray[np.float64]:
    return np.array([getattr(each, name) for each in harms], np.float64)
