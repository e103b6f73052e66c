"""Memory cells are stuck at 0 or at 1, each with a probability, at one or several rates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import checked_rates
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions, some_faults
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import near

__all__ = ["STUCK_AT", "StuckAt", "StuckRates", "checked_stuck_at", "stuck_chances", "stuck_flips", "stuck_words"]

StuckAt = Literal["0", "1", "both"]
"""The value that a stuck bit always has; with ``both``, either with probability 1/2."""


def checked_stuck_at(at: str | int) -> StuckAt:
    """Return a value of stuck bits, which may be given as a number.

    Raises:
        UsageError: it is none.

    >>> checked_stuck_at(1)
    '1'
    """
    for value in get_args(StuckAt):
        if str(at) == value:
            found: StuckAt = value
            return found
    raise UsageError(f"bits stuck at 0, 1 or both were expected, got {at!r}{near(str(at), get_args(StuckAt))}")


STUCK_AT: Final = Option(
    flag="--stuck-at",
    field="at",
    metavar="0|1|both",
    type=checked_stuck_at,
    optional=True,
    help="Of --stuck-rate and --stuck-per-run: the value of stuck bits. Default: both, each of them with "
    "probability 1/2.",
)


def stuck_words(at: StuckAt) -> str:
    """Say what stuck bits are, and what of them is counted."""
    value = "0 or 1, either as likely" if at == "both" else at
    return f"bits are stuck at {value}: one that stores that already changes nothing, and only the others are counted"


def stuck_chances(at: StuckAt) -> str:
    """Say which bits are stuck and which of them change, see ``FaultModel.chances``."""
    value = "0 or 1" if at == "both" else at
    return f"Every bit counted here is stuck at {value} with the same probability; it changes where it stores another."


def stuck_flips(space: FaultSpace, positions: NDArray[np.int64], at: StuckAt, rng: np.random.Generator) -> Faults:
    """Return the flips that stuck bits amount to: those of them whose stored value is the other one.

    Args:
        space: of a model, as stored values decide.
        positions: of the stuck bits, ascending and distinct, int64 (n,).
        at: the value of all of them, or ``both``, where it is drawn.
        rng: from which it is drawn.
    """
    stuck = space.locate(positions)
    value = np.full(len(stuck), at == "1")
    if at == "both":
        value = rng.integers(2, size=len(stuck)).astype(np.bool_)
    return some_faults(stuck, space.is_set(stuck) != value)


@dataclass(frozen=True, slots=True, init=False)
class StuckRates(FaultModel):
    """Each of the N bits is stuck independently with a probability, the rate.

    A bit that stores the value at which it is stuck changes nothing. So about half of the stuck bits of typical weights
    flip; these are what is counted as faults. Stuck cells of one device never change, but every batch of images
    meets those of another device, as at any rate: the mean is that over devices.

    Attributes:
        rates: probabilities that a bit is stuck, each in [0, 1]; one number will do. Kept sorted, without doubles.
        at: 0, 1 or ``both``, see ``StuckAt``.

    Raises:
        UsageError: a value is out of range.

    >>> StuckRates(1e-6, 1)
    StuckRates(rates=(1e-06,), at='1')
    """

    name: ClassVar[str] = "stuck-rates"
    fresh_per_batch: ClassVar[bool] = True
    stream: ClassVar[int] = 2
    default_repeats: ClassVar[int] = 10
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--stuck-rate",
            field="rates",
            metavar="R",
            type=float,
            repeated=True,
            help="In place of --rate: the share of bits that are stuck, whatever is stored (repeatable).",
        ),
        STUCK_AT,
    )

    rates: tuple[float, ...]
    at: StuckAt

    def __init__(self, rates: float | Iterable[float], at: str | int = "both") -> None:
        object.__setattr__(self, "rates", checked_rates(rates))
        object.__setattr__(self, "at", checked_stuck_at(at))

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the rates.

        Raises:
            UsageError: activations can flip here.
        """
        space.require_stored("stuck bits")
        return self.rates

    @property
    def note(self) -> str:
        """What is stuck, and what counts."""
        return stuck_words(self.at)

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return stuck_chances(self.at)

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether it has all rates of another one with bits stuck at the same value."""
        return self._alike(other) and set(self.rates) >= set(other.rates)

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the rates of both, where bits are stuck at the same value."""
        return StuckRates((*self.rates, *other.rates), self.at) if self._alike(other) else self

    def _alike(self, other: FaultModel) -> TypeGuard["StuckRates"]:
        return isinstance(other, StuckRates) and other.at == self.at

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one pattern, whatever its number; O(stuck bits) time and memory."""
        count = int(rng.binomial(space.bits, level))
        return stuck_flips(space, distinct_positions(space.bits, count, rng), self.at, rng)
