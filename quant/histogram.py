"""A running histogram, and the range of values that an 8-bit code represents with the least error.

This is the method of torch.ao's ``HistogramObserver`` (which follows caffe2's norm minimization), written
from its description: 2,048 bins over the values seen so far; a batch that goes beyond them widens the
bins, and the old counts are spread over the new ones; the range is then narrowed from both ends, quantile by
quantile, for as long as the expected squared error of 256 codes falls.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["RunningHistogram"]

_BINS: Final = 2048
_CODES: Final = 256
_UPSAMPLING: Final = 16
_QUANTILE_STEP: Final = 1e-5
_CHUNK: Final = 1 << 16
"""Values binned at a time, so that temporaries stay in the processor's cache."""


class RunningHistogram:
    """Counts of all values seen, in equal bins between the lowest and the highest of them.

    Infinities are left out, as by torch's observer; the caller sees to it that there is no NaN.

    Attributes:
        lowest: smallest value seen, +Inf before the first one.
        highest: largest value seen, -Inf before the first one.
        counts: values per bin, ``(2048,)`` float64; fractions appear when bins are widened.

    >>> histogram = RunningHistogram()
    >>> histogram.update(np.array([-1.0, 0.0, 1.0], np.float32))
    >>> histogram.update(np.array([3.0], np.float32))
    >>> histogram.lowest, histogram.highest, float(histogram.counts.sum())
    (-1.0, 3.0, 4.0)
    """

    def __init__(self) -> None:
        self.lowest, self.highest = np.inf, -np.inf
        self.counts: NDArray[np.float64] = np.zeros(_BINS)

    def update(self, values: NDArray[np.float32]) -> None:
        """Add one batch of values of any shape."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            self.update(flat[np.isfinite(flat)])
            return
        first = self.lowest > self.highest
        low, high = min(low, self.lowest), max(high, self.highest)
        fresh = _binned(flat, low, high)
        self.counts = fresh if first else fresh + self._rebinned(low, high)
        self.lowest, self.highest = low, high

    def _rebinned(self, low: float, high: float) -> NDArray[np.float64]:
        """Return the counts so far in the bins of a range that includes the present one.

        Every old bin is cut into 16 parts, and each part goes to the new bin in which its centre lies.
        """
        if (low, high) == (self.lowest, self.highest):
            return self.counts
        if self.lowest == self.highest:
            alone: NDArray[np.float64] = _binned(np.array([self.lowest], np.float32), low, high) * self.counts.sum()
            return alone
        parts = _BINS * _UPSAMPLING
        width = np.float32(self.highest - self.lowest) / np.float32(parts)
        centres = _spread(self.lowest, self.highest, parts)[:-1] + np.float32(0.5) * width
        edges = _spread(low, high, _BINS)
        places = np.clip(np.searchsorted(edges, centres, side="right") - 1, 0, _BINS - 1)
        parts_of_counts = np.repeat(self.counts / _UPSAMPLING, _UPSAMPLING)
        return np.bincount(places, parts_of_counts, minlength=_BINS).astype(np.float64)

    def best_range(self) -> tuple[float, float]:
        """Return the range (low, high) that 256 equal steps represent with the least squared error.

        The search starts at the full range and moves, in steps of 1e-5 of the values, the end behind which
        more bins become free; it stops when the error grows. Without any values the range is (0, 0).
        """
        if self.lowest > self.highest:
            return 0.0, 0.0
        if self.lowest == self.highest:
            return self.lowest, self.highest
        width = (self.highest - self.lowest) / _BINS
        below = np.cumsum(self.counts).astype(np.float32)  # torch's precision decides ties of whole counts
        total = float(below[-1])
        start, end, cut_low, cut_high, least = 0, _BINS - 1, 0.0, 1.0, np.inf
        while cut_low < cut_high:
            next_low, next_high = cut_low + _QUANTILE_STEP, cut_high - _QUANTILE_STEP
            left = min(max(int(np.searchsorted(below, np.float32(next_low * total), side="left")), start), end)
            right = max(min(int(np.searchsorted(below, np.float32(next_high * total), side="right")) - 1, end), start)
            if left - start > end - right:
                cut_low, candidate = next_low, (left, end)
            else:
                cut_high, candidate = next_high, (start, right)
            if candidate == (start, end):
                continue
            error = _squared_error(self.counts, width, *candidate)
            if error > least:
                break
            least, (start, end) = error, candidate
        return self.lowest + width * start, self.lowest + width * (end + 1)


def _binned(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Count values in [low, high] in equal bins; a single value has the middle of a range of its own."""
    if low == high:
        low, high = low - 1, high + 1
    counts = np.zeros(_BINS, np.int64)
    width = (np.float32(high) - np.float32(low)) / np.float32(_BINS)
    for first in range(0, values.size, _CHUNK):
        places = ((values[first : first + _CHUNK] - np.float32(low)) / width).astype(np.int64)
        counts += np.bincount(np.minimum(places, _BINS - 1), minlength=_BINS)
    return counts.astype(np.float64)


def _spread(low: float, high: float, parts: int) -> NDArray[np.float32]:
    """Return ``parts`` + 1 equally spaced float32 values, counted from the nearer end.

    >>> _spread(0.0, 1.0, 4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    first, last = np.float32(low), np.float32(high)
    step = np.float64((last - first) / np.float32(parts))  # products are rounded once, as by a fused multiply-add
    index = np.arange(parts + 1)
    upwards = index < (parts + 1) // 2
    return np.where(upwards, first + step * index, last - step * (parts - index)).astype(np.float32)


def _squared_error(counts: NDArray[np.float64], bin_width: float, start: int, end: int) -> float:
    """Return the summed squared error of 256 equal codes over bins ``start`` to ``end``.

    A code stands for the centre of its interval; values outside take the outermost codes. The values of a
    bin are taken as uniform between its edges, so its error is the integral of squared distances: whole codes
    contribute step^3 / 12 each, the first and the last one a part. Arithmetic is float32, as torch's:
    where the error is flat, rounding decides how far the search goes.
    """
    step = np.float32(bin_width * (end - start + 1) / _CODES)
    if step == 0:  # subnormal values
        return 0.0
    width, half = np.float32(bin_width), step / np.float32(2)
    lower = (np.arange(_BINS) - start).astype(np.float32) * width
    upper = lower + width
    first, last = (np.clip(np.floor(edge / step), 0, _CODES - 1) for edge in (lower, upper))
    density = counts.astype(np.float32) / width
    from_lower = _integral(lower - (first + np.float32(0.5)) * step, half)
    between = (last - first - np.float32(1)) * _integral(-half, half)
    to_upper = _integral(-half, upper - (last * step + half))
    total: np.float64 = (density * from_lower + density * between + density * to_upper).sum(dtype=np.float64)
    return float(total)


def _integral(begin: Any, end: Any) -> Any:
    """Return the integral of x^2 from ``begin`` to ``end``.

    >>> float(_integral(np.float32(0), np.float32(3)))
    9.0
    """
    return (end * end * end - begin * begin * begin) / np.float32(3)
