"""The clipped ReLU as a torch module; needs torch."""

import math

import torch
from torch import Tensor, nn

from ftonnx.errors import UsageError

__all__ = ["CReLU"]


class CReLU(nn.Module):
    """``x if 0 <= x <= threshold else 0``, elementwise (paper, equation 4); NaN gives 0.

    ``torch.onnx.export(..., dynamo=True)`` turns each into one node ``ftonnx::CReLU`` with the threshold as an
    initializer; ``ftonnx.export.add_crelu_function`` then gives the model the node's definition in standard ONNX.

    Args:
        threshold: A number, or a tensor ``(channels,)`` with one value for each channel of an input
            ``(batch, channels, ...)``. Infinity clips nothing.

    Raises:
        UsageError: A threshold is negative or NaN, or the tensor has more than one axis.
    """

    threshold: Tensor

    def __init__(self, threshold: float | Tensor = math.inf) -> None:
        super().__init__()
        values = torch.as_tensor(threshold, dtype=torch.get_default_dtype())
        # the caller's tensor stays the caller's
        values = values.detach().clone()
        _check(values)
        self.register_buffer("threshold", values)

    def forward(self, x: Tensor) -> Tensor:
        """The clipped input, of the same shape."""
        limit = self._limit(x)
        # one node of our own, which a tracer would otherwise take apart
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "ftonnx::CReLU",
                (x, limit),
                dtype=x.dtype,
                shape=x.shape,
                version=1,
            )
        # both comparisons are false for NaN
        inside = (x >= 0) & (x <= limit)
        return torch.where(inside, x, 0)

    def _limit(self, x: Tensor) -> Tensor:
        """The threshold, shaped to broadcast over ``(batch, channels, ...)``."""
        spatial = x.ndim - 2
        if self.threshold.ndim == 0 or spatial <= 0:
            return self.threshold
        ones = [1] * spatial
        # folded into the initializer on export
        return self.threshold.view(-1, *ones)

    def extra_repr(self) -> str:
        """The threshold, as shown in the repr of a network."""
        return f"threshold={self.threshold.tolist()}"


def _check(values: Tensor) -> None:
    expected = "a number from 0 up, or one for each channel"
    if values.ndim > 1:
        shape = tuple(values.shape)
        raise UsageError(f"threshold: expected {expected}, got shape {shape}")
    # not "below 0": NaN is not below either
    accepted = values >= 0
    if not bool(accepted.all()):
        raise UsageError(f"threshold: expected {expected}, got {values.tolist()}")
