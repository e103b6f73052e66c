"""Single faults by strata: as many in some bits of a stored tensor as each is given."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Self

import numpy as np

from ftonnx.errors import UsageError
from ftonnx.inject.fault_models.base import MOST_FAULTS, FaultModel
from ftonnx.inject.fault_models.options import Option
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace
from ftonnx.inject.target import Target
from ftonnx.words import bit_positions, whole_number, whole_of

__all__ = ["Strata", "Stratum"]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Some bits of every element of a stored tensor, and how many single faults they get.

    Attributes:
        tensor: its name.
        bits: numbers of bits, counted from the least significant; kept ascending.
        count: faults, 1 or more.

    Raises:
        UsageError: there is no bit, or ``count`` is below 1.

    >>> str(Stratum("conv.weight", (30, 31, 29), 8))
    'conv.weight:29,30,31:8'
    """

    tensor: str
    bits: tuple[int, ...]
    count: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        bits = sorted({whole_number("bits", bit, 0, 63) for bit in self.bits})
        if not bits:
            raise UsageError(f"stratum {self.tensor!r}: numbers of bits were expected, got none")
        object.__setattr__(self, "bits", tuple(bits))
        object.__setattr__(self, "count", whole_number("count", self.count, 1, MOST_FAULTS))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``TENSOR:BITS:M``; only the last two colons are looked at.

        Raises:
            UsageError: the text is something else.

        >>> Stratum.parse("block1/conv:0:28-31:50")
        Stratum(tensor='block1/conv:0', bits=(28, 29, 30, 31), count=50)
        """
        tensor, _, rest = text.rpartition(":")
        tensor, _, bits = tensor.rpartition(":")
        count = whole_of(rest)
        if not tensor or count is None:
            raise UsageError(f"TENSOR:BITS:M such as conv.weight:28-31:50 was expected, got {text!r}")
        return cls(tensor, bit_positions(bits), count)

    def __str__(self) -> str:
        bits = ",".join(map(str, self.bits))
        return f"{self.tensor}:{bits}:{self.count}"


@dataclass(frozen=True, slots=True, init=False)
class Strata(FaultModel):
    """One random bit per pattern, of one stratum after the other.

    Attributes:
        strata: what gets how many patterns, in the order of the patterns.

    Raises:
        UsageError: there is no stratum.
    """

    name: ClassVar[str] = "strata"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            flag="--stratum",
            field="strata",
            metavar="TENSOR:BITS:M",
            type=Stratum.parse,
            repeated=True,
            help="In place of rates: M single faults in these bits of a tensor, as conv.weight:28-31:50 (repeatable).",
        ),
    )

    strata: tuple[Stratum, ...]

    def __init__(self, strata: Iterable[Stratum]) -> None:
        given = tuple(strata)
        if not given:
            raise UsageError("a stratum or several were expected, such as conv.weight:28-31:50; got none")
        object.__setattr__(self, "strata", given)

    @property
    def is_single_bit(self) -> bool:
        """It is."""
        return True

    @property
    def is_drawn(self) -> bool:
        """They are."""
        return True

    @property
    def chances(self) -> str:
        """See ``FaultModel.chances``."""
        return "Only some bits of some tensors flip, each as often as its stratum says; nothing else does."

    def levels(self, space: FaultSpace) -> tuple[float, ...]:
        """Return one bit's share of N.

        Raises:
            UsageError: a tensor or a bit is not there.
        """
        for stratum in self.strata:
            _, target = _place(space, stratum)
            absent = set(stratum.bits) - set(target.bit_numbers)
            if absent:
                raise UsageError(f"stratum {stratum}: {target.tensor!r} has no bit {min(absent)} that can flip")
        return (1 / space.bits,)

    def patterns(self, space: FaultSpace) -> int:
        """Return the sum of the strata's numbers."""
        return sum(stratum.count for stratum in self.strata)

    def to_dict(self) -> dict[str, Any]:
        """Return the strata as they are written."""
        return {"name": self.name, "strata": [str(stratum) for stratum in self.strata]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read the strata."""
        return cls(Stratum.parse(text) for text in values["strata"])

    def _pattern(self, space: FaultSpace, level: float, rng: np.random.Generator, index: int) -> Faults:
        """Draw one bit of the stratum in which pattern ``index`` lies."""
        stratum = self.strata[_stratum_of(self.strata, index)]
        number, target = _place(space, stratum)
        element = rng.integers(target.elements, size=1)
        bit = rng.choice(np.array(stratum.bits), size=1)
        return Faults.in_order(np.array([number]), element, bit)


def _stratum_of(strata: Sequence[Stratum], index: int) -> int:
    """Return the number of the stratum of a pattern.

    >>> [_stratum_of((Stratum("a", (0,), 2), Stratum("b", (0,), 1)), index) for index in range(3)]
    [0, 0, 1]
    """
    ends = list(accumulate(stratum.count for stratum in strata))
    return bisect_right(ends, index)


def _place(space: FaultSpace, stratum: Stratum) -> tuple[int, Target]:
    """Return the number of a stratum's tensor, and the tensor.

    Raises:
        UsageError: it is no target.
    """
    for number, target in enumerate(space.targets):
        if target.tensor == stratum.tensor:
            return number, target
    raise UsageError(f"stratum {stratum}: no tensor of this name can flip; `ftonnx inspect` lists those that can")
