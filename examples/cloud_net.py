"""A small U-Net that finds clouds, for `ftonnx finetune cloud_net.py:cloud_net`; and the tiles that it learns from.

`python cloud_net.py DATA OUT`, where DATA holds 38-Cloud, writes `train.npz` and `test.npz`: tiles of 96 x 96 pixels
with label maps. Tiles of one patch are taken in turns, as on a chessboard, so that accuracies are those of scenes that
the network knows. Tiles without any image are left out.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ftonnx.datasets import load_dataset

TILE = 96


def block(channels_in, channels_out):
    """Two convolutions."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class CloudNet(nn.Module):
    """Two steps down, two steps up, what was seen on the way down beside."""

    def __init__(self, classes):
        super().__init__()
        self.first, self.second, self.deepest = block(4, 8), block(8, 16), block(16, 32)
        self.up2, self.join2 = nn.ConvTranspose2d(32, 16, 2, 2), block(32, 16)
        self.up1, self.join1 = nn.ConvTranspose2d(16, 8, 2, 2), block(16, 8)
        self.scores = nn.Conv2d(8, classes, 1)

    def forward(self, images):
        """Scores (batch, classes, height, width)."""
        first = self.first(images)
        second = self.second(functional.max_pool2d(first, 2))
        deepest = self.deepest(functional.max_pool2d(second, 2))
        second = self.join2(torch.cat([self.up2(deepest), second], 1))
        first = self.join1(torch.cat([self.up1(second), first], 1))
        return self.scores(first)


def cloud_net(num_classes=2):
    """What `ftonnx finetune` and `ftonnx export` call."""
    return CloudNet(num_classes or 2)


def tiles(data, parity):
    """Every other tile of every patch: images (tiles, 4, 96, 96) and label maps."""
    found = []
    for (image,), (labels,) in data.batches(1):
        side = labels.shape[0] // TILE
        for row, column in np.ndindex(side, side):
            part = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            pixels = image[:, part[0], part[1]]
            if (row + column) % 2 == parity and pixels.any():
                found.append((pixels, labels[part]))
    images, maps = zip(*found, strict=True)
    return np.stack(images), np.stack(maps)


def main(folder, out):
    """Write the tiles to train on, and those to test on."""
    data = load_dataset(f"cloud38:{folder}")
    out = Path(out)
    out.mkdir(exist_ok=True)
    for parity, split in enumerate(("train", "test")):
        images, labels = tiles(data, parity)
        np.savez_compressed(out / f"{split}.npz", images=images, labels=labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
