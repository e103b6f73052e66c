"""Bits flip in bursts of neighbours, as where one particle upsets several cells, at one or several rates."""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import checked_rates
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import near

__all__ = ["Along", "Bursts"]

Along = Literal["bits", "words"]
"""Which bits are neighbours: those of an element and then of the next one, or the same bit of one element after the
other, as memories lie that interleave words."""

_MOST_BITS: Final = 64
_TOLERANCE: Final = 1e-6  # of shares that are to add up to 1


class _Multiplicity(NamedTuple):
    """How many bits an upset flips.

    Attributes:
        sizes: int64 (kinds,), bits.
        shares: float64 (kinds,), of the upsets; their sum is 1.
    """

    sizes: NDArray[np.int64]
    shares: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Bits per upset."""
        return float(self.sizes @ self.shares)


@dataclass(frozen=True, slots=True, init=False)
class Bursts(FaultModel):
    """Multi-cell upsets: flips come in bursts of neighbouring bits of one stored tensor.

    An upset begins at each of the N bits independently, with the probability rate / m, where m is the mean number of
    bits of an upset; it flips so many neighbours from there on as its size says, up to the end of the tensor. A bit
    that two upsets hit is as it was. So the rate is the mean number of flips per bit, but for the ends of tensors and
    for such bits, and compares with that of ``BitFlipRates``.

    Attributes:
        rates: flips per bit, each in [0, 1]; one number will do. Kept sorted, without doubles.
        sizes: numbers of bits, 1 to 64, with their shares of the upsets, which add up to 1: ``2:0.9,4:0.1``; one
            number will do.
        along: which bits are neighbours, ``bits`` or ``words``, see ``Along``.

    Raises:
        UsageError: a value is out of range.

    >>> Bursts(1e-6, "2:0.9,4:0.1")
    Bursts(rates=(1e-06,), sizes='2:0.9,4:0.1', along='bits')
    """

    name: ClassVar[str] = "bursts"
    fresh_per_batch: ClassVar[bool] = True
    stream: ClassVar[int] = 1
    default_repeats: ClassVar[int] = 10
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--burst-rate",
            field="rates",
            metavar="R",
            type=float,
            repeated=True,
            help="In place of --rate: flips per stored bit that come in bursts of neighbouring bits (repeatable).",
        ),
        Option(
            flag="--burst-sizes",
            field="sizes",
            metavar="BITS:SHARE,...",
            help="Of --burst-rate: how many bits an upset flips, such as 2, or 1:0.9,2:0.08,3:0.02.",
        ),
        Option(
            flag="--burst-along",
            field="along",
            metavar="bits|words",
            optional=True,
            help="Of --burst-rate: neighbours are the next bits, or the same bit of the next elements. Default: bits.",
        ),
    )

    rates: tuple[float, ...]
    sizes: str
    along: Along

    def __init__(self, rates: float | Iterable[float], sizes: str | int, along: str = "bits") -> None:
        if along not in get_args(Along):
            raise UsageError(
                f"neighbours along bits or words were expected, got {along!r}{near(along, get_args(Along))}"
            )
        object.__setattr__(self, "rates", checked_rates(rates))
        object.__setattr__(self, "sizes", _written(_shares_of(str(sizes))))
        object.__setattr__(self, "along", along)

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the rates.

        Raises:
            UsageError: bits were chosen, so that those between them are not there.
        """
        if any(target.flippable for target in space.targets):
            raise UsageError("bursts flip neighbouring bits, whichever they are: no choice of bits was expected")
        return self.rates

    @property
    def note(self) -> str:
        """How they come."""
        neighbours = "neighbouring bits" if self.along == "bits" else "the same bit of neighbouring elements"
        return f"flips come in bursts of {neighbours}, as many as these shares say: {self.sizes}"

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether it has all rates of another one with the same bursts."""
        return self._alike(other) and set(self.rates) >= set(other.rates)

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the rates of both, where their bursts are the same.

        >>> Bursts(3e-7, 2).joined_with(Bursts(1e-7, 2)).rates
        (1e-07, 3e-07)
        """
        return Bursts((*self.rates, *other.rates), self.sizes, self.along) if self._alike(other) else self

    def _alike(self, other: FaultModel) -> TypeGuard["Bursts"]:
        return isinstance(other, Bursts) and (other.sizes, other.along) == (self.sizes, self.along)

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one pattern, whatever its number; O(n_faults) time and memory whatever the size of the space."""
        multiplicity = _multiplicity(self.sizes)
        upsets = int(rng.binomial(space.bits, level / multiplicity.mean))
        first = distinct_positions(space.bits, upsets, rng)
        sizes: NDArray[np.int64] = rng.choice(multiplicity.sizes, size=upsets, p=multiplicity.shares)
        target = np.searchsorted(space.starts, first, side="right") - 1
        steps = np.ones(len(space.targets), np.int64)
        if self.along == "words":
            steps = np.array([len(each.bit_numbers) for each in space.targets], np.int64)
        ends = np.append(space.starts[1:], space.bits)
        return space.locate(_hit_once(_neighbours(first, sizes, steps[target], ends[target])))


def _neighbours(
    first: NDArray[np.int64], sizes: NDArray[np.int64], steps: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return all positions that upsets hit, those that several hit as often.

    >>> _neighbours(np.array([5, 20]), np.array([3, 2]), np.array([1, 8]), np.array([7, 99])).tolist()
    [5, 6, 20, 28]
    """
    upset = np.repeat(np.arange(len(first)), sizes)
    flips_before = np.cumsum(sizes) - sizes
    number: NDArray[np.int64] = np.arange(len(upset)) - flips_before[upset]
    positions: NDArray[np.int64] = first[upset] + number * steps[upset]
    return positions[positions < ends[upset]]


def _hit_once(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions that are there an odd number of times, ascending.

    >>> _hit_once(np.array([3, 1, 3, 2, 2, 2])).tolist()
    [1, 2]
    """
    distinct, times = np.unique(positions, return_counts=True)
    odd: NDArray[np.int64] = distinct[times % 2 == 1]
    return odd


@functools.cache
def _multiplicity(sizes: str) -> _Multiplicity:
    """Return sizes and their shares as numbers to draw with."""
    shares = _shares_of(sizes)
    weights = np.array(list(shares.values()))
    return _Multiplicity(np.array(list(shares), np.int64), weights / weights.sum())


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


def _written(shares: Mapping[int, float]) -> str:
    """Return sizes and shares as they are read.

    >>> _written({2: 0.9, 4: 0.1})
    '2:0.9,4:0.1'
    """
    return ",".join(f"{size}:{share!r}" for size, share in shares.items())
