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
        values = torch.as_tensor(threshold, dtype=torch.get_default_dtype()).detach().clone()
        if values.ndim > 1 or not bool((values >= 0).all()):
            got = f"shape {tuple(values.shape)}" if values.ndim > 1 else values.tolist()
            raise UsageError(f"threshold: expected a number from 0 up, or one for each channel, got {got}")
        self.register_buffer("threshold", values)

    def forward(self, x: Tensor) -> Tensor:
        """The clipped input, of the same shape."""
        limit = self.threshold
        if limit.ndim and x.ndim > 2:
            limit = limit.view(-1, *[1] * (x.ndim - 2))  # folded into the initializer on export
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic("ftonnx::CReLU", (x, limit), dtype=x.dtype, shape=x.shape, version=1)
        return torch.where((x >= 0) & (x <= limit), x, 0)

    def extra_repr(self) -> str:
        """The threshold, as shown in the repr of a network."""
        return f"threshold={self.threshold.tolist()}"
