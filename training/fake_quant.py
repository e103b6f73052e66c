"""Fake quantization: values rounded to what int8 codes hold, with gradients passed straight through.

Scales and zero points are computed as ONNX Runtime's quantizer computes them, so that a network trained so is the file
that is written (Jacob et al. 2018; torch.ao's default is 127.5 steps to the largest weight, ONNX Runtime's 127).
"""

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["ActivationQuantizer", "WeightQuantizer"]

_AVERAGING: Final = 0.01
"""Weight of the newest value in moving averages, as in torch.ao's observers."""

_LARGEST: Final = 127
_LEAST_SCALE: Final = float(torch.finfo(torch.float32).tiny)


class ActivationQuantizer(nn.Module):
    """Affine codes of 8 bits for one activation, with a range that follows what is observed."""

    low: Tensor
    high: Tensor

    def __init__(self, low: float, high: float, codes: tuple[int, int], *, fixed: bool) -> None:
        """Begin with a range.

        Args:
            low: Of the range.
            high: Of the range.
            codes: The smallest and the largest code.
            fixed: Never change the range: it follows from a threshold.
        """
        super().__init__()
        self.register_buffer("low", torch.tensor(min(float(low), 0.0)))
        self.register_buffer("high", torch.tensor(max(float(high), 0.0)))
        self._codes = codes
        self.observing = not fixed

    def freeze(self) -> None:
        """Keep the range from now on."""
        self.observing = False

    def observe(self, values: Tensor) -> None:
        """Move the range towards that of some values."""
        if not (self.training and self.observing):
            return
        with torch.no_grad():
            self.low += _AVERAGING * (values.amin().clamp(max=0) - self.low)
            self.high += _AVERAGING * (values.amax().clamp(min=0) - self.high)

    def scale(self) -> Tensor:
        """S of x = (q - Z) S; 1 for an activation that is always 0."""
        scale = self._exact_scale()
        return torch.where(scale < _LEAST_SCALE, torch.ones_like(scale), scale)

    def zero_point(self) -> Tensor:
        """Z of x = (q - Z) S, int32; 0 for an activation that is always 0."""
        smallest, largest = self._codes
        scale = self._exact_scale()
        exact = torch.round(smallest - self.low.double() / scale.double()).clamp(smallest, largest)
        return torch.where(scale < _LEAST_SCALE, torch.zeros_like(exact), exact).to(torch.int32)

    def _exact_scale(self) -> Tensor:
        smallest, largest = self._codes
        span = self.high.double() - self.low.double()
        return (span / (largest - smallest)).float()

    def forward(self, values: Tensor) -> Tensor:
        """Round values to those that have a code."""
        rounded: Tensor = torch.fake_quantize_per_tensor_affine(
            values, self.scale(), self.zero_point(), self._codes[0], self._codes[1]
        )
        return rounded


class WeightQuantizer(nn.Module):
    """Symmetric codes from -127 to 127 for one weight, with one scale, or one per output channel."""

    largest: Tensor

    def __init__(self, weight: Tensor, axis: int | None) -> None:
        """Begin with the scale of a weight.

        Args:
            weight: It.
            axis: Of the output channels; None for one scale.
        """
        super().__init__()
        self._axis = axis
        self.observing = True
        self.register_buffer("largest", self._largest_of(weight.detach()))

    def freeze(self) -> None:
        """Keep the scale from now on."""
        self.observing = False

    def scale(self) -> Tensor:
        """S of w = q S."""
        scale = self.largest / _LARGEST
        return torch.where(scale < _LEAST_SCALE, torch.ones_like(scale), scale)

    def forward(self, weight: Tensor) -> Tensor:
        """Round a weight to values that have a code."""
        if self.training and self.observing:
            with torch.no_grad():
                self.largest += _AVERAGING * (self._largest_of(weight) - self.largest)
        scale = self.scale()
        zero = torch.zeros_like(scale, dtype=torch.int32)
        if self._axis is None:
            rounded: Tensor = torch.fake_quantize_per_tensor_affine(weight, scale, zero, -_LARGEST, _LARGEST)
            return rounded
        axis = self._axis
        by_channel: Tensor = torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -_LARGEST, _LARGEST)
        return by_channel

    def _largest_of(self, weight: Tensor) -> Tensor:
        if self._axis is None:
            return weight.abs().amax()
        others = [axis for axis in range(weight.ndim) if axis != self._axis]
        return weight.abs().amax(dim=others) if others else weight.abs()
