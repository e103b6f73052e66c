"""What is done to batches, whether they are one array or several."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Samples", "Shape", "arrays_of", "bytes_of", "count_of", "joined", "mapped", "part_of", "shape_of"]

Samples: TypeAlias = NDArray[Any] | Mapping[str, NDArray[Any]]
"""One row per sample: an array for a model with one input, or arrays by the inputs' names."""

Shape: TypeAlias = tuple[int, ...] | dict[str, tuple[int, ...]]
"""Of one sample."""


def arrays_of(samples: Samples) -> list[NDArray[Any]]:
    """Return the arrays."""
    return list(samples.values()) if isinstance(samples, Mapping) else [samples]


def mapped(samples: Samples, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Samples:
    """Return the samples with every array changed.

    >>> mapped({"a": np.zeros(2)}, lambda array: array + 1)
    {'a': array([1., 1.])}
    """
    if isinstance(samples, Mapping):
        return {name: change(array) for name, array in samples.items()}
    return change(samples)


def part_of(samples: Samples, rows: slice | NDArray[Any]) -> Samples:
    """Return some of the samples."""
    return mapped(samples, lambda array: array[rows])


def count_of(samples: Samples) -> int:
    """Return the number of samples.

    >>> count_of(np.zeros((3, 2))), count_of({"a": np.zeros((3, 2)), "b": np.zeros(3)})
    (3, 3)
    """
    return len(arrays_of(samples)[0])


def bytes_of(samples: Samples) -> int:
    """Return how many bytes they take."""
    return sum(array.nbytes for array in arrays_of(samples))


def shape_of(samples: Samples) -> Shape:
    """Return the shape of one sample, by name where there are several arrays.

    >>> shape_of(np.zeros((3, 2))), shape_of({"a": np.zeros((3, 2)), "b": np.zeros(3)})
    ((2,), {'a': (2,), 'b': ()})
    """
    if isinstance(samples, Mapping):
        return {name: array.shape[1:] for name, array in samples.items()}
    return samples.shape[1:]


def joined(parts: Sequence[Samples]) -> Samples:
    """Return parts of one kind as one batch, uncopied where there is one.

    >>> joined([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in first}
    return np.concatenate(parts)  # type: ignore[arg-type]  # all are what the first is
