"""The fault patterns of several seeds as those of one campaign: how many each has, and how these are numbered there.

Not aware of folders, nor of what flips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgspec

from ftonnx.words import some_of

__all__ = ["Numbering", "PooledSeeds", "SeedRepeats"]

_NAMED: Final = 5  # seeds


@dataclass(frozen=True, slots=True)
class SeedRepeats:
    """What one seed has.

    Attributes:
        seed: of the fault patterns.
        repeats: fault patterns per rate and batch, or injections.
    """

    seed: int
    repeats: int

    def __str__(self) -> str:
        return f"{self.seed} ({self.repeats:,} {'repeat' if self.repeats == 1 else 'repeats'})"

    def to_dict(self) -> dict[str, int]:
        """Return JSON values."""
        return {"seed": self.seed, "repeats": self.repeats}


class Numbering(NamedTuple):
    """Which numbers the repeats of one seed have among those of several.

    Attributes:
        block: repeats of the seed that stay side by side: all, or those of one tensor.
        stride: those of all seeds.
        offset: of the seed's first among these.
    """

    block: int
    stride: int
    offset: int

    def of(self, repeat: int) -> int:
        """Return the number of one of the seed's repeats.

        >>> [Numbering(block=2, stride=5, offset=3).of(repeat) for repeat in (0, 1, 2, 3)]
        [3, 4, 8, 9]
        """
        group, place = divmod(repeat, self.block)
        return group * self.stride + self.offset + place

    def origin(self, number: int) -> int | None:
        """Return which of the seed's repeats has a number; None where another seed's has it.

        >>> [Numbering(block=2, stride=5, offset=3).origin(number) for number in (0, 3, 8)]
        [None, 0, 2]
        """
        group, place = divmod(number, self.stride)
        within = place - self.offset
        return group * self.block + within if 0 <= within < self.block else None


@dataclass(frozen=True, slots=True)
class PooledSeeds:
    """The seeds whose patterns are together in a folder; those of the first come first.

    Attributes:
        seeds: with the repeats of each.
        groups: into how many equal ones each seed's repeats fall, which stay together: the tensors, where patterns are
            drawn tensor by tensor, else 1.
    """

    seeds: tuple[SeedRepeats, ...]
    groups: int = 1

    def __str__(self) -> str:
        return f"seeds {some_of([str(each) for each in self.seeds], _NAMED)}"

    @property
    def repeats(self) -> int:
        """Those of all seeds."""
        return sum(each.repeats for each in self.seeds)

    @property
    def numberings(self) -> dict[int, Numbering]:
        """Which numbers each seed's repeats have, by seed.

        >>> PooledSeeds((SeedRepeats(0, 10), SeedRepeats(7, 30))).numberings[7]
        Numbering(block=30, stride=40, offset=10)
        """
        blocks = [each.repeats // self.groups for each in self.seeds]
        offsets = accumulate(blocks, initial=0)
        found: dict[int, Numbering] = {}
        for each, block, offset in zip(self.seeds, blocks, offsets, strict=False):
            found[each.seed] = Numbering(block, sum(blocks), offset)
        return found

    def origin(self, number: int) -> tuple[int, int]:
        """Return whose repeat has a number: the seed, and which of its own it is."""
        candidates = [(seed, numbering.origin(number)) for seed, numbering in self.numberings.items()]
        return next((seed, own) for seed, own in candidates if own is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"seeds": [each.to_dict() for each in self.seeds], "groups": self.groups}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PooledSeeds":
        """Read back what ``to_dict`` returned."""
        return msgspec.convert(values, cls)
