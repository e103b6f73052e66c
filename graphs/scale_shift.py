"""A batch normalization as a per-channel scale and shift, in numbers; the edit of the graph is ``graphs.norms``."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExplicitNorm", "scale_and_shift"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitNorm:
    """One normalization that became ``x * scale + shift`` per channel.

    Attributes:
        scale: name of the new initializer gamma / sqrt(variance + epsilon), shape (channels, 1, ...).
        shift: name of the new initializer beta - mean * scale, shape (channels,).
        inputs: names of gamma, beta, mean and variance.
        epsilon: the node's own.
    """

    scale: str
    shift: str
    inputs: tuple[str, str, str, str]
    epsilon: float


def scale_and_shift(
    parameters: Iterable[NDArray[np.float32]],
    epsilon: float,
    *,
    precision: type[np.floating[Any]] = np.float32,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the per-channel scale and shift, each step rounded to ``precision`` and the result to float32.

    float32 is what ONNX Runtime computes with; float64 is closer to the real numbers.

    Args:
        parameters: gamma, beta, mean and variance, ``(channels,)`` each.
        epsilon: added to the variance.
        precision: float32 or float64.

    >>> one = np.ones(1, np.float32)
    >>> [a.tolist() for a in scale_and_shift([2 * one, one, 3 * one, 4 * one], 0.0)]
    [[1.0], [-2.0]]
    """
    wide = [np.asarray(each, precision) for each in parameters]
    gamma, beta, mean, variance = wide
    # a flipped variance may be negative: NaN is the right answer
    with np.errstate(all="ignore"):
        deviation = np.sqrt(variance + precision(epsilon))
        scale = gamma / deviation
        shift = beta - mean * scale
        rounded_scale = np.asarray(scale, np.float32)
        rounded_shift = np.asarray(shift, np.float32)
    return rounded_scale, rounded_shift
