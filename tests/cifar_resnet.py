"""The CIFAR form of He et al.'s ResNets, written from the description beside the checkpoints; needs torch."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions; where the size changes, the shortcut drops every second pixel and pads channels."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.missing = stride, width - width_in

    def forward(self, x):
        """Return relu(F(x) + shortcut(x))."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.missing:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *[self.missing // 2] * 2))
        return functional.relu(y + x)


class CifarResNet(nn.Module):
    """conv, three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels, average pooling, linear."""

    def __init__(self, depth):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, (depth - 2) // 6)
        self.layer2 = self._stage(16, 32, (depth - 2) // 6)
        self.layer3 = self._stage(32, 64, (depth - 2) // 6)
        self.linear = nn.Linear(64, 10)

    @staticmethod
    def _stage(width_in, width, blocks):
        first = Block(width_in, width, 1 if width == width_in else 2)
        return nn.Sequential(first, *(Block(width, width, 1) for _ in range(blocks - 1)))

    def forward(self, x):
        """Return logits (batch, 10) for images (batch, 3, 32, 32)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def load(depth, path):
    """Return the network with the weights of a checkpoint, ready for evaluation."""
    stored = torch.load(path, weights_only=True, map_location="cpu")
    stored = stored.get("state_dict", stored)
    network = CifarResNet(depth)
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in stored.items()}, strict=True)
    return network.eval()
