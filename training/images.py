"""Images as training meets them: in another order every epoch, cut and mirrored at random.

What is random is numpy's: it follows from the seed and the number of the epoch, not from torch, threads or processes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftonnx.datasets import Dataset, Preprocess
from ftonnx.datasets.map_files import maps_like
from ftonnx.datasets.stored import check_like_first
from ftonnx.errors import DataError
from ftonnx.training.making import made

__all__ = ["ImageBatch", "TrainingImages", "in_order"]

_AHEAD: Final = 2
"""Batches that are prepared while one is trained on."""


class ImageBatch(NamedTuple):
    """Some images with their labels.

    Attributes:
        images: ``(batch, channels, height, width)`` float32, as the network takes them.
        labels: Class numbers ``(batch,)``, or maps of them ``(batch, height, width)``; integers.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.integer[Any]]


class TrainingImages:
    """The images of a data set, in any order."""

    def __init__(self, data: Dataset) -> None:
        """Take a data set.

        Raises:
            DataError: They are no images, or can be read in one order only.
        """
        shape = data.sample_shape
        if isinstance(shape, dict) or len(shape) != 3:
            raise DataError(f"{data.name}: images (channels, height, width) were expected, got {shape}")
        data.stored(0)  # refuses what cannot be read in any order
        said = data.preprocess
        self._data = data
        self._has_maps = data.labels.ndim == 3
        self._crop = said.crop
        # on the pixels, before anything is cut
        self._geometry = Preprocess(channels=said.channels, resize=said.resize, interpolation=said.interpolation)
        self._numbers = Preprocess(scale=said.scale, mean=said.mean, std=said.std)

    def __len__(self) -> int:
        return len(self._data)

    def shuffled(
        self, batch_size: int, rng: np.random.Generator, *, flips: bool, processes: int = 0
    ) -> Iterator[ImageBatch]:
        """Whole batches of images in a random order, cut at random and, with ``flips``, mirrored at random.

        Label maps are cut and mirrored as their images are.

        The images that do not fill a batch are left out, others in every epoch; where there are fewer than one batch,
        it is smaller.

        Args:
            batch_size: Images per batch.
            rng: Says what is random.
            flips: Whether they are mirrored.
            processes: That read the images beside this one; 0 reads them in a thread of it.

        Raises:
            DataError: While iterating, when an image cannot be read, or has another size.
        """
        order = rng.permutation(len(self._data))
        size = min(batch_size, len(order))
        whole = len(order) // size * size
        batches = _cut(order[:whole], size)
        # numbers that say what happens to each image are drawn here, so that threads change nothing
        draws = [rng.random((size, 4)) for _ in batches]

        def batch(number: int) -> ImageBatch:
            return self._batch(batches[number], draws[number], flips)

        return _by_processes(batch, len(batches), processes) if processes else _by_thread(batch, len(batches))

    def _batch(self, chosen: NDArray[np.int64], drawn: NDArray[np.float64], flips: bool) -> ImageBatch:
        images = []
        labels = []
        for index, numbers in zip(chosen.tolist(), drawn, strict=True):
            whole = self._geometry.apply(self._data.stored(index))[0]
            image = _augmented(whole, self._crop, numbers, flips=flips)
            check_like_first(image.shape, self._data.sample_shape, self._data.name)
            images.append(image)
            labels.append(self._label(index, whole.shape[1:], numbers, flips=flips))
        return ImageBatch(self._numbers.apply(np.stack(images)), np.stack(labels))

    def _label(self, index: int, size: tuple[int, ...], drawn: NDArray[np.float64], *, flips: bool) -> NDArray[Any]:
        """A label; a map is cut and mirrored with the numbers that were drawn for its image.

        Raises:
            DataError: It would have to be cut, and is not of the size of its image before that.
        """
        label: NDArray[Any] = self._data.labels[index]
        if not self._has_maps:
            return label
        if self._crop is not None:
            label = maps_like(self._data.stored_map(index)[np.newaxis], self._geometry)[0]
            if label.shape != size:
                expected = f"label maps of {size} pixels, as the images have before they are cut,"
                raise DataError(f"{self._data.name}: {expected} were expected, got {label.shape}")
        mirrored: NDArray[Any] = _augmented(label[np.newaxis], self._crop, drawn, flips=flips)[0]
        return mirrored


def in_order(data: Dataset, size: int, processes: int) -> Iterator[ImageBatch]:
    """Batches of all images of a data set in order, as ``Dataset.batches`` gives them.

    Args:
        data: It.
        size: Images per batch.
        processes: That read them beside this one, where they can be read in any order; 0 reads them here.

    Raises:
        DataError: While iterating, when an image cannot be read or is not finite.
    """
    if not processes or not data.any_order:
        return (ImageBatch(*batch) for batch in data.batches(size))  # type: ignore[arg-type]  # images, as of training
    count = -(-len(data) // size)
    return _by_processes(lambda number: ImageBatch(*next(data.batches(size, [number]))), count, processes)  # type: ignore[arg-type]  # images, as of training


def _by_thread(batch: Callable[[int], ImageBatch], count: int) -> Iterator[ImageBatch]:
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[ImageBatch]] = []
        for number in range(count):
            waiting.append(pool.submit(batch, number))
            if len(waiting) > _AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _by_processes(batch: Callable[[int], ImageBatch], count: int, processes: int) -> Iterator[ImageBatch]:
    def tensors(number: int) -> list[Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(each)) for each in batch(number)]

    for images, labels in made(tensors, count, processes):
        yield ImageBatch(images.numpy(), labels.numpy())


def _cut(indices: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _augmented(image: NDArray[Any], side: int | None, drawn: NDArray[np.float64], *, flips: bool) -> NDArray[Any]:
    """An image or a label map ``(channels, height, width)``, cut and mirrored at random.

    Args:
        image: It.
        side: Of the square that is cut; None for all of it.
        drawn: Four numbers from 0 to below 1: where the square lies, down and to the right, and whether it is mirrored
            left to right and upside down.
        flips: Whether it may be.
    """
    cut = _window(image, side, drawn[0], drawn[1])
    if flips and drawn[2] < 0.5:
        cut = cut[:, :, ::-1]
    if flips and drawn[3] < 0.5:
        cut = cut[:, ::-1]
    return cut


def _window(image: NDArray[Any], side: int | None, down: float, right: float) -> NDArray[Any]:
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
