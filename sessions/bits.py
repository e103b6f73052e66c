"""Comparison of outputs in every bit: NaN payloads count, and so does the sign of a zero."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

__all__ = ["same_bits", "same_value"]

_COMPARED_AT_ONCE: Final = 1 << 18  # bytes; a difference is mostly found in the first piece


def same_bits(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Say whether two lists of outputs agree in every bit, NaN payloads included."""
    if len(left) != len(right):
        return False
    pairs = zip(left, right, strict=True)
    return all(_same_output(one, other) for one, other in pairs)


def _same_output(left: Any, right: Any) -> bool:
    """Compare two outputs: tensors, or the sequences, maps and texts that some classifiers return beside them."""
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return _same_array(left, right)
    return repr(left) == repr(right)


def _same_array(left: NDArray[Any], right: NDArray[Any]) -> bool:
    if left.shape != right.shape:
        return False
    if left.dtype != right.dtype:
        return False
    if left.dtype == object:  # texts, of which the array holds the addresses
        return bool(left.tolist() == right.tolist())
    return left.tobytes() == right.tobytes()


def same_value(left: ort.OrtValue, right: ort.OrtValue) -> bool:
    """Say whether two tensors of ONNX Runtime's own agree in every bit."""
    if left.shape() != right.shape():
        return False
    one = _bytes_of(left)
    other = _bytes_of(right)
    for start in range(0, len(one), _COMPARED_AT_ONCE):
        piece = slice(start, start + _COMPARED_AT_ONCE)
        if not np.array_equal(one[piece], other[piece]):
            return False
    return True


def _bytes_of(value: ort.OrtValue) -> NDArray[np.uint8]:
    """Return a tensor's memory, uncopied."""
    array = value.numpy()
    # a scalar has no bytes to look at before it has an axis
    line = np.atleast_1d(array).reshape(-1)
    flat: NDArray[np.uint8] = line.view(np.uint8)
    return flat
