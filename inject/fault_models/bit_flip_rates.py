"""Every bit flips independently of the others, at one or several rates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import real_number

__all__ = ["BitFlipRates", "checked_rates"]


def checked_rates(rates: float | Iterable[float]) -> tuple[float, ...]:
    """Return fault rates sorted, without doubles; one number will do.

    Raises:
        UsageError: there is no rate, or one is outside [0, 1].
    """
    # a text would be one of letters
    is_text: bool = isinstance(rates, str)
    given = rates if isinstance(rates, Iterable) and not is_text else (rates,)
    kept = tuple(sorted({real_number("rates", rate) for rate in given}))
    for rate in kept:
        if not 0.0 <= rate <= 1.0:
            raise UsageError(f"a fault rate is a probability per bit, so 0 to 1 was expected; got {rate}")
    if not kept:
        raise UsageError("a fault rate or several were expected, such as 1e-6; got none")
    return kept


@dataclass(frozen=True, slots=True, init=False)
class BitFlipRates(FaultModel):
    """Each of the N bits of the space flips independently with a probability, the rate.

    Drawn exactly in O(n_faults): the count is Binomial(N, rate), the bits are distinct and uniform.

    Attributes:
        rates: probabilities of a flip per bit, each in [0, 1]; one number will do. Kept sorted, without doubles.

    Raises:
        UsageError: there is no rate, or one is outside [0, 1].

    >>> BitFlipRates((1e-6, 1e-7)), BitFlipRates(1e-6)
    (BitFlipRates(rates=(1e-07, 1e-06)), BitFlipRates(rates=(1e-06,)))
    """

    name: ClassVar[str] = "rates"
    fresh_per_batch: ClassVar[bool] = True
    default_repeats: ClassVar[int] = 10
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--rate",
            field="rates",
            metavar="R",
            type=float,
            repeated=True,
            help="Bit-fault rate, flips per stored bit, 0 to 1 (repeatable). Default: the paper's eight rates "
            "1e-8 to 3e-5; for the embedded model 1e-7 to 3e-4.",
        ),
    )

    rates: tuple[float, ...]

    def __init__(self, rates: float | Iterable[float]) -> None:
        object.__setattr__(self, "rates", checked_rates(rates))

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the rates."""
        return self.rates

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether it has all rates of another one."""
        return isinstance(other, BitFlipRates) and set(self.rates) >= set(other.rates)

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the rates of both.

        >>> BitFlipRates(3e-7).joined_with(BitFlipRates((1e-7, 1e-6)))
        BitFlipRates(rates=(1e-07, 3e-07, 1e-06))
        """
        return BitFlipRates((*self.rates, *other.rates)) if isinstance(other, BitFlipRates) else self

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one pattern, whatever its number; O(n_faults) time and memory whatever the size of the space."""
        count = int(rng.binomial(space.bits, level))
        return space.locate(distinct_positions(space.bits, count, rng))
