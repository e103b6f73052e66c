"""The same number of random bits in every pattern."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import MOST_FAULTS, FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.fault_models.sampling import distinct_positions
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import whole_number

__all__ = ["FaultCount"]


@dataclass(frozen=True, slots=True)
class FaultCount(FaultModel):
    """A fixed number of distinct bits, every subset equally likely.

    Attributes:
        count: bits per pattern, 1 or more.

    Raises:
        UsageError: ``count`` is below 1, or above the N of a space.
    """

    name: ClassVar[str] = "faults-per-run"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--faults-per-run",
            field="count",
            metavar="K",
            type=int,
            help="In place of rates: injections of K distinct random bits, each met by all images.",
        ),
    )

    count: int

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "count", whole_number("faults_per_run", self.count, 1, MOST_FAULTS))

    @property
    def is_single_bit(self) -> bool:
        """Whether it is one bit."""
        return self.count == 1

    @property
    def is_an_upset(self) -> bool:
        """One random bit is one; several at a time are not."""
        return self.count == 1

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return the number's share of N."""
        if self.count > space.bits:
            raise UsageError(f"{self.count} distinct bits were asked for, but only {space.bits} can flip")
        return (self.count / space.bits,)

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw ``count`` distinct bits, whatever the pattern's number."""
        return space.locate(distinct_positions(space.bits, self.count, rng))
