"""Every bit of the fault space, one after the other."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftonnx.inject.fault_models.base import FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace

__all__ = ["EveryBit"]


@dataclass(frozen=True, slots=True)
class EveryBit(FaultModel):
    """Every bit of the space in turn: pattern i is bit i."""

    name: ClassVar[str] = "exhaustive"
    covers_all: ClassVar[bool] = True
    options: ClassVar[tuple[Option, ...]] = (
        Option(flag="--exhaustive", help="In place of rates: every bit in turn, one injection each."),
    )

    @property
    def is_single_bit(self) -> bool:
        """It is."""
        return True

    @property
    def is_an_upset(self) -> bool:
        """It is, as every bit is hit once."""
        return True

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return "Every bit counted here flips once; nothing else does."

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return one bit's share of N."""
        return (1 / space.bits,)

    def patterns(self, space: FaultSpace) -> int:
        """Return N."""
        return space.bits

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Return the bit with the number ``index``; nothing is random."""
        return space.locate(np.array([index], np.int64))
