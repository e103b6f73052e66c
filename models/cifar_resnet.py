"""The residual networks for CIFAR-10 of He et al. (2016), section 4.2, with parameter-free shortcuts; needs torch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ftonnx.models.layers import convolution_3x3

__all__ = ["CifarBlock", "CifarResNet"]


class CifarBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, added to the input.

    Where the size changes, the shortcut takes every second pixel and pads the new channels with zeros, half of
    them on each side.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution_3x3(c_in, c_out, stride)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = convolution_3x3(c_out, c_out)
        self.bn2 = nn.BatchNorm2d(c_out)
        # two modules, so that each can get a threshold of its own
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.stride = stride
        # half of the new channels on each side
        self.padding = (c_out - c_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Block output ``(batch, c_out, h / stride, w / stride)``, after the last ReLU."""
        residual = self.bn1(self.conv1(x))
        residual = self.relu1(residual)
        residual = self.bn2(self.conv2(residual))
        shortcut = self._shortcut(x)
        out: Tensor = self.relu2(residual + shortcut)
        return out

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.padding == 0:
            return x
        step = slice(None, None, self.stride)
        every_second = x[:, :, step, step]
        # torch counts the sides from the last axis: width, height, channels
        sides = (0, 0, 0, 0, self.padding, self.padding)
        return functional.pad(every_second, sides)


class CifarResNet(nn.Module):
    """Three stages of ``(depth - 2) / 6`` blocks with 16, 32 and 64 channels for images ``(batch, 3, 32, 32)``.

    Args:
        depth: Layers with weights: 20, 32, 44, 56, …
        num_classes: Size of the classifier.
    """

    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        # two layers in each block, three stages, the first convolution and the classifier
        blocks = (depth - 2) // 6
        self.conv1 = convolution_3x3(3, 16)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        # as in the paper, which starts from He's own initialization
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(batch, classes)``."""
        x = self.bn1(self.conv1(x))
        x = self.relu(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.average(x)
        features = torch.flatten(x, 1)
        logits: Tensor = self.linear(features)
        return logits


def _stage(c_in: int, c_out: int, stride: int, blocks: int) -> nn.Sequential:
    # only the first block of a stage changes the size
    first = CifarBlock(c_in, c_out, stride)
    layers = [first]
    for _ in range(1, blocks):
        block = CifarBlock(c_out, c_out, 1)
        layers.append(block)
    return nn.Sequential(*layers)
