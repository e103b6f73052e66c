"""Batches for models that insist on one batch size."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["padded", "unpadded"]


def padded(images: NDArray[np.float32], size: int | None) -> NDArray[np.float32]:
    """Repeat the last image until there are ``size``; None takes any number.

    >>> padded(np.float32([1, 2]), 4).tolist()
    [1.0, 2.0, 2.0, 2.0]
    """
    missing = max((size or len(images)) - len(images), 0)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images


def unpadded(values: NDArray[np.float32], images: int, size: int | None) -> NDArray[np.float32]:
    """Return the part of a tensor that belongs to the first ``images`` of ``size`` images.

    A tensor may hold several rows per image (the windows of a transformer), or be the same for all images.

    >>> unpadded(np.float32([1, 2, 3, 4, 5, 6]), 2, 3).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    if size is None or images == size or not values.ndim or len(values) % size:
        return values
    return values[: len(values) // size * images]
