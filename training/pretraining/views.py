"""Views of the images of a data set: several of each, each time others."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ftonnx.datasets import Dataset, Preprocess
from ftonnx.errors import DataError
from ftonnx.training.making import made
from ftonnx.training.pretraining.method import Transform

__all__ = ["Views", "side_of"]

_COLOURS: Final = 3
_SEEDS: Final = 2**32
_LEAST: Final = 2
"""Images: batch statistics need two."""


class _Drawn(NamedTuple):
    """An image, and the seed of its views."""

    image: int
    seed: int


class Views:
    """Makes the views of images, as a network takes them; what is random follows from seeds, not from processes."""

    def __init__(self, data: Dataset, transform: Transform) -> None:
        """Take a data set.

        Args:
            data: two 8-bit images of three colours or more, readable in any order.
            transform: makes the views of one.

        Raises:
            DataError: they are something else.
        """
        if len(data) < _LEAST:
            raise DataError(f"{data.name}: {_LEAST} images or more were expected, got {len(data)}")
        self._data = data
        self._transform = transform
        said = data.preprocess
        self._numbers = Preprocess(channels=said.channels, scale=said.scale, mean=said.mean, std=said.std)
        self.of(0, seed=0)  # refuses what has no views

    def __len__(self) -> int:
        return len(self._data)

    def of(self, number: int, seed: int) -> list[Tensor]:
        """Return views of an image, ``(3, side, side)`` float32 each.

        Raises:
            DataError: it cannot be read, or is no 8-bit image of three colours.
        """
        stored = self._data.stored(number)[0]
        if stored.dtype != np.uint8 or len(stored) != _COLOURS:
            expected = "8-bit images of three colours"
            raise DataError(f"{self._data.name}: {expected} were expected, got {len(stored)} of {stored.dtype}")
        image = Image.fromarray(np.ascontiguousarray(stored.transpose(1, 2, 0)))
        with _seeded(seed):
            views = self._transform(image)
        return [self._fed(view) for view in views]

    def shuffled(self, size: int, seeds: np.random.SeedSequence, processes: int) -> Iterator[list[Tensor]]:
        """Yield the views of ``size`` images at a time ``(size, 3, side, side)``, of all images in a random order.

        Images that do not fill a batch are left out, others in every epoch; where there are fewer than one batch, it is
        smaller.

        Args:
            size: of a batch.
            seeds: of the order and of all views.
            processes: that make them beside this one; 0 makes them here.

        Raises:
            DataError: an image cannot be read, or is no 8-bit image of three colours.
        """
        rng = np.random.default_rng(seeds)
        order = rng.permutation(len(self))
        own = rng.integers(_SEEDS, size=len(order))
        size = min(size, len(order))
        drawn = [_Drawn(int(image), int(seed)) for image, seed in zip(order, own, strict=True)]
        batches = [drawn[start : start + size] for start in range(0, len(order) - size + 1, size)]
        return made(lambda number: self._stacked(batches[number]), len(batches), processes)

    def _stacked(self, batch: Sequence[_Drawn]) -> list[Tensor]:
        samples = [self.of(drawn.image, drawn.seed) for drawn in batch]
        return [torch.stack(views) for views in zip(*samples, strict=True)]

    def _fed(self, view: Tensor) -> Tensor:
        pixels: NDArray[np.float32] = view.numpy()[np.newaxis] * np.float32(255)
        return torch.from_numpy(np.ascontiguousarray(self._numbers.apply(pixels)[0]))


def side_of(data: Dataset) -> int:
    """Return the side of the squares that a network is fed.

    Raises:
        DataError: they are no squares.
    """
    shape = data.sample_shape
    if not isinstance(shape, tuple) or len(shape) != 3 or shape[1] != shape[2]:
        raise DataError(f"{data.name}: square images were expected, got {shape}; give resize and crop")
    return int(shape[1])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed what transforms draw from inside the block, and leave it as it was."""
    # lightly's blur draws from numpy's one generator
    numbers = np.random.get_state()  # noqa: NPY002
    others = random.getstate()
    state = torch.get_rng_state()
    # torch.manual_seed seeds CUDA too, and takes a millisecond for it
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
        np.random.set_state(numbers)  # noqa: NPY002
        random.setstate(others)
