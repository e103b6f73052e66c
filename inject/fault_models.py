"""Fault models: objects that draw fault patterns from a fault space."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.inject.faults import Faults
from ftonnx.inject.space import FaultSpace

__all__ = [
    "BitFlipRate", "EveryBit", "FaultCount", "FaultList", "FaultModel", "PerLayer", "distinct_positions", "unit_rng",
]  # fmt: skip


class FaultModel(ABC):
    """Anything that draws fault patterns.

    Attributes:
        fresh_per_batch: whether every batch of images meets a pattern of its own; else a pattern is an
            *injection* that every batch of the data set meets.
    """

    fresh_per_batch: ClassVar[bool] = False

    @abstractmethod
    def draw(self, space: FaultSpace, rng: np.random.Generator, index: int = 0) -> Faults:
        """Draw the pattern with the 0-based number ``index``."""

    @abstractmethod
    def expected_faults(self, space: FaultSpace) -> float:
        """Return the mean number of flipped bits per pattern."""

    def patterns(self, space: FaultSpace) -> int | None:
        """Return how many patterns the model defines; None where it can draw any number."""
        return None


@dataclass(frozen=True, slots=True)
class BitFlipRate(FaultModel):
    """Each of the N bits of the space flips independently with probability ``rate``.

    Drawn exactly in O(n_faults): the count is Binomial(N, rate), the bits are distinct and uniform.

    Attributes:
        rate: probability of a flip per bit, in [0, 1].

    Raises:
        UsageError: ``rate`` is outside [0, 1].
    """

    fresh_per_batch: ClassVar[bool] = True
    rate: float

    def __post_init__(self) -> None:
        """Check the rate."""
        if not 0.0 <= self.rate <= 1.0:
            raise UsageError(f"a fault rate is a probability per bit, so 0 to 1 was expected; got {self.rate}")

    def draw(self, space: FaultSpace, rng: np.random.Generator, index: int = 0) -> Faults:
        """Draw one pattern, whatever its number; O(n_faults) time and memory whatever the size of the space."""
        count = int(rng.binomial(space.bits, self.rate))
        return space.locate(distinct_positions(space.bits, count, rng))

    def expected_faults(self, space: FaultSpace) -> float:
        """Return N times the rate."""
        return space.bits * self.rate


@dataclass(frozen=True, slots=True)
class FaultCount(FaultModel):
    """A fixed number of distinct bits, every subset equally likely.

    Attributes:
        count: bits per pattern, 1 or more.

    Raises:
        UsageError: ``count`` is below 1, or above the N of a space.
    """

    count: int

    def __post_init__(self) -> None:
        """Check the number."""
        if self.count < 1:
            raise UsageError(f"1 or more faults per run were expected, got {self.count}")

    def draw(self, space: FaultSpace, rng: np.random.Generator, index: int = 0) -> Faults:
        """Draw ``count`` distinct bits, whatever the pattern's number."""
        self._check(space)
        return space.locate(distinct_positions(space.bits, self.count, rng))

    def expected_faults(self, space: FaultSpace) -> float:
        """Return the fixed number."""
        self._check(space)
        return self.count

    def _check(self, space: FaultSpace) -> None:
        if self.count > space.bits:
            raise UsageError(f"{self.count} distinct bits were asked for, but only {space.bits} can flip")


class _SingleFault(FaultModel):
    """One bit per pattern."""

    def expected_faults(self, space: FaultSpace) -> float:
        """Return 1."""
        return 1


@dataclass(frozen=True, slots=True)
class EveryBit(_SingleFault):
    """Every bit of the space in turn: pattern i is bit i."""

    def draw(self, space: FaultSpace, rng: np.random.Generator, index: int = 0) -> Faults:
        """Return the bit with the number ``index``; nothing is random."""
        return space.locate(np.array([index], np.int64))

    def patterns(self, space: FaultSpace) -> int:
        """Return N."""
        return space.bits


@dataclass(frozen=True, slots=True)
class PerLayer(_SingleFault):
    """Stratified by stored tensor: ``count`` patterns for each, of one random bit of it.

    Attributes:
        count: patterns per target, 1 or more; pattern i lies in target i // count.

    Raises:
        UsageError: ``count`` is below 1.
    """

    count: int

    def __post_init__(self) -> None:
        """Check the number."""
        if self.count < 1:
            raise UsageError(f"1 or more faults per layer were expected, got {self.count}")

    def draw(self, space: FaultSpace, rng: np.random.Generator, index: int = 0) -> Faults:
        """Draw one bit of target ``index // count``."""
        target = index // self.count
        return space.locate(space.starts[target] + rng.integers(space.targets[target].bits, size=1))

    def patterns(self, space: FaultSpace) -> int:
        """Return ``count`` times the number of targets."""
        return self.count * len(space.targets)


@dataclass(frozen=True, slots=True, eq=False)
class FaultList(_SingleFault):
    """Given single faults, one after the other.

    Attributes:
        target: int (n,), index into ``FaultSpace.targets``.
        element: int64 (n,), flat C-order index into the stored tensor.
        bit: uint8 (n,), counted from the least significant.
    """

    target: NDArray[np.int64]
    element: NDArray[np.int64]
    bit: NDArray[np.uint8]

    def draw(self, space: FaultSpace, rng: np.random.Generator, index: int = 0) -> Faults:
        """Return the fault with the number ``index``; nothing is random."""
        one = slice(index, index + 1)
        return Faults(self.target[one], self.element[one], self.bit[one])

    def patterns(self, space: FaultSpace) -> int:
        """Return the length of the list."""
        return len(self.target)


def distinct_positions(bits: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``count`` distinct positions in [0, bits), sorted, every subset equally likely.

    Drawing one after the other and skipping repeats is uniform over subsets. Above half of the
    space the positions that do *not* flip are drawn, so the work stays O(count).

    >>> distinct_positions(10**11, 3, np.random.default_rng(1)).tolist()
    [14415961271, 51182162470, 95046369632]
    >>> distinct_positions(4, 4, np.random.default_rng(1)).tolist()
    [0, 1, 2, 3]
    """
    if count > bits // 2:
        kept = np.ones(bits, np.bool_)
        kept[distinct_positions(bits, bits - count, rng)] = False
        return np.flatnonzero(kept)
    chosen = np.empty(0, np.int64)
    while len(chosen) < count:
        fresh = rng.integers(bits, size=count - len(chosen), dtype=np.int64)
        chosen = np.sort(np.concatenate((chosen, fresh)))
        chosen = chosen[np.append(True, np.diff(chosen) > 0)]  # np.unique would hash, which is slower
    return chosen


def unit_rng(seed: int, rate: float, repeat: int, batch: int) -> np.random.Generator:
    """Return the random stream of one unit of work.

    A Philox counter generator keyed by (seed, the rate's 64 bits) and started at (batch, repeat):
    the stream depends on nothing else, so not on order, workers, other rates or the model variant.

    Args:
        seed: 0 to 2**64 - 1.
        rate: bit-fault rate; its float64 bits enter the key.
        repeat: 0-based repeat.
        batch: 0-based batch index.

    Raises:
        UsageError: a number is negative or does not fit into 64 bits.
    """
    if not all(0 <= number < 2**64 for number in (seed, repeat, batch)):
        raise UsageError(
            f"seed, repeat and batch must be whole numbers from 0 to 2**64 - 1, got {seed}, {repeat}, {batch}"
        )
    key = np.array([seed, np.float64(rate).view(np.uint64)], np.uint64)
    counter = np.array([0, 0, batch, repeat], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
