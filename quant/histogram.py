"""A running histogram, and the range of values that an 8-bit code represents with the least error.

This is the method of torch.ao's ``HistogramObserver`` (which follows caffe2's norm minimization), written
from its description: 2,048 bins over the values seen so far; a batch that goes beyond them widens the
bins, and the old counts are spread over the new ones; the range is then narrowed from both ends, quantile by
quantile, for as long as the expected squared error of 256 codes falls.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["RunningHistogram"]

Counts = NDArray[np.float64]
Floats = NDArray[np.float32]

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
        self.lowest: float = np.inf
        self.highest: float = -np.inf
        self.counts: Counts = np.zeros(_BINS)

    def update(self, values: Floats) -> None:
        """Add one batch of values of any shape."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        smallest = float(flat.min())
        largest = float(flat.max())
        # looking at the ends is cheaper than a mask for every batch
        ends_are_finite = math.isfinite(smallest) and math.isfinite(largest)
        if not ends_are_finite:
            finite = flat[np.isfinite(flat)]
            self.update(finite)
            return
        low = min(smallest, self.lowest)
        high = max(largest, self.highest)
        fresh = _binned(flat, low, high)
        if self._is_empty():
            self.counts = fresh
        else:
            self.counts = fresh + self._rebinned(low, high)
        self.lowest = low
        self.highest = high

    def _is_empty(self) -> bool:
        return self.lowest > self.highest

    def _rebinned(self, low: float, high: float) -> Counts:
        """Return the counts so far in the bins of a range that includes the present one.

        Every old bin is cut into 16 parts, and each part goes to the new bin in which its centre lies.
        """
        same_low = low == self.lowest
        same_high = high == self.highest
        if same_low and same_high:
            return self.counts
        if self.lowest == self.highest:
            # all values so far are one and the same
            value = np.array([self.lowest], np.float32)
            one = _binned(value, low, high)
            alone: Counts = one * self.counts.sum()
            return alone
        parts = _BINS * _UPSAMPLING
        span = np.float32(self.highest - self.lowest)
        width = span / np.float32(parts)
        part_edges = _spread(self.lowest, self.highest, parts)
        centres = part_edges[:-1] + np.float32(0.5) * width
        edges = _spread(low, high, _BINS)
        above = np.searchsorted(edges, centres, side="right")
        # rounding may put a centre beyond the last edge
        places = np.clip(above - 1, 0, _BINS - 1)
        share = self.counts / _UPSAMPLING
        shares = np.repeat(share, _UPSAMPLING)
        rebinned = np.bincount(places, shares, minlength=_BINS)
        return rebinned.astype(np.float64)

    def best_range(self) -> tuple[float, float]:
        """Return the range (low, high) that 256 equal steps represent with the least squared error.

        The search starts at the full range and moves, in steps of 1e-5 of the values, the end behind which
        more bins become free; it stops when the error grows. Without any values the range is (0, 0).
        """
        if self._is_empty():
            return 0.0, 0.0
        if self.lowest == self.highest:
            return self.lowest, self.highest
        width = (self.highest - self.lowest) / _BINS
        best = _narrowed(self.counts, width)
        low = self.lowest + width * best.start
        high = self.lowest + width * best.stop
        return low, high


def _narrowed(counts: Counts, width: float) -> range:
    """Return the bins of the best range."""
    # torch's precision decides ties of whole counts
    below = np.cumsum(counts).astype(np.float32)
    total = float(below[-1])
    start = 0
    end = _BINS - 1
    cut_low = 0.0
    cut_high = 1.0
    least = np.inf
    while cut_low < cut_high:
        next_low = cut_low + _QUANTILE_STEP
        next_high = cut_high - _QUANTILE_STEP
        # the range only ever narrows
        least_count = np.float32(next_low * total)
        left = int(below.searchsorted(least_count, side="left"))
        left = min(max(left, start), end)
        most_count = np.float32(next_high * total)
        right = int(below.searchsorted(most_count, side="right"))
        right = max(min(right - 1, end), start)
        if left - start > end - right:
            cut_low = next_low
            right = end
        else:
            cut_high = next_high
            left = start
        # a step that frees no bin has the error that is known already
        if left == start and right == end:
            continue
        error = _squared_error(counts, width, left, right)
        if error > least:
            break
        least = error
        start = left
        end = right
    return range(start, end + 1)


