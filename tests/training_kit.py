"""Small images that a small network learns in seconds."""

from dataclasses import asdict

import numpy as np

from ftonnx.datasets import Preprocess, load_dataset

SIDE = 8


def write_squares(folder, count=48, classes=3, seed=0):
    """Write an ``.npz`` per split of noisy images, each brighter in a corner that is its class; return the spec."""
    for number, split in enumerate(("train", "val", "test")):
        rng = np.random.default_rng((seed, number))
        labels = np.arange(count) % classes
        images = rng.integers(0, 120, (count, 3, SIDE, SIDE), np.uint8)
        for image, label in zip(images, labels, strict=True):
            top, left = divmod(int(label), 2)
            image[:, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4] += 100
        np.savez(folder / f"{split}.npz", images=images, labels=labels)
    return f"npz:{folder}"


def opened(spec, **fields):
    """Return training and validation images."""
    preprocess = Preprocess(**fields)
    return tuple(load_dataset(spec, split=split, preprocess=preprocess) for split in ("train", "val"))


class Stopped(Exception):
    """Stands for whatever ends a process."""


def stop_after(images):
    """Return a callback that ends a training after so many images."""

    def progress(done, most):
        if done >= images:
            raise Stopped

    return progress


def without_times(log):
    """Return what a log says that another run would repeat."""
    return [{key: value for key, value in asdict(each).items() if key != "seconds"} for each in log.epochs]


FACTORY = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(8 * 16, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(self.drop(x.flatten(1)))


def small(num_classes=3):
    return Small(num_classes)


class Pooled(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        x = x + torch.relu(self.conv2(x))
        return self.fc(x.mean((2, 3)))


def pooled(num_classes=3):
    return Pooled(num_classes)


class Breaking(Small):
    steps = 0

    def forward(self, x):
        logits = super().forward(x)
        if self.training:
            Breaking.steps += 1
        return logits * float("nan") if Breaking.steps > 5 else logits


def breaking(num_classes=3):
    Breaking.steps = 0
    return Breaking(num_classes)


class Odd(Small):
    def forward(self, x):
        return super().forward(torch.erf(x))


def odd(num_classes=3):
    return Odd(num_classes)


class First(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(8, num_classes)
        self.hidden = nn.Linear(3 * 64, 8)

    def forward(self, x):
        return self.fc(torch.relu(self.hidden(x.flatten(1))))


def first(num_classes=3):
    return First(num_classes)


def empty():
    return nn.Flatten()
"""


def write_factory(folder):
    """Write a file with some networks, and return its path."""
    path = folder / "nets.py"
    path.write_text(FACTORY)
    return path
