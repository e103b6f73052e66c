"""A small U-Net that finds clouds, trained in minutes: `python cloud_net.py DATA OUT`, where DATA holds 38-Cloud.

It writes `cloud_net.pth` for `ftonnx export cloud_net.py:cloud_net`, and `train.npz` and `test.npz`, tiles of 96 x 96
pixels with label maps. Tiles of one patch are taken in turns, as on a chessboard, so that accuracies are those of
scenes that the network knows. Tiles without any image are left out.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ftonnx.datasets import load_dataset

TILE = 96
PASSES = 60


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
    """What `ftonnx export cloud_net.py:cloud_net` calls."""
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


def train(net, images, labels):
    """Minimize the cross entropy of all pixels with Adam, tiles turned at random."""
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PASSES)
    x, y = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    for _ in range(PASSES):
        for chosen in torch.randperm(len(x)).split(8):
            turns = int(torch.randint(4, ()))
            scores = net(x[chosen].rot90(turns, (2, 3)))
            loss = functional.cross_entropy(scores, y[chosen].rot90(turns, (1, 2)), ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


def main(folder, out):
    """Train, and write weights and tiles."""
    data = load_dataset(f"cloud38:{folder}")
    torch.manual_seed(0)
    net = cloud_net()
    images, labels = tiles(data, parity=0)
    train(net, images, labels)
    out = Path(out)
    out.mkdir(exist_ok=True)
    torch.save(net.state_dict(), out / "cloud_net.pth")
    np.savez_compressed(out / "train.npz", images=images, labels=labels)
    images, labels = tiles(data, parity=1)
    np.savez_compressed(out / "test.npz", images=images, labels=labels)


if __name__ == "__main__":
    main(*sys.argv[1:])
