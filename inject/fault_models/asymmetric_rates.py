"""Stored ones flip at another rate than stored zeros, as in undervolted memories, at one or several pairs of rates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.bit_flip_rates import checked_rates
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions, some_faults
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace

__all__ = ["AsymmetricRates"]


@dataclass(frozen=True, slots=True, init=False)
class AsymmetricRates(FaultModel):
    """Each stored one flips independently with one probability, and each stored zero with another.

    Drawn in O(N times the larger rate): candidates at the larger rate, of which those with the other stored value are
    thinned. That larger rate is the level by which results are read.

    Attributes:
        rates_1to0: probabilities that a stored one becomes a zero, each in [0, 1]; one number will do.
        rates_0to1: probabilities that a stored zero becomes a one, likewise. Where there are several of both, the
            first ones belong together, the second ones, and so on; one number goes with all of the others, and none
            is 0. Kept as pairs, sorted by the larger rate.

    Raises:
        UsageError: there is no rate, one is outside [0, 1], their numbers differ, or the larger rates of two pairs are
            equal.

    >>> AsymmetricRates([1e-6, 1e-5], 1e-8)
    AsymmetricRates(rates_1to0=(1e-06, 1e-05), rates_0to1=(1e-08, 1e-08))
    """

    name: ClassVar[str] = "asymmetric"
    fresh_per_batch: ClassVar[bool] = True
    stream: ClassVar[int] = 4
    default_repeats: ClassVar[int] = 10
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--rate-1to0",
            field="rates_1to0",
            metavar="R",
            type=float,
            repeated=True,
            optional=True,
            help="In place of --rate: flips per stored one, as in undervolted memories (repeatable).",
        ),
        Option(
            flag="--rate-0to1",
            field="rates_0to1",
            metavar="R",
            type=float,
            repeated=True,
            optional=True,
            help="Beside --rate-1to0 or alone: flips per stored zero; one for all, or one for each, in the same order.",
        ),
    )

    rates_1to0: tuple[float, ...]
    rates_0to1: tuple[float, ...]

    def __init__(self, rates_1to0: float | Iterable[float] = 0.0, rates_0to1: float | Iterable[float] = 0.0) -> None:
        falls = _checked(rates_1to0)
        rises = _checked(rates_0to1)
        if len(falls) == 1:
            falls *= len(rises)
        if len(rises) == 1:
            rises *= len(falls)
        if len(falls) != len(rises):
            raise UsageError(
                "as many rates of flips to 1 as of flips to 0 were expected, or one for all; "
                f"got {len(rises)} and {len(falls)}"
            )
        pairs = sorted(zip(falls, rises, strict=True), key=max)
        object.__setattr__(self, "rates_1to0", tuple(fall for fall, _ in pairs))
        object.__setattr__(self, "rates_0to1", tuple(rise for _, rise in pairs))
        if len(self._pairs) < len(pairs):
            raise UsageError(f"pairs of rates with another larger rate each were expected, got {falls} and {rises}")

    @property
    def _pairs(self) -> dict[float, tuple[float, float]]:
        """The rates of flips to 0 and to 1, by the larger one."""
        return {max(pair): pair for pair in zip(self.rates_1to0, self.rates_0to1, strict=True)}

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the larger rate of each pair.

        Raises:
            UsageError: activations can flip here.
        """
        space.require_stored("rates by stored value")
        return tuple(self._pairs)

    @property
    def note(self) -> str:
        """How often either value flips."""
        pairs = ", ".join(f"{fall:g} and {rise:g}" for fall, rise in self._pairs.values())
        return f"stored ones and stored zeros flip at different rates, which are shown by the larger one: {pairs}"

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        one_sided = "Every stored {} counted here flips with the same probability; nothing else does."
        if not any(self.rates_0to1):
            return one_sided.format("one")
        if not any(self.rates_1to0):
            return one_sided.format("zero")
        return "Every stored one counted here flips with one probability, every stored zero with another; nothing else."

    def has_patterns_of(self, other: FaultModel) -> bool:
        """Whether it has all pairs of rates of another one."""
        return isinstance(other, AsymmetricRates) and self._pairs.items() >= other._pairs.items()

    def joined_with(self, other: FaultModel) -> FaultModel:
        """Return the pairs of both, where these can be together; this one else.

        >>> AsymmetricRates(1e-6, 1e-8).joined_with(AsymmetricRates(1e-5, 1e-7))
        AsymmetricRates(rates_1to0=(1e-06, 1e-05), rates_0to1=(1e-08, 1e-07))
        """
        if not isinstance(other, AsymmetricRates):
            return self
        pairs = self._pairs | other._pairs
        falls = [fall for fall, _ in pairs.values()]
        rises = [rise for _, rise in pairs.values()]
        joined = AsymmetricRates(falls, rises)
        # of two pairs with one larger rate, it has that of the other
        return joined if joined.has_patterns_of(self) else self

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one pattern, whatever its number."""
        fall, rise = self._pairs[level]
        count = int(rng.binomial(space.bits, level))
        met = space.locate(distinct_positions(space.bits, count, rng))
        chance = np.where(space.is_set(met), fall, rise)
        return some_faults(met, rng.random(count) * level < chance)


def _checked(rates: float | Iterable[float]) -> tuple[float, ...]:
    """Return rates as they are given; none is a rate of 0.

    >>> _checked([1e-5, 1e-6, 1e-6]), _checked([])
    ((1e-05, 1e-06, 1e-06), (0.0,))
    """
    given = tuple(rates) if isinstance(rates, Iterable) else (rates,)
    return tuple(checked_rates(rate)[0] for rate in given) or (0.0,)
