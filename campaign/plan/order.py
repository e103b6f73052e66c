"""In which order a campaign that may end early meets batches and patterns, portion by portion.

The order follows from the schedule alone, so that whoever sees complete portions decides alike, however many processes
did the work.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

__all__ = ["Draws", "Order", "Place", "WholeRounds"]

_FIRST: Final = 8  # draws in the first portion
_FIRST_PASS: Final = 32  # likewise, where every portion is a pass over the data
_AHEAD: Final = 2  # portions
_STREAM: Final = 2**64 - 1  # a NaN as a float64, which no fault rate is: patterns are keyed by (seed, rate)


class Place(NamedTuple):
    """A pattern on a batch, at whatever rate."""

    batch: int
    repeat: int


class Order(ABC):
    """The places of a campaign, in portions; each place is in one portion at most."""

    @abstractmethod
    def portion(self, number: int) -> Sequence[Place]:
        """Return the places of a portion, from 0; none once every place has been in one."""

    @abstractmethod
    def portion_of(self, place: Place) -> int | None:
        """Return the portion that a place is in; None where that is not known yet."""

    @property
    @abstractmethod
    def every_batch(self) -> bool:
        """Whether every batch is in every portion, so that its golden run is asked for at once."""

    @property
    @abstractmethod
    def most_ahead(self) -> int:
        """How many portions may be worked on before they are asked for."""

    @abstractmethod
    def repeats(self, number: int, batch: int) -> Sequence[int]:
        """Return the patterns that a portion has for a batch."""


class WholeRounds(Order):
    """Portion r is repeat r of every batch."""

    def __init__(self, batches: int, repeats: int) -> None:
        self._batches = batches
        self._repeats = repeats

    @property
    def every_batch(self) -> bool:
        """See ``Order``."""
        return True

    @property
    def most_ahead(self) -> int:
        """See ``Order``; they may be short."""
        return self._repeats

    def portion(self, number: int) -> Sequence[Place]:
        """See ``Order``."""
        if number >= self._repeats:
            return ()
        return [Place(batch, number) for batch in range(self._batches)]

    def portion_of(self, place: Place) -> int | None:
        """See ``Order``."""
        return place.repeat if place.repeat < self._repeats else None

    def repeats(self, number: int, batch: int) -> Sequence[int]:
        """See ``Order``."""
        return (number,) if number < self._repeats else ()


class Draws(Order):
    """The batches of images that are drawn at random, with replacement, one after the other.

    A draw meets the batch's next pattern, so that all draws are independent of each other and have the mean over all
    images in common. Portions grow by an eighth of what was drawn before, or where each of them takes a pass over the
    data double it.
    """

    def __init__(self, images: int, images_per_batch: int, repeats: int, *, seed: int, by_passes: bool) -> None:
        """Draw nothing yet.

        Args:
            images: in the data set.
            images_per_batch: those that share a pattern; the last batch may have fewer.
            repeats: patterns of a batch at most.
            seed: of the campaign.
            by_passes: batches are read in order only.
        """
        self._images = images
        self._images_per_batch = images_per_batch
        self._repeats = repeats
        self._first = _FIRST_PASS if by_passes else _FIRST
        self._growth = 1.0 if by_passes else 1 / 8
        self._rng = np.random.Generator(np.random.Philox(key=np.array([seed, _STREAM], np.uint64)))
        self._portions: list[list[Place]] = []
        self._repeats_of: list[dict[int, list[int]]] = []  # by portion and batch
        self._of: dict[Place, int] = {}
        self._drawn: Counter[int] = Counter()

    @property
    def every_batch(self) -> bool:
        """See ``Order``."""
        return False

    @property
    def most_ahead(self) -> int:
        """See ``Order``; each is longer than the one before, and likely to be the last."""
        return _AHEAD

    def portion(self, number: int) -> Sequence[Place]:
        """See ``Order``."""
        while len(self._portions) <= number:
            self._draw()
        return self._portions[number]

    def portion_of(self, place: Place) -> int | None:
        """See ``Order``."""
        return self._of.get(place)

    def repeats(self, number: int, batch: int) -> Sequence[int]:
        """See ``Order``."""
        self.portion(number)
        return self._repeats_of[number].get(batch, ())

    def _draw(self) -> None:
        """Draw one more portion; an empty one where a batch has no pattern left."""
        count = max(self._first, int(self._growth * len(self._of)))
        images = self._rng.integers(self._images, size=count)
        portion: list[Place] = []
        for batch in (images // self._images_per_batch).tolist():
            portion.append(Place(batch, self._drawn[batch]))
            self._drawn[batch] += 1
        if max(self._drawn.values()) > self._repeats:
            portion = []
        self._of.update(dict.fromkeys(portion, len(self._portions)))
        repeats: dict[int, list[int]] = {}
        for place in portion:
            repeats.setdefault(place.batch, []).append(place.repeat)
        self._repeats_of.append(repeats)
        self._portions.append(portion)
