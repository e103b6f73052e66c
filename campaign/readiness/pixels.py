"""What a model is fed: smallest, largest, mean and spread of every channel, and images that hold nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.samples import Samples
from ftonnx.words import number

__all__ = ["ChannelRange", "PixelRanges", "channel_axis"]

_LARGE: Final = 16.0
"""Beyond it lie pixels that nobody scaled; what is normalized stays below, and so do the digits' 0 to 16."""

_SMALL: Final = 1 / 64
"""Below it lie pixels that were scaled twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRange:
    """What one channel of an input holds, over all images that were looked at.

    Attributes:
        input: name of the array; empty where a sample is one array.
        channel: its number from 0; None for arrays that have no channels.
        low: smallest value.
        high: largest value.
        mean: of all values.
        std: their standard deviation.
    """

    input: str
    channel: int | None
    low: float
    high: float
    mean: float
    std: float

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of a sample that counts its channels; None where it is no image.

    >>> channel_axis((3, 224, 224)), channel_axis((224, 224, 3)), channel_axis((1, 8, 8)), channel_axis((16000,))
    (0, 2, 0, None)
    """
    if len(shape) != 3:
        return None
    return 0 if shape[0] <= shape[2] else 2


class PixelRanges:
    """Adds up what batches hold.

    Attributes:
        images: that were looked at.
        constant: how many of them hold one value only.
    """

    def __init__(self) -> None:
        self.images = 0
        self.constant = 0
        self._sums: dict[str, _Sums] = {}

    def add(self, samples: Samples, images: int) -> None:
        """Take in a batch of so many images."""
        self.images += images
        named = samples if isinstance(samples, Mapping) else {"": samples}
        for name, array in named.items():
            if array.dtype.kind not in "fiu" or not array.size:
                continue
            self._sums.setdefault(name, _Sums(array)).add(array)
        self.constant += _constant_images(samples, images)

    @property
    def channels(self) -> tuple[ChannelRange, ...]:
        """What every channel holds."""
        found: list[ChannelRange] = []
        for name, sums in self._sums.items():
            found += sums.ranges(name)
        return tuple(found)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What no sound images hold, whatever the model."""
        found = []
        if self.constant:
            found.append(f"images of one value all over: {number(self.constant)} of {number(self.images)}")
        still = [each for each in self.channels if each.low == each.high and each.channel is not None]
        if still and self.constant < self.images:
            listed = ", ".join(f"{each.channel} is {each.low:g}" for each in still)
            found.append(f"channels are of one value in all images: channel {listed}")
        return tuple(found)

    @property
    def scale_remark(self) -> str | None:
        """Say that floats lie in no usual range; some models take such, which their accuracy tells."""
        floats = [each for sums in self._sums.values() if sums.is_float for each in sums.ranges("")]
        if not floats:
            return None
        low = min(each.low for each in floats)
        high = max(each.high for each in floats)
        largest = max(abs(low), abs(high))
        if largest == 0 or _SMALL <= largest <= _LARGE:
            return None
        return (
            f"pixels run from {low:.4g} to {high:.4g} as they are fed, where most models take numbers near 0 and 1: "
            "see `scale`, `mean` and `std`"
        )


class _Sums:
    """Sums of one input's values by channel."""

    def __init__(self, first: NDArray[Any]) -> None:
        self.is_float = first.dtype.kind == "f"
        self._axis = channel_axis(first.shape[1:])
        channels = 1 if self._axis is None else first.shape[1 + self._axis]
        self._count = 0
        self._sum = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._low = np.full(channels, np.inf)
        self._high = np.full(channels, -np.inf)

    def add(self, array: NDArray[Any]) -> None:
        """Take in a batch."""
        rows = self._by_channel(array)
        self._count += rows.shape[1]
        self._sum += rows.sum(axis=1)
        self._squares += np.square(rows).sum(axis=1)
        self._low = np.minimum(self._low, rows.min(axis=1))
        self._high = np.maximum(self._high, rows.max(axis=1))

    def ranges(self, name: str) -> list[ChannelRange]:
        """Return what every channel holds."""
        means = self._sum / self._count
        variances = np.maximum(self._squares / self._count - np.square(means), 0)
        found = []
        for channel, mean in enumerate(means):
            each = ChannelRange(
                input=name,
                channel=None if self._axis is None else channel,
                low=float(self._low[channel]),
                high=float(self._high[channel]),
                mean=float(mean),
                std=float(np.sqrt(variances[channel])),
            )
            found.append(each)
        return found

    def _by_channel(self, array: NDArray[Any]) -> NDArray[np.float64]:
        """Return the values (channels, all of one)."""
        values = array.astype(np.float64)
        if self._axis is None:
            return values.reshape(1, -1)
        return np.moveaxis(values, 1 + self._axis, 0).reshape(values.shape[1 + self._axis], -1)


def _constant_images(samples: Samples, images: int) -> int:
    """Return how many images of a batch hold one value only; arrays of other kinds are no images."""
    if not isinstance(samples, np.ndarray) or channel_axis(samples.shape[1:]) is None:
        return 0
    rows = samples.reshape(images, -1)
    return int((rows.min(axis=1) == rows.max(axis=1)).sum())
