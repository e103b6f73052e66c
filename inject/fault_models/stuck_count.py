"""The same number of random stuck bits in every pattern."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import MOST_FAULTS, FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.fault_models.stuck_rates import (
    STUCK_AT,
    StuckAt,
    checked_stuck_at,
    stuck_chances,
    stuck_flips,
    stuck_words,
)
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import whole_number

__all__ = ["StuckCount"]


@dataclass(frozen=True, slots=True, init=False)
class StuckCount(FaultModel):
    """A fixed number of distinct stuck bits, every subset equally likely: with 1, a sample of all stuck-at faults.

    An injection whose bits store the value at which they are stuck changes nothing, and counts as any other.

    Attributes:
        count: stuck bits per pattern, 1 or more.
        at: 0, 1 or ``both``, see ``StuckAt``.

    Raises:
        UsageError: a value is out of range, or ``count`` is above the N of a space.
    """

    name: ClassVar[str] = "stuck-per-run"
    stream: ClassVar[int] = 3
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--stuck-per-run",
            field="count",
            metavar="K",
            type=int,
            help="In place of rates: injections of K distinct random stuck bits, each met by all images.",
        ),
        STUCK_AT,
    )

    count: int
    at: StuckAt

    def __init__(self, count: int, at: str | int = "both") -> None:
        object.__setattr__(self, "count", whole_number("stuck_per_run", count, 1, MOST_FAULTS))
        object.__setattr__(self, "at", checked_stuck_at(at))

    @property
    def note(self) -> str:
        """What is stuck, and what counts."""
        return stuck_words(self.at)

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return stuck_chances(self.at)

    @property
    def injected(self) -> str:
        """So many stuck bits.

        >>> StuckCount(1, 0).injected, StuckCount(3).injected
        ('one bit stuck at 0', '3 bits stuck at 0 or 1')
        """
        bits = "one bit" if self.count == 1 else f"{self.count:,} bits"
        return f"{bits} stuck at {'0 or 1' if self.at == 'both' else self.at}"

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the number's share of N.

        Raises:
            UsageError: more are asked for than there are, or activations can flip here.
        """
        space.require_stored("stuck bits")
        if self.count > space.bits:
            raise UsageError(f"{self.count} distinct bits were asked for, but only {space.bits} can be stuck")
        return (self.count / space.bits,)

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw ``count`` distinct bits, whatever the pattern's number."""
        return stuck_flips(space, distinct_positions(space.bits, self.count, rng), self.at, rng)
