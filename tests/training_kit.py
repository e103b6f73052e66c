"""Small images that a small network learns in seconds."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

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


def write_maps(folder, count=24, seed=0):
    """Write an ``.npz`` per split of noisy images with label maps; return the spec.

    Class 0 is dark, 1 is a bright square and 2 a blue column; a row at the top has no label.
    """
    for number, split in enumerate(("train", "val", "test")):
        rng = np.random.default_rng((seed, number))
        images = rng.integers(0, 90, (count, 3, SIDE, SIDE), np.uint8)
        labels = np.zeros((count, SIDE, SIDE), np.uint8)
        for image, label in zip(images, labels, strict=True):
            top, left = rng.integers(0, 5, 2)
            image[:, top : top + 3, left : left + 3] += 120
            label[top : top + 3, left : left + 3] = 1
            column = rng.integers(0, SIDE)
            image[:, :, column] = [[0], [0], [255]]
            label[:, column] = 2
            label[0] = 255
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


def kill(call, images, cwd):
    """Run Python code in a process that kills itself after so many images, as its callback ``progress`` counts them."""
    code = (
        "import os, signal\n"
        "def progress(done, most):\n"
        f"    if done >= {images}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{call}\n"
    )
    tests = Path(__file__).parent
    paths = [str(tests), str(tests / "training"), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, check=False, cwd=cwd)
    assert ended.returncode == -signal.SIGKILL


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


def one_too_few():
    return Small(2)


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


class Untested(Small):
    def forward(self, x):
        logits = super().forward(x)
        return logits if self.training else logits * float("nan")


def untested(num_classes=3):
    return Untested(num_classes)


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


class Pixels(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.1)
        self.scores = nn.Conv2d(8, num_classes, 1)

    def forward(self, x):
        return self.scores(self.drop(torch.relu(self.bn(self.conv(x)))))


def pixels(num_classes=3):
    return Pixels(num_classes)


class UNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.join = nn.Conv2d(16, 8, 3, padding=1)
        self.scores = nn.Conv2d(8, num_classes, 1)

    def forward(self, x):
        seen = torch.relu(self.down(x))
        deep = torch.relu(self.deep(nn.functional.max_pool2d(seen, 2)))
        both = torch.cat([torch.relu(self.up(deep)), seen], 1)
        return self.scores(torch.relu(self.join(both)))


def unet(num_classes=3):
    return UNet(num_classes)


class Halved(Pixels):
    def forward(self, x):
        return super().forward(x)[:, :, ::2, ::2]


def halved(num_classes=3):
    return Halved(num_classes)


def two():
    return Pixels(2)


class Listed(Pixels):
    def forward(self, x):
        return {"out": super().forward(x)}


def listed(num_classes=3):
    return Listed(num_classes)


def swin(num_classes=3):
    from ftonnx.models.swin import Form
    from ftonnx.models.swin_unet import SwinUNet

    form = Form(side=32, embed=8, depths=(1, 1, 1, 1), heads=(1, 2, 2, 4), window=2, patch=2)
    return SwinUNet(num_classes, form)


def empty():
    return nn.Flatten()
"""


def write_factory(folder):
    """Write a file with some networks, and return its path."""
    path = folder / "nets.py"
    path.write_text(FACTORY)
    return path
