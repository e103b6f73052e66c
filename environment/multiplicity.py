"""How many bits an upset flips: sizes of bursts with their shares of the upsets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError

__all__ = ["SINGLE", "Multiplicity"]

SINGLE: Final = "1:1.0"
"""One bit each, as ``Multiplicity.text`` writes it."""

_MOST_BITS: Final = 64
_TOLERANCE: Final = 1e-6  # of shares that are to add up to 1


@dataclass(frozen=True)
class Multiplicity:
    """How many bits an upset flips.

    Attributes:
        shares: of the upsets, by number of bits, ascending; their sum is 1.

    >>> several = Multiplicity.parse("4:0.1,2:0.9")
    >>> several.text, several.mean
    ('2:0.9,4:0.1', 2.2)
    """

    shares: Mapping[int, float]

    @classmethod
    def parse(cls, text: str | int) -> "Multiplicity":
        """Read sizes and their shares: ``2``, or ``1:0.9,2:0.08,3:0.02``.

        Raises:
            UsageError: a size is out of range, is there twice, or the shares do not add up to 1.
        """
        return cls(_shares_of(str(text)))

    @property
    def text(self) -> str:
        """Sizes and shares as they are read."""
        return ",".join(f"{size}:{share!r}" for size, share in self.shares.items())

    @property
    def is_single(self) -> bool:
        """Whether every upset flips one bit."""
        return list(self.shares) == [1]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Numbers of bits, int64 (kinds,)."""
        return np.array(list(self.shares), np.int64)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Shares of the upsets, float64 (kinds,), whose sum is 1 to the last bit."""
        given = np.array(list(self.shares.values()))
        normed: NDArray[np.float64] = given / given.sum()
        return normed

    @property
    def mean(self) -> float:
        """Bits per upset."""
        return float(self.sizes @ self.weights)


def _shares_of(text: str) -> dict[int, float]:
    """Read sizes and their shares, ascending.

    Raises:
        UsageError: one is out of range, is there twice, or the shares do not add up to 1.

    >>> _shares_of("4:0.1,2:0.9"), _shares_of("3")
    ({2: 0.9, 4: 0.1}, {3: 1.0})
    """
    shares: dict[int, float] = {}
    parts = text.split(",")
    for part in parts:
        size, colon, share = part.partition(":")
        try:
            bits = int(size)
            weight = 1.0 if len(parts) == 1 and not colon else float(share)
        except ValueError:
            raise UsageError(f"sizes of bursts were expected as 2, or as 1:0.9,2:0.1; got {text!r}") from None
        if not 1 <= bits <= _MOST_BITS or not 0 < weight <= 1 or bits in shares:
            raise UsageError(
                f"a burst of 1 to {_MOST_BITS} bits and its share, above 0 and up to 1, was expected, each size once; "
                f"got {part!r}"
            )
        shares[bits] = weight
    total = math.fsum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        raise UsageError(f"shares of bursts that add up to 1 were expected, got {total:g} of {text!r}")
    return dict(sorted(shares.items()))
