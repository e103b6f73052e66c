"""As many single faults in every stored tensor."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftonnx.inject.fault_models.base import MOST_FAULTS, FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.words import whole_number

__all__ = ["PerLayer"]


@dataclass(frozen=True, slots=True)
class PerLayer(FaultModel):
    """Stratified by stored tensor: ``count`` patterns for each, of one random bit of it.

    Attributes:
        count: patterns per tensor, 1 or more; pattern i lies in tensor i // count.

    Raises:
        UsageError: ``count`` is below 1.
    """

    name: ClassVar[str] = "per-layer"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--per-layer",
            field="count",
            metavar="M",
            type=int,
            help="In place of rates: M single faults in every stored tensor.",
        ),
    )

    count: int

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "count", whole_number("per_layer", self.count, 1, MOST_FAULTS))

    @property
    def is_single_bit(self) -> bool:
        """It is."""
        return True

    @property
    def is_an_upset(self) -> bool:
        """It is, once the tensors are weighted by their bits."""
        return True

    @property
    def is_drawn(self) -> bool:
        """They are."""
        return True

    @property
    def per_tensor(self) -> int:
        """The number."""
        return self.count

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return "Every tensor is hit equally often, in every bit with the same probability; nothing else flips."

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return one bit's share of N."""
        return (1 / space.bits,)

    def patterns(self, space: FaultSpace) -> int:
        """Return ``count`` times the number of tensors."""
        return self.count * len(space.targets)

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one bit of tensor ``index // count``."""
        tensor = index // self.count
        within = rng.integers(space.targets[tensor].bits, size=1)
        return space.locate(space.starts[tensor] + within)
