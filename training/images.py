"""Images as training meets them: in another order every epoch, cut and mirrored at random.

Numpy only: what is random follows from the seed and the number of the epoch, not from torch or threads.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets import Dataset, Preprocess
from ftonnx.datasets.stored import check_like_first
from ftonnx.errors import DataError

__all__ = ["ImageBatch", "TrainingImages"]

_AHEAD: Final = 2
"""Batches that are prepared while one is trained on."""


class ImageBatch(NamedTuple):
    """Images ``(batch, channels, height, width)`` float32 as the network takes them, and labels ``(batch,)`` int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class TrainingImages:
    """The images of a data set, in any order."""

    def __init__(self, data: Dataset) -> None:
        """Take a data set.

        Raises:
            DataError: They are no images with class numbers, or can be read in one order only.
        """
        if data.classes is None:
            raise DataError(f"{data.name}: class numbers were expected as labels, got {data.labels.dtype}")
        shape = data.sample_shape
        if isinstance(shape, dict) or len(shape) != 3:
            raise DataError(f"{data.name}: images (channels, height, width) were expected, got {shape}")
        data.stored(0)  # refuses what cannot be read in any order
        said = data.preprocess
        self._data = data
        self._crop = said.crop
        # on the pixels, before anything is cut
        self._geometry = Preprocess(channels=said.channels, resize=said.resize, interpolation=said.interpolation)
        self._numbers = Preprocess(scale=said.scale, mean=said.mean, std=said.std)

    def __len__(self) -> int:
        return len(self._data)

    def shuffled(self, batch_size: int, rng: np.random.Generator, *, flips: bool) -> Iterator[ImageBatch]:
        """Whole batches of images in a random order, cut at random and, with ``flips``, mirrored at random.

        The images that do not fill a batch are left out, others in every epoch; where there are fewer than one batch,
        it is smaller.
        """
        order = rng.permutation(len(self._data))
        size = min(batch_size, len(order))
        whole = len(order) // size * size
        batches = _cut(order[:whole], size)
        # numbers that say what happens to each image are drawn here, so that threads change nothing
        draws = [rng.random((size, 4)) for _ in batches]
        with ThreadPoolExecutor(1) as pool:
            waiting: list[Future[ImageBatch]] = []
            for chosen, drawn in zip(batches, draws, strict=True):
                waiting.append(pool.submit(self._batch, chosen, drawn, flips))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

    def _batch(self, chosen: NDArray[np.int64], drawn: NDArray[np.float64], flips: bool) -> ImageBatch:
        images = []
        for index, numbers in zip(chosen, drawn, strict=True):
            whole = self._geometry.apply(self._data.stored(index))[0]
            image = _window(whole, self._crop, numbers[0], numbers[1])
            check_like_first(image.shape, self._data.sample_shape, self._data.name)
            if flips and numbers[2] < 0.5:
                image = image[:, :, ::-1]
            if flips and numbers[3] < 0.5:
                image = image[:, ::-1]
            images.append(image)
        fed = self._numbers.apply(np.stack(images))
        return ImageBatch(fed, self._data.labels[chosen])


def _cut(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _window(image: NDArray[np.float32], side: int | None, down: float, right: float) -> NDArray[np.float32]:
    """A square of an image ``(channels, height, width)``; all of it where no side is said.

    Args:
        image: It.
        side: Of the square, in pixels; at most those of the image.
        down: Where it lies, 0 at the top and below 1.
        right: 0 at the left and below 1.
    """
    if side is None:
        return image
    height, width = image.shape[1:]
    top = int(down * (height - side + 1))
    left = int(right * (width - side + 1))
    return image[:, top : top + side, left : left + side]
