"""Bits flip in bursts of neighbours, as where one particle upsets several cells, at one or several rates."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ftonnx.environment.multiplicity import PUBLISHED, Multiplicity
from ftonnx.environment.upset_shape import Along, UpsetShape
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import checked_rates
from ftonnx.inject.fault_models.neighbours import check_neighbours, hit_once, neighbours
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace

__all__ = ["ALONG", "MEMORY", "SIZES", "Bursts", "upset_chances", "upset_shape"]


def _checked_sizes(text: str) -> str:
    """Return sizes of bursts in one form.

    >>> _checked_sizes("2")
    '2:1.0'
    """
    return Multiplicity.parse(text).text


SIZES: Final = Option(
    flag="--burst-sizes",
    field="sizes",
    metavar="SIZES",
    type=_checked_sizes,
    help="Of --burst-rate and --over: how many bits an upset flips, such as 2, with shares 1:0.9,2:0.08,3:0.02, with "
    f"numbers of events 1:361,2:38, or as published: {' or '.join(PUBLISHED)}.",
)
ALONG: Final = Option(
    flag="--burst-along",
    field="along",
    metavar="WHERE",
    optional=True,
    help="Of --burst-rate and --over, which bits are neighbours: the next bits (bits, the default), the same bit of "
    "the next elements (words), or cells of --memory: of a row, of a column, of two rows (block).",
)
MEMORY: Final = Option(
    flag="--memory",
    field="memory",
    metavar="MAP",
    optional=True,
    help="Of --burst-along row, column and block: bits of a word, cells of a row of the memory, and words whose bits "
    "alternate (interleave, 1 where it is left out), as words=32,columns=512.",
)


@dataclass(frozen=True, slots=True, init=False)
class Bursts(FaultModel):
    """Multi-cell upsets: flips come in bursts of neighbouring bits.

    An upset begins at each of the N bits independently, with the probability rate / m, where m is the mean number of
    bits of an upset; it flips so many neighbours from there on as its size says, up to the end of the tensor (of an
    activation, of what one image or run has of it), or of a row or column of the memory. A bit that two upsets hit is
    as it was. So the rate is the mean number of flips per bit, but for these ends and for such bits, and compares with
    that of ``BitFlipRates``.

    Attributes:
        rates: flips per bit, each in [0, 1]; one number will do. Kept sorted, without doubles.
        sizes: numbers of bits, 1 to 64, with their shares of the upsets, which add up to 1: ``2:0.9,4:0.1``; one
            number, numbers of events ``2:9,4:1``, or the name of published ones ``lelape-1`` will do.
        along: which bits are neighbours, see ``UpsetShape``.
        memory: where they are cells of a row, a column or a block: the map, such as ``words=32,columns=512``, see
            ``MemoryMap``.

    Raises:
        UsageError: a value is out of range.

    >>> Bursts(1e-6, "2:0.9,4:0.1")
    Bursts(rates=(1e-06,), sizes='2:0.9,4:0.1', along='bits', memory=None)
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
        SIZES,
        ALONG,
        MEMORY,
    )

    rates: tuple[float, ...]
    sizes: str
    along: Along
    memory: str | None

    def __init__(
        self, rates: float | Iterable[float], sizes: str | int, along: str = "bits", memory: str | None = None
    ) -> None:
        shape = UpsetShape(sizes, along, memory)
        object.__setattr__(self, "rates", checked_rates(rates))
        object.__setattr__(self, "sizes", shape.sizes.text)
        object.__setattr__(self, "along", shape.along)
        object.__setattr__(self, "memory", shape.map_text)

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the rates.

        Raises:
            UsageError: bits were chosen, so that those between them are not there, or activations can flip, which have
                no place in a map of the memory.
        """
        check_neighbours(space)
        if self.memory is not None:
            space.require_stored("bursts by a map of the memory")
        return self.rates

    @property
    def shape(self) -> UpsetShape:
        """How many bits an upset flips, and which are neighbours."""
        return upset_shape(self.sizes, self.along, self.memory)

    @property
    def note(self) -> str:
        """How they come."""
        return f"flips come in bursts of {self.shape.words}"

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return upset_chances(self.shape)

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether it has all rates of another one with the same bursts."""
        return self._alike(other) and set(self.rates) >= set(other.rates)

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the rates of both, where their bursts are the same.

        >>> Bursts(3e-7, 2).joined_with(Bursts(1e-7, 2)).rates
        (1e-07, 3e-07)
        """
        if not self._alike(other):
            return self
        return Bursts((*self.rates, *other.rates), self.sizes, self.along, self.memory)

    def _alike(self, other: FaultModel) -> TypeGuard["Bursts"]:
        return isinstance(other, Bursts) and other.shape == self.shape

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one pattern, whatever its number; O(n_faults) time and memory whatever the size of the space."""
        shape = self.shape
        upsets = int(rng.binomial(space.bits, level / shape.sizes.mean))
        first = distinct_positions(space.bits, upsets, rng)
        sizes: NDArray[np.int64] = rng.choice(shape.sizes.sizes, size=upsets, p=shape.sizes.weights)
        return space.locate(hit_once(neighbours(space, shape, first, sizes)))


@functools.cache
def upset_shape(sizes: str, along: str, memory: str | None) -> UpsetShape:
    """Return what ``UpsetShape`` makes of these; read once, as every pattern asks."""
    return UpsetShape(sizes, along, memory)


def upset_chances(shape: UpsetShape) -> str:
    """Return where upsets begin and what they flip, see ``FaultModel.chances``."""
    if shape.sizes.is_single:
        return "An upset hits every bit counted here with the same probability; nothing else flips."
    return "An upset begins at every bit counted here with the same probability, and flips its neighbours too."