def _binned(values: Floats, low: float, high: float) -> Counts:
    """Count values in [low, high] in equal bins; a single value has the middle of a range of its own."""
    if low == high:
        low -= 1
        high += 1
    counts = np.zeros(_BINS, np.int64)
    lowest = np.float32(low)
    span = np.float32(high) - lowest
    width = span / np.float32(_BINS)
    for first in range(0, values.size, _CHUNK):
        chunk = values[first : first + _CHUNK]
        distance = (chunk - lowest) / width
        places = distance.astype(np.int64)
        # the highest value lies on the last edge, which belongs to the last bin
        places = np.minimum(places, _BINS - 1)
        counts += np.bincount(places, minlength=_BINS)
    return counts.astype(np.float64)


def _spread(low: float, high: float, parts: int) -> Floats:
    """Return ``parts`` + 1 equally spaced float32 values, counted from the nearer end.

    >>> _spread(0.0, 1.0, 4).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    first = np.float32(low)
    last = np.float32(high)
    narrow = (last - first) / np.float32(parts)
    # in float64, so that products are rounded once, as by a fused multiply-add
    step = np.float64(narrow)
    index = np.arange(parts + 1)
    from_first = first + step * index
    from_last = last - step * (parts - index)
    nearer_to_first = index < (parts + 1) // 2
    values = np.where(nearer_to_first, from_first, from_last)
    return values.astype(np.float32)


def _squared_error(counts: Counts, bin_width: float, start: int, end: int) -> float:
    """Return the summed squared error of 256 equal codes over bins ``start`` to ``end``.

    A code stands for the centre of its interval; values outside take the outermost codes. The values of a
    bin are taken as uniform between its edges, so its error is the integral of squared distances: whole codes
    contribute step^3 / 12 each, the first and the last one a part. Arithmetic is float32, as torch's:
    where the error is flat, rounding decides how far the search goes.
    """
    bins = end - start + 1
    step = np.float32(bin_width * bins / _CODES)
    # subnormal values
    if step == 0:
        return 0.0
    width = np.float32(bin_width)
    half = step / np.float32(2)
    index = np.arange(_BINS) - start
    lower = index.astype(np.float32) * width
    upper = lower + width
    first = _code_at(lower, step)
    last = _code_at(upper, step)
    density = counts.astype(np.float32) / width
    # from a bin's lower edge to the end of its first code, whole codes, and on to its upper edge
    first_centre = (first + np.float32(0.5)) * step
    from_lower = _integral(lower - first_centre, half)
    whole_codes = last - first - np.float32(1)
    between = whole_codes * _integral(-half, half)
    last_centre = last * step + half
    to_upper = _integral(-half, upper - last_centre)
    # the order of the sums is torch's, and so is their rounding
    errors = density * from_lower
    errors = errors + density * between
    errors = errors + density * to_upper
    total: np.float64 = errors.sum(dtype=np.float64)
    return float(total)


def _code_at(edges: Floats, step: np.float32) -> Floats:
    """Return which code stands for the values at the edges of bins."""
    codes = np.floor(edges / step)
    clipped: Floats = np.clip(codes, 0, _CODES - 1)
    return clipped


def _integral(begin: Any, end: Any) -> Any:
    """Return the integral of x^2 from ``begin`` to ``end``.

    >>> float(_integral(np.float32(0), np.float32(3)))
    9.0
    """
    upper = end * end * end
    lower = begin * begin * begin
    return (upper - lower) / np.float32(3)
