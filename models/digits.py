"""A small residual network for 8 x 8 gray images, in the manner of He et al. (2016); needs torch."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

__all__ = ["BasicBlock", "DigitsNet", "digits", "trained_digits"]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm, added to a shortcut.

    Takes ``(batch, c_in, h, w)`` and gives ``(batch, c_out, h / stride, w / stride)``, both float32.
    The shortcut is the identity, or a 1 x 1 convolution where the shape changes.
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            projection = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """Block output, after the last ReLU."""
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        out: Tensor = self.relu2(residual + self.shortcut(x))
        return out


class DigitsNet(nn.Module):
    """Stem, three residual blocks and a linear classifier for images ``(batch, 1, 8, 8)`` float32.

    Sizes along the way: 16 x 8 x 8 after stem and first block, 16 x 4 x 4 after the max pooling, 32 x 4 x 4,
    48 x 2 x 2, then the global average. Every activation is a module of its own, so that it can be swapped.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1, bias=False)
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
        x = self.relu(self.bn(self.conv(x)))
        x = self.pool(self.block1(x))
        x = self.block3(self.block2(x))
        logits: Tensor = self.linear(torch.flatten(self.average(x), 1))
        return logits


def digits(num_classes: int = 10) -> DigitsNet:
    """The architecture of the embedded model ``digits``, with fresh weights from torch's global generator."""
    return DigitsNet(num_classes)


def trained_digits() -> DigitsNet:
    """The embedded network ``digits.onnx`` as a torch module; its logits are the file's.

    The file holds each convolution with its BatchNorm folded in, so here every BatchNorm is left with the identity
    and that bias.
    """
    stored = onnx.load(Path(__file__).with_name("digits.onnx")).graph.initializer
    tensors = {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in stored}
    net = DigitsNet()
    with torch.no_grad():
        net.linear.weight.copy_(tensors["linear.weight"])
        net.linear.bias.copy_(tensors["linear.bias"])
        for convolution, norm in _convolutions(net):
            layer, batch_norm = net.get_submodule(convolution), net.get_submodule(norm)
            assert isinstance(layer, nn.Conv2d)
            assert isinstance(batch_norm, nn.BatchNorm2d)
            layer.weight.copy_(tensors[f"{convolution}.weight"])
            batch_norm.bias.copy_(tensors[f"{convolution}.weight_bias"])
            batch_norm.eps = 0.0  # a variance of 1 is then exactly neutral
    return net


def _convolutions(net: DigitsNet) -> list[tuple[str, str]]:
    """Names of the convolutions and of the BatchNorm behind each."""
    names = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]
    return [(name, f"{name[:-1]}1" if name.endswith("shortcut.0") else name.replace("conv", "bn")) for name in names]
