"""Layers that several of our networks are made of; needs torch."""

from torch import nn

__all__ = ["convolution_3x3"]


def convolution_3x3(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size at stride 1, for a BatchNorm behind it."""
    return nn.Conv2d(
        c_in,
        c_out,
        kernel_size=3,
        stride=stride,
        padding=1,
        # the BatchNorm behind it has one
        bias=False,
    )
