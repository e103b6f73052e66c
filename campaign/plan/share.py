"""What one of several machines does of a campaign, however it was asked for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Part", "Share"]


class Part(ABC):
    """A way to say which part of a campaign is done here; as a text, it is what a user writes.

    Attributes:
        name: of the setting.
    """

    __slots__ = ()

    name: ClassVar[str]

    @abstractmethod
    def share(self, *, samples: int, images_per_batch: int, units_per_batch: int) -> "Share":
        """Return what the part has of a campaign.

        Args:
            samples: images of the whole data set.
            images_per_batch: those of a batch; the last one may have fewer.
            units_per_batch: units of every batch.

        Raises:
            UsageError: a campaign of this size has no such part.
        """


@dataclass(frozen=True, slots=True)
class Share:
    """Units of a campaign: those of whole batches, and a run of further ones, counted through all batches.

    Attributes:
        whole: the batches.
        units_per_batch: number of units of a batch.
        pieces: the further units, each numbered ``batch * units_per_batch + its number in the batch``.
    """

    whole: range
    units_per_batch: int
    pieces: range = range(0)

    @property
    def batches(self) -> list[int]:
        """The batches of which it has units, in order."""
        size = self.units_per_batch
        cut = range(self.pieces.start // size, -(-self.pieces.stop // size)) if self.pieces else range(0)
        return [*self.whole, *cut]

    @property
    def units(self) -> int:
        """Their number."""
        return len(self.whole) * self.units_per_batch + len(self.pieces)

    def units_of(self, batch: int) -> range:
        """Return the numbers of a batch's units that it has, from 0."""
        size = self.units_per_batch
        if batch in self.whole:
            return range(size)
        start = max(self.pieces.start - batch * size, 0)
        stop = min(self.pieces.stop - batch * size, size)
        return range(start, max(start, stop))
