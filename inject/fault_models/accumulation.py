"""Upsets arrive at a constant rate since the memory was loaded, which is read at one or several times."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.environment.multiplicity import SINGLE
from ftonnx.environment.radiation import flipped_at_end
from ftonnx.environment.upset_shape import Along, UpsetShape
from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel, Stream
from ftonnx.inject.fault_models.bursts import ALONG, MEMORY, SIZES, upset_chances, upset_shape
from ftonnx.inject.fault_models.neighbours import check_neighbours, hit_once, neighbours
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import HOURS_PER_DAY, parse_duration, real_number, time_text

__all__ = ["Accumulation"]


def _interval_of(scrub: str | float) -> float:
    """Return the hours between two scrubs.

    Raises:
        UsageError: it is not one time.

    >>> _interval_of("1d")
    24.0
    """
    found = _hours_of(scrub)
    if len(found) != 1:
        raise UsageError(f"scrub: one time was expected, got {scrub!r}")
    return found[0]


def _hours_of(times: str | float | Iterable[Any]) -> tuple[float, ...]:
    """Read times: hours, texts such as ``1h,6h,24h``, or several of either; ascending, without doubles.

    >>> _hours_of("24h,90min"), _hours_of([6, "1h"]), _hours_of([(24.0,), (1.0, 6.0)])
    ((1.5, 24.0), (1.0, 6.0), (1.0, 6.0, 24.0))
    """
    if isinstance(times, str):
        hours = {parse_duration(time) for time in times.split(",")}
    elif isinstance(times, Iterable):
        hours = {each for some in times for each in _hours_of(some)}
    else:
        hours = {real_number("over", times)}
    return tuple(sorted(hours))


def _written(hours: float) -> str:
    """Write a time so that it is read back exactly.

    >>> _written(24.0), _written(0.123)
    ('1d', '0.123h')
    """
    text = time_text(hours)
    # a time of no unit is shown rounded, and in words
    is_exact = " " not in text and parse_duration(text) == hours
    return text if is_exact else f"{hours!r}h"


@dataclass(frozen=True, slots=True, init=False)
class Accumulation(FaultModel):
    """Histories of a memory: upsets arrive at a constant rate, and the model is run at several times since loading.

    A unit is one history at one time. Patterns are nested: at a later time, the pattern of a history is that of the
    time before with the upsets that have arrived since; a bit that was hit twice is right again. So one history gives
    a curve, and its points differ by what arrived between them only. Exact: after t hours at L upsets per bit and
    hour, of m bits each in the mean, a bit is found flipped with probability r(t) = (1 - exp(-2 L m t)) / 2, the level.

    A scrub or reload empties the memory, so times are times since the last one, and none is later than the next.

    Attributes:
        hours: since loading, above 0; one number, or texts such as ``6h`` or ``1h,6h,24h``, will do. Kept sorted.
        upsets_per_bit_day: that begin at each bit in a day, above 0.
        sizes: numbers of bits that upsets flip, with their shares, as in ``Bursts``; one bit each by default.
        along: which bits are neighbours, see ``UpsetShape``.
        memory: the map of the memory, likewise.
        scrub: hours between two loads or scrubs, or a text such as ``90min``; None where it is loaded once.

    Raises:
        UsageError: a value is out of range, or a time lies beyond the scrub interval.

    >>> Accumulation("1d,30d", 1e-7)
    Accumulation(hours=(24.0, 720.0), upsets_per_bit_day=1e-07, sizes='1:1.0', along='bits', memory=None, scrub=None)
    """

    name: ClassVar[str] = "accumulation"
    fresh_per_batch: ClassVar[bool] = True
    stream: ClassVar[int] = 6
    default_repeats: ClassVar[int] = 10
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--over",
            field="hours",
            metavar="TIME",
            type=_hours_of,
            write=_written,
            repeated=True,
            help="In place of --rate: upsets accumulate, and the model is run at these times since the memory was "
            "loaded: 90min,6h,1d, with s, min, h, d, w or y (repeatable).",
        ),
        Option(
            flag="--upsets-per-bit-day",
            field="upsets_per_bit_day",
            metavar="X",
            type=float,
            help="Of --over: upsets per bit and day; --environment gives them too.",
        ),
        SIZES.made_optional(),
        ALONG,
        MEMORY,
        Option(
            flag="--scrub",
            field="scrub",
            metavar="TIME",
            optional=True,
            type=parse_duration,
            write=_written,
            help="Of --over: time between two loads or scrubs of the memory, beyond which no time lies.",
        ),
    )

    hours: tuple[float, ...]
    upsets_per_bit_day: float
    sizes: str
    along: Along
    memory: str | None
    scrub: float | None

    def __init__(
        self,
        hours: str | float | Iterable[str | float],
        upsets_per_bit_day: float,
        sizes: str | int = SINGLE,
        along: str = "bits",
        memory: str | None = None,
        scrub: str | float | None = None,
    ) -> None:
        shape = UpsetShape(sizes, along, memory)
        object.__setattr__(self, "hours", _hours_of(hours))
        object.__setattr__(self, "upsets_per_bit_day", real_number("upsets_per_bit_day", upsets_per_bit_day))
        object.__setattr__(self, "sizes", shape.sizes.text)
        object.__setattr__(self, "along", shape.along)
        object.__setattr__(self, "memory", shape.map_text)
        object.__setattr__(self, "scrub", None if scrub is None else _interval_of(scrub))
        self._check()

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> Self:
        """See ``FaultModel``; neighbours without a number of them would do nothing."""
        for option in (ALONG, MEMORY):
            if option.field in values and SIZES.field not in values:
                raise UsageError(f"{SIZES.flag} was expected too, beside {option.flag}")
        return super(Accumulation, cls).from_options(values)

    def _check(self) -> None:
        if not self.hours or self.hours[0] <= 0 or not math.isfinite(self.hours[-1]):
            raise UsageError(f"times above 0 since the memory was loaded were expected, got {_shown(self.hours)}")
        if not 0 < self.upsets_per_bit_day < math.inf:
            raise UsageError(f"upsets per bit and day above 0 were expected, got {self.upsets_per_bit_day}")
        if self.scrub is not None and self.hours[-1] > self.scrub:
            raise UsageError(
                f"the memory is loaded again every {time_text(self.scrub)}: times since then up to that were "
                f"expected, got {_shown(self.hours)}"
            )
        rates = [self._flipped(hours) for hours in self.hours]
        if rates[0] == 0 or len(set(rates)) < len(rates):
            raise UsageError(
                f"times that differ in how many bits are flipped were expected, got {_shown(self.hours)} at "
                f"{self.upsets_per_bit_day:g} upsets per bit and day, with shares of {rates[0]:g} to {rates[-1]:g}"
            )

    def _flipped(self, hours: float) -> float:
        """Return the probability that a bit is found flipped after so many hours."""
        return flipped_at_end(self._upsets_in(hours) * self.shape.sizes.mean)

    def _upsets_in(self, hours: float) -> float:
        """Return the mean number of upsets that begin at a bit."""
        return self.upsets_per_bit_day / HOURS_PER_DAY * hours

    @property
    def shape(self) -> UpsetShape:
        """How many bits an upset flips, and which are neighbours."""
        return upset_shape(self.sizes, self.along, self.memory)

    @property
    def is_nested(self) -> bool:
        """They are."""
        return True

    @property
    def note(self) -> str:
        """What happens between the times."""
        scrubbed = "" if self.scrub is None else f", which is loaded again every {time_text(self.scrub)}"
        shape = "" if self.shape.sizes.is_single else f", in bursts of {self.shape.words}"
        return (
            f"upsets accumulate in the memory{scrubbed}: {self.upsets_per_bit_day:g} per bit and day{shape}; "
            "a history keeps its flips from one time to the next"
        )

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return upset_chances(self.shape)

    def hours_at(self, level: float) -> float:
        """Return the hours since loading at a level."""
        return self._times[level]

    @property
    def _times(self) -> dict[float, float]:
        """The times, by level."""
        return {self._flipped(hours): hours for hours in self.hours}

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the probability that a bit is found flipped, at each time.

        Raises:
            UsageError: bits were chosen, so that neighbours are not there, or activations can flip here.
        """
        space.require_stored("histories")
        if not self.shape.sizes.is_single:
            check_neighbours(space)
        return tuple(self._times)

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether another one ends earlier, and is alike up to then: a time in between changes what comes after it.

        When the memory is scrubbed plays no part, as no time lies beyond.
        """
        if not isinstance(other, Accumulation) or self._arriving() != other._arriving():
            return False
        return self.hours[: len(other.hours)] == other.hours

    def _arriving(self) -> tuple[float, UpsetShape]:
        """Return what decides over what arrives in some hours."""
        return self.upsets_per_bit_day, self.shape

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the one that goes on for longer, where it has the patterns of the other.

        >>> Accumulation("1h", 1e-7).joined_with(Accumulation("1h,6h", 1e-7)).hours
        (1.0, 6.0)
        """
        if self.has_patterns_of(other) or not other.has_patterns_of(self):
            return self
        return other

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw a history up to a level from one stream; O(n_faults) time and memory whatever the size of the space."""
        return self._unit(space, level, lambda _: rng, index)

    def _unit(self, space: FaultSpace, level: float, stream: Stream, index: int) -> Faults:
        """Put together what arrived before each time up to that of a level, each from the stream of its own level."""
        hit: list[NDArray[np.int64]] = []
        before = 0.0
        for at, hours in self._times.items():
            hit.append(self._arrived(space, hours - before, stream(at)))
            before = hours
            if at == level:
                break
        return space.locate(hit_once(np.concatenate(hit)))

    def _arrived(self, space: FaultSpace, hours: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the positions that upsets of some hours have hit, those that several hit as often.

        Upsets of each size begin at each bit as a Poisson process of their own, of which only matters whether an odd
        number has come: so as many bits are drawn as a binomial number says, and none twice.
        """
        sizes = self.shape.sizes
        hit: list[NDArray[np.int64]] = []
        for size, share in zip(sizes.sizes.tolist(), sizes.weights.tolist(), strict=True):
            odd = flipped_at_end(self._upsets_in(hours) * share)
            first = distinct_positions(space.bits, int(rng.binomial(space.bits, odd)), rng)
            hit.append(neighbours(space, self.shape, first, np.full(len(first), size)))
        return np.concatenate(hit)


def _shown(hours: tuple[float, ...]) -> str:
    return ", ".join(map(time_text, hours)) or "none"
