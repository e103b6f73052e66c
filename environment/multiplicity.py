"""How many bits an upset flips: sizes of bursts with their shares of the upsets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.words import near

__all__ = ["PUBLISHED", "SINGLE", "Multiplicity"]

SINGLE: Final = "1:1.0"
"""One bit each, as ``Multiplicity.text`` writes it."""

PUBLISHED: Final[Mapping[str, str]] = {"lelape-1": "1:253,2:35,3:13,4:7", "lelape-2": "1:361,2:38"}
"""Events of radiation tests of static memories, counted by their number of bits.

Source: what comes with LELAPE, a program of F. J. Franco and others that finds multiple events in lists of flipped
addresses (github.com/fjfrancopelaez/LELAPE): the outputs of its first example, three patterns together, 390 flips; the
notebook of its second one, 437 flips.
"""

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
    >>> Multiplicity.parse("2:9,4:1") == several, Multiplicity.parse("lelape-2").mean
    (True, 1.0952380952380953)
    """

    shares: Mapping[int, float]

    @classmethod
    def parse(cls, text: str | int) -> "Multiplicity":
        """Read sizes with their shares or their numbers of events, or a name: ``2``, ``1:0.9,2:0.1``, ``1:361,2:38``.

        Raises:
            UsageError: a size is out of range, is there twice, or the shares do not add up to 1.
        """
        given = str(text)
        return cls(_shares_of(PUBLISHED.get(given, given)))

    @property
    def text(self) -> str:
        """Sizes and shares as they are read."""
        return ",".join(f"{size}:{share!r}" for size, share in self.shares.items())

    @property
    def words(self) -> str:
        """Sizes and their shares in three digits, for people.

        >>> Multiplicity.parse("lelape-1").words, Multiplicity.parse(4).words
        ('1 (82.1 %), 2 (11.4 %), 3 (4.22 %) or 4 (2.27 %)', '4')
        """
        if len(self.shares) == 1:
            return str(*self.shares)
        *others, last = (f"{size} ({100 * share:.3g} %)" for size, share in self.shares.items())
        return f"{', '.join(others)} or {last}"

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
    """Read sizes with their shares, or with whole numbers of events, ascending.

    Raises:
        UsageError: one is out of range, is there twice, or the shares do not add up to 1.

    >>> _shares_of("4:0.1,2:0.9"), _shares_of("3"), _shares_of("1:3,2:1")
    ({2: 0.9, 4: 0.1}, {3: 1.0}, {1: 0.75, 2: 0.25})
    """
    parts = text.split(",")
    # a size alone is that of all
    pairs = [part.partition(":")[::2] for part in parts] if ":" in text else [(text, "1")]
    try:
        sizes = [int(size) for size, _ in pairs]
        weights = [float(weight) for _, weight in pairs]
    except ValueError:
        raise UsageError(
            "sizes of bursts were expected as 2, with shares as 1:0.9,2:0.1, with numbers of events as 1:361,2:38, or "
            f"as one of {', '.join(PUBLISHED)}; got {text!r}{near(text, PUBLISHED)}"
        ) from None
    are_events = all(weight.strip().isdecimal() for _, weight in pairs)
    whole = max(sum(weights), 1) if are_events else 1
    shares: dict[int, float] = {}
    for part, size, weight in zip(parts, sizes, weights, strict=True):
        share = weight / whole
        if not 1 <= size <= _MOST_BITS or not 0 < share <= 1 or size in shares:
            raise UsageError(
                f"a burst of 1 to {_MOST_BITS} bits and its share, above 0 and up to 1, or its number of events was "
                f"expected, each size once; got {part!r}"
            )
        shares[size] = share
    total = math.fsum(shares.values())
    if abs(total - 1) > _TOLERANCE:
        raise UsageError(f"shares of bursts that add up to 1 were expected, got {total:g} of {text!r}")
    return dict(sorted(shares.items()))
