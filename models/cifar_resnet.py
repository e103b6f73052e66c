"""The residual networks for CIFAR-10 of He et al. (2016), section 4.2, with parameter-free shortcuts; needs torch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CifarBlock", "CifarResNet"]


class CifarBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, added to the input.

    Where the size changes, the shortcut takes every second pixel and pads the new channels with zeros, half of
    them on each side.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.padding = (c_out - c_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Block output ``(batch, c_out, h / stride, w / stride)``, after the last ReLU."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.padding:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        out: Tensor = self.relu2(residual + x)
        return out


class CifarResNet(nn.Module):
    """Three stages of ``(depth - 2) / 6`` blocks with 16, 32 and 64 channels for images ``(batch, 3, 32, 32)``.

    Args:
        depth: Layers with weights: 20, 32, 44, 56, …
        num_classes: Size of the classifier.
    """

    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(batch, classes)``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(torch.flatten(self.average(x), 1))
        return logits


def _stage(c_in: int, c_out: int, stride: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(CifarBlock(c_in, c_out, stride), *(CifarBlock(c_out, c_out, 1) for _ in range(blocks - 1)))
