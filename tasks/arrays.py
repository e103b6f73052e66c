"""What several tasks ask of arrays with a row per image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bits_of", "count_true", "finite_rows", "same_rows"]


def finite_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows hold neither NaN nor Inf.

    >>> finite_rows(np.array([[1, 2], [np.nan, 1]])).tolist(), finite_rows(np.array([1, np.inf])).tolist()
    ([True, False], [True, False])
    """
    return _whole_rows(np.isfinite(values))


def bits_of(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values' bits as unsigned integers."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def same_rows(bits: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows are equal in every bit, given the bits."""
    return _whole_rows(bits == others)


def count_true(flags: NDArray[np.bool_]) -> int:
    """Return how many are set."""
    return int(np.count_nonzero(flags))


def _whole_rows(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows in which every flag is set."""
    if flags.ndim == 1:
        return flags
    rows = flags.reshape(len(flags), -1)
    whole: NDArray[np.bool_] = np.all(rows, axis=1)
    return whole
