"""The part of a campaign that some images make, all of whose units are done on one machine."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from ftonnx.campaign.plan.share import Part, Share
from ftonnx.errors import UsageError

__all__ = ["ImageRange"]

_FORM: Final = re.compile(r"([0-9]{0,18}):([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ImageRange(Part):
    """Images that follow each other in the whole data set.

    Attributes:
        start: number of the first one, from 0.
        stop: number of the one behind the last; None for all that follow.

    Raises:
        UsageError: there is no image between them.
    """

    name: ClassVar[str] = "images"

    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        """Check the order."""
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise UsageError(f"`images`: A:B with A from 0 and below B was expected, got {self}")

    def __str__(self) -> str:
        return f"{self.start}:{'' if self.stop is None else self.stop}"

    @classmethod
    def parse(cls, text: str) -> "ImageRange":
        """Read ``A:B``; a side may be empty, as in a slice.

        Raises:
            UsageError: it is something else.

        >>> ImageRange.parse("64:128"), ImageRange.parse(":64")
        (ImageRange(start=64, stop=128), ImageRange(start=0, stop=64))
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise UsageError(f"`images`: A:B such as 0:1024, 1024: or :1024 was expected, got {text!r}")
        first, behind = found.groups()
        return cls(int(first or 0), int(behind) if behind else None)

    def share(self, *, samples: int, images_per_batch: int, units_per_batch: int) -> Share:
        """Return the batches that the images make; see ``Part``.

        >>> ImageRange(16, 20).share(samples=20, images_per_batch=8, units_per_batch=6).whole
        range(2, 3)
        """
        stop = samples if self.stop is None else self.stop
        if self.start >= samples or stop > samples:
            raise UsageError(f"`images={self}` was asked for, and the data set has {samples} images, numbered from 0")
        for limit in (self.start, stop):
            self._require_whole(limit, samples, images_per_batch)
        batches = range(self.start // images_per_batch, -(-stop // images_per_batch))
        return Share(whole=batches, units_per_batch=units_per_batch)

    def _require_whole(self, limit: int, samples: int, size: int) -> None:
        """Refuse a limit inside a batch, whose images make one unit of work."""
        if limit % size == 0 or limit == samples:
            return
        before = limit // size * size
        behind = min(before + size, samples)
        raise UsageError(
            f"`images={self}` cuts a batch of {size} images, which meet a fault pattern together: {before} or {behind} "
            f"was expected in place of {limit}"
        )
