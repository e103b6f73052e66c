"""Stand-alone batch normalization made explicit, so that its stored values keep a place in memory.

ONNX Runtime folds a BatchNormalization into other constants by arithmetic, after which a flip in
gamma, beta, mean or variance has nowhere to go. Written as a per-channel scale and shift (a
depthwise 1x1 Conv) with the same arithmetic, a flip is one recomputed channel.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["ExplicitNorm", "has_batch_norms", "scale_and_shift"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplicitNorm:
    """One normalization that became ``Conv(x, scale, shift)``.

    Attributes:
        scale: name of the new initializer gamma / sqrt(variance + epsilon), shape (channels, 1, 1, 1).
        shift: name of the new initializer beta - mean * scale, shape (channels,).
        inputs: names of gamma, beta, mean and variance.
        epsilon: the node's own.
    """

    scale: str
    shift: str
    inputs: tuple[str, str, str, str]
    epsilon: float


def scale_and_shift(
    gamma: NDArray[np.float32],
    beta: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the per-channel scale and shift, each step rounded to float32 as ONNX Runtime does.

    >>> one = np.ones(1, np.float32)
    >>> [a.tolist() for a in scale_and_shift(2 * one, one, 3 * one, 4 * one, 0.0)]
    [[1.0], [-2.0]]
    """
    with np.errstate(all="ignore"):  # a flipped variance may be negative: NaN is the right answer
        scale = gamma / np.sqrt(variance + np.float32(epsilon))
        return scale, beta - mean * scale


def has_batch_norms(model: onnx.ModelProto) -> bool:
    """Say whether a model's top level has BatchNormalization nodes."""
    return any(node.op_type == "BatchNormalization" for node in model.graph.node)
