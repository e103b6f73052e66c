"""Batches for models that insist on one batch size."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["dimension", "fixed_batch", "padded", "unpadded"]


def fixed_batch(model: onnx.ModelProto) -> int | None:
    """Return the batch size that a model's first input insists on, None where any will do."""
    stored = {tensor.name for tensor in model.graph.initializer}
    first = next((value for value in model.graph.input if value.name not in stored), None)
    return None if first is None else dimension(first, 0)


def dimension(value: onnx.ValueInfoProto, axis: int) -> int | None:
    """Return a fixed size, None for a free or unknown one; some exporters write -1 for free."""
    dims = value.type.tensor_type.shape.dim
    return dims[axis].dim_value if axis < len(dims) and dims[axis].dim_value > 0 else None


def padded(images: NDArray[np.float32], size: int | None) -> NDArray[np.float32]:
    """Repeat the last image until there are ``size``; None takes any number.

    >>> padded(np.float32([1, 2]), 4).tolist()
    [1.0, 2.0, 2.0, 2.0]
    """
    missing = max((size or len(images)) - len(images), 0)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images


def unpadded(values: NDArray[Any], images: int, size: int | None) -> NDArray[Any]:
    """Return the part of a tensor that belongs to the first ``images`` of ``size`` images.

    A tensor may hold several rows per image (the windows of a transformer), or be the same for all images.

    >>> unpadded(np.float32([1, 2, 3, 4, 5, 6]), 2, 3).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    if size is None or images == size or not values.ndim or len(values) % size:
        return values
    return values[: len(values) // size * images]
