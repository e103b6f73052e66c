"""Images with a label map each, in files: the images are read batch by batch, the maps when the data is opened."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch
from ftonnx.datasets.geometry import centre_crop, resize_short_side
from ftonnx.datasets.labelling import Labelling
from ftonnx.datasets.mask_files import smallest
from ftonnx.datasets.pictures import digest_of_files, is_picture
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Resolved
from ftonnx.datasets.stored import AnyOrderDataset, prepared
from ftonnx.errors import DataError

__all__ = ["MapFiles", "MapPair", "MapSet", "maps_like"]


@dataclass(frozen=True, slots=True)
class MapPair:
    """An image and its label map.

    Attributes:
        images: The files of the image; several where each holds some of its bands.
        mask: The file of the map.
    """

    images: tuple[Path, ...]
    mask: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSet(ABC):
    """The files of one set, and how they become images and label maps; a leaf says how each is read.

    Attributes:
        pairs: In order.
        rule: How stored labels become class numbers, in words; empty where they are class numbers.
        warnings: What may be meant otherwise.
    """

    pairs: tuple[MapPair, ...]
    rule: str = ""
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def image(self, pair: MapPair) -> NDArray[Any]:
        """An image as it is stored, ``(1, channels, height, width)``, uint8 or float32."""

    @abstractmethod
    def labels(self, pair: MapPair) -> NDArray[Any]:
        """The class numbers of its pixels, integers ``(height, width)``."""


class MapFiles(AnyOrderDataset):
    """Images with label maps, decoded and preprocessed when they are needed; one batch of images is in memory.

    All maps are, in the smallest type that holds their numbers, resized (to the nearest pixel) and cropped as images.
    """

    def __init__(
        self,
        files: MapSet,
        *,
        name: str,
        split: str | None,
        limit: int | None,
        resolved: Resolved,
    ) -> None:
        self._pairs = files.pairs[:limit]
        first = self._pairs[0]
        stored = files.image(first)
        shape = prepared(stored, resolved.effective, str(first.images[0])).shape[1:]
        super().__init__(
            name=name,
            split=split,
            classes=None,
            resolved=resolved,
            sample_shape=shape,
            labels=_all_maps(files, self._pairs, resolved.effective),
            labelling=Labelling(rule=files.rule, warnings=files.warnings),
        )
        self._files = files
        self._has_pixels = is_picture(stored)

    def unreadable(self) -> list[str]:
        """See ``Dataset.unreadable``; every image is tried."""
        found = []
        for index in range(len(self)):
            try:
                self._image(index)
            except DataError as error:
                found.append(str(error))
        return found

    def stored(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored``."""
        return self._files.image(self._pairs[index])

    def stored_map(self, index: int) -> NDArray[Any]:
        """See ``Dataset.stored_map``."""
        return self._files.labels(self._pairs[index])

    @property
    def has_pixels(self) -> bool:
        """See ``Dataset.has_pixels``; pictures hold them, bands do not."""
        return self._has_pixels

    def _preprocessed_by(self, resolved: Resolved) -> Self:
        return type(self)(self._files, name=self.name, split=self.split, limit=len(self), resolved=resolved)

    def _part(self, place: slice) -> Batch:
        images = [self._image(index) for index in range(*place.indices(len(self)))]
        return np.concatenate(images), self._labels[place].copy()

    def _image(self, index: int) -> NDArray[np.float32]:
        return self._fed(self.stored(index), str(self._pairs[index].images[0]))

    def _content(self) -> bytes:
        return digest_of_files(file for pair in self._pairs for file in pair.images)


def maps_like(maps: NDArray[Any], preprocess: Preprocess) -> NDArray[Any]:
    """Label maps ``(images, height, width)`` resized, to the nearest pixel, and cropped as images are.

    >>> maps_like(np.arange(16, dtype=np.uint8).reshape(1, 4, 4), Preprocess(crop=2)).tolist()
    [[[5, 6], [9, 10]]]
    """
    planes = maps[:, np.newaxis]
    if preprocess.resize is not None:
        # class numbers are exact in 32 bits, which Pillow takes as they are
        wide = planes.astype(np.float32)
        planes = resize_short_side(wide, preprocess.resize, "nearest").astype(maps.dtype)
    if preprocess.crop is not None:
        planes = centre_crop(planes, preprocess.crop)
    return planes[:, 0]


def _all_maps(files: MapSet, pairs: Sequence[MapPair], preprocess: Preprocess) -> NDArray[Any]:
    """All label maps as one array ``(images, height, width)``."""
    maps: list[NDArray[Any]] = []
    for pair in pairs:
        stored = files.labels(pair)
        try:
            found = maps_like(stored[np.newaxis], preprocess)[0]
        except DataError as error:
            raise DataError(f"{pair.mask}: {error}") from error
        if maps and found.shape != maps[0].shape:
            expected = f"a label map of {maps[0].shape} pixels like the first one"
            raise DataError(f"{pair.mask}: expected {expected}, got {found.shape}; give resize and crop")
        maps.append(found)
    return smallest(np.stack(maps))
