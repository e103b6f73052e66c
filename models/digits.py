"""A small residual network for 8 x 8 gray images, in the manner of He et al. (2016); needs torch."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from ftonnx.models.layers import convolution_3x3

__all__ = ["BasicBlock", "DigitsNet", "digits", "trained_digits"]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, added to a shortcut.

    Takes ``(batch, c_in, h, w)`` and gives ``(batch, c_out, h / stride, w / stride)``, both float32.
    The shortcut is the identity, or a 1 x 1 convolution where the shape changes.
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = convolution_3x3(c_in, c_out, stride)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = convolution_3x3(c_out, c_out)
        self.bn2 = nn.BatchNorm2d(c_out)
        # two modules, so that each can get a threshold of its own
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            projection = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Block output, after the last ReLU."""
        residual = self.bn1(self.conv1(x))
        residual = self.relu1(residual)
        residual = self.bn2(self.conv2(residual))
        shortcut = self.shortcut(x)
        out: Tensor = self.relu2(residual + shortcut)
        return out


class DigitsNet(nn.Module):
    """Stem, three residual blocks and a linear classifier for images ``(batch, 1, 8, 8)`` float32.

    Sizes along the way: 16 x 8 x 8 after stem and first block, 16 x 4 x 4 after the max pooling, 32 x 4 x 4,
    48 x 2 x 2, then the global average. Every activation is a module of its own, so that it can be swapped.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = convolution_3x3(1, 16)
        self.bn = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.block1 = BasicBlock(16, 16)
        self.pool = nn.MaxPool2d(2)
        self.block2 = BasicBlock(16, 32)
        self.block3 = BasicBlock(32, 48, stride=2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(48, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(batch, classes)``."""
        x = self.bn(self.conv(x))
        x = self.relu(x)
        x = self.block1(x)
        x = self.pool(x)
        x = self.block2(x)
        x = self.block3(x)
        x = self.average(x)
        features = torch.flatten(x, 1)
        logits: Tensor = self.linear(features)
        return logits


def digits(num_classes: int = 10) -> DigitsNet:
    """The architecture of the embedded model ``digits``, with fresh weights from torch's global generator."""
    return DigitsNet(num_classes)


def trained_digits() -> DigitsNet:
    """The embedded network ``digits.onnx`` as a torch module; its logits are the file's.

    The file holds each convolution with its BatchNorm folded in, so here every BatchNorm is left with the identity
    and that bias.
    """
    tensors = _stored_tensors()
    # its fresh weights are all replaced: those of each BatchNorm are the identity already
    net = DigitsNet()
    with torch.no_grad():
        net.linear.weight.copy_(tensors["linear.weight"])
        net.linear.bias.copy_(tensors["linear.bias"])
        for name, layer in net.named_modules():
            # every layer with weights but the classifier
            if not isinstance(layer, nn.Conv2d):
                continue
            layer.weight.copy_(tensors[f"{name}.weight"])
            norm = net.get_submodule(_norm_behind(name))
            assert isinstance(norm, nn.BatchNorm2d)
            norm.bias.copy_(tensors[f"{name}.weight_bias"])
            # a variance of 1 is then exactly neutral
            norm.eps = 0.0
    return net


def _stored_tensors() -> dict[str, Tensor]:
    """The tensors of the embedded file, by name."""
    path = Path(__file__).with_name("digits.onnx")
    model = onnx.load(path)
    tensors = {}
    for stored in model.graph.initializer:
        array = onnx.numpy_helper.to_array(stored)
        # a copy, since an array over the file's bytes cannot be written to
        tensors[stored.name] = torch.from_numpy(array.copy())
    return tensors


def _norm_behind(convolution: str) -> str:
    """Name of the BatchNorm behind a convolution.

    >>> _norm_behind("block1.conv2"), _norm_behind("block2.shortcut.0")
    ('block1.bn2', 'block2.shortcut.1')
    """
    if convolution.endswith("shortcut.0"):
        shortcut = convolution.removesuffix(".0")
        return f"{shortcut}.1"
    return convolution.replace("conv", "bn")
