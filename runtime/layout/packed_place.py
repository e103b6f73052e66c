"""Where one weight's elements lie in a block of packed weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["PackedPlace", "by_channel", "channel_sums", "has_parts", "sum_positions"]

_ELEMENTS_AT_ONCE: Final = 1 << 20
_SUM_BYTES: Final = 4
_WIDTHS: Final = (1, 4)  # of int8 and float32, in bytes
_Positions = NDArray[np.int64]
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPlace:
    """Where one weight's elements lie in a block of packed weights.

    An element is the k-th of an output channel c; it lies at ``below[k] + steps[run[k], c]``.

    Positions count elements of the weight from the block's beginning. Sums are there of elements of one byte only.

    Attributes:
        width: of an element, in bytes.
        channels_last: whether the channels are the weight's last axis, not its first.
        groups: equal parts of the block, each with the sums and the elements of as many channels.
        size: of the block, in bytes.
        below: positions of channel 0's elements.
        run: per element of a channel, which row of ``steps`` applies.
        steps: (runs, channels) distances from channel 0.
    """

    width: int
    channels_last: bool
    groups: int
    size: int
    below: NDArray[np.int32]
    run: NDArray[np.int32]
    steps: NDArray[np.int32]

    @property
    def channels(self) -> int:
        """Output channels of the weight."""
        channels: int = self.steps.shape[1]
        return channels

    @property
    def has_sums(self) -> bool:
        """Whether the sums of channels are in the block."""
        return self.width == 1

    @property
    def elements(self) -> int:
        """Elements of the weight."""
        return self.channels * len(self.below)

    def split(self, elements: _Positions) -> tuple[_Positions, _Positions]:
        """Return the channel of each flat element, and its number there."""
        if self.channels_last:
            number, channel = np.divmod(elements, self.channels)
        else:
            channel, number = np.divmod(elements, len(self.below))
        return channel, number

    def positions(self, channel: _Positions, number: _Positions) -> _Positions:
        """Return the positions of elements."""
        run = self.run[number]
        below = self.below[number].astype(np.int64)
        return below + self.steps[run, channel]

    def sum_positions(self, channel: _Positions) -> _Positions:
        """Return where the sums of channels lie, counted in int32 words."""
        words = self.size // _SUM_BYTES
        return sum_positions(channel, self.channels, self.groups, words)

    def explains(self, block: _Bytes, weight: NDArray[Any]) -> bool:
        """Say whether a block is what a weight becomes when it is packed, sums included."""
        if len(block) != self.size or weight.size != self.elements or weight.itemsize != self.width:
            return False
        rows = by_channel(weight, self.channels_last)
        if self.has_sums and not np.array_equal(channel_sums(rows), self._stored_sums(block)):
            return False
        words = _words(self.width)
        held = block.view(words)
        number = np.arange(len(self.below))
        for channels in self._some_channels():
            positions = self.positions(channels[:, np.newaxis], number)
            if not np.array_equal(held[positions], rows[channels].view(words)):
                return False
        return True

    def require_inside(self) -> None:
        """Refuse a place that leaves its block.

        Raises:
            ValueError: it does.
        """
        if self.width not in _WIDTHS:
            raise ValueError("elements of such a width are not packed")
        if len(self.run) != len(self.below) or self.run.min() < 0 or self.run.max() >= len(self.steps):
            raise ValueError("an element has no steps")
        # in 64 bits: a forged table must not wrap around into the block
        below = self.below.astype(np.int64)
        lowest = below + self.steps.min(axis=1)[self.run]
        highest = below + self.steps.max(axis=1)[self.run]
        if lowest.min() < 0 or highest.max() >= self.size // self.width:
            raise ValueError("a place leaves its block")
        if self.has_sums and not has_parts(self.size, self.channels, self.groups):
            raise ValueError("a place has no sums")

    def _stored_sums(self, block: _Bytes) -> NDArray[np.int32]:
        every = np.arange(self.channels)
        words = block.view(np.int32)
        return words[self.sum_positions(every)]

    def _some_channels(self) -> Iterator[_Positions]:
        """Yield channels, as many at a time as make no large temporaries."""
        at_once = max(1, _ELEMENTS_AT_ONCE // len(self.below))
        for start in range(0, self.channels, at_once):
            end = min(start + at_once, self.channels)
            yield np.arange(start, end)


def by_channel(weight: NDArray[Any], channels_last: bool) -> NDArray[Any]:
    """Return a weight as (channels, elements of a channel)."""
    if channels_last:
        return np.ascontiguousarray(weight.reshape(-1, weight.shape[-1]).T)
    return weight.reshape(weight.shape[0], -1)


def channel_sums(rows: NDArray[Any]) -> NDArray[np.int32]:
    """Return the sum of each row of (channels, elements of a channel)."""
    total: NDArray[np.int32] = rows.sum(axis=1, dtype=np.int32)
    return total


def has_parts(size: int, channels: int, groups: int) -> bool:
    """Say whether a block has equal parts with the sums of as many channels each."""
    if groups < 1 or channels % groups or size % (groups * _SUM_BYTES):
        return False
    return channels * _SUM_BYTES <= size


def sum_positions(channel: _Positions, channels: int, groups: int, words: int) -> _Positions:
    """Return where sums lie in a block of so many int32 words.

    >>> sum_positions(np.arange(4), 4, 2, 100).tolist()
    [0, 1, 50, 51]
    """
    group, within = np.divmod(channel, channels // groups)
    return group * (words // groups) + within


def _words(width: int) -> np.dtype[Any]:
    """Return the unsigned integers of so many bytes.

    >>> _words(4)
    dtype('uint32')
    """
    return np.dtype(f"u{width}")
