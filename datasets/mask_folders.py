"""``masks:IMAGES,MASKS``: a folder of images, and one of their label maps."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.image_files import read_image
from ftonnx.datasets.kind import DataKind
from ftonnx.datasets.listing import image_files
from ftonnx.datasets.map_files import MapFiles, MapPair, MapSet
from ftonnx.datasets.mask_files import read_mask
from ftonnx.datasets.pictures import is_picture
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.errors import DataError, UsageError
from ftonnx.words import some_of

__all__ = ["MasksKind", "paired"]

_KEYWORD: Final = "masks"
_PIXELS: Final = Preprocess(scale=1 / 255, channels="rgb")
_NO_LABEL: Final = 255


@dataclass(frozen=True, slots=True)
class MasksKind(DataKind):
    """Images and label maps of the same names, but for what all images or all maps have before or behind them."""

    form: ClassVar[str] = "masks:IMAGES,MASKS"
    keyword: ClassVar[str | None] = _KEYWORD

    images: Path
    masks: Path

    @classmethod
    def parse(cls, spec: str) -> Self | None:
        """See ``DataKind.parse``."""
        keyword, _, paths = spec.partition(":")
        images, comma, masks = paths.partition(",")
        if keyword != _KEYWORD or not comma or not images or not masks:
            return None
        return cls(Path(images), Path(masks))

    @property
    def spec(self) -> str:
        """See ``DataKind.spec``."""
        return f"{_KEYWORD}:{self.images.absolute()},{self.masks.absolute()}"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; two folders have none."""
        return False

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        where = f"{self.images},{self.masks}"
        if request.split is not None:
            raise UsageError(f"{where}: two folders have no split {request.split!r}; name the folders of the split")
        for folder in (self.images, self.masks):
            if not os.path.isdir(folder):
                raise DataError(f"{where}: expected two folders, got no folder {folder}; check the path")
        images = {file.stem: file for file in image_files(self.images)}
        masks = {file.stem: file for file in image_files(self.masks)}
        pairs = paired(images, masks, where)
        files = _Plain(pairs=tuple(MapPair((image,), mask) for image, mask in pairs))
        if _is_binary(files):
            files = replace(files, is_binary=True, rule="0 and 255 in the masks are classes 0 and 1")
        side = read_side_file(self.images / "preprocess.toml", self.images.parent / "preprocess.toml")
        default = _PIXELS
        if not is_picture(files.image(files.pairs[0])):
            default = replace(default, scale=None, channels=None)
        return MapFiles(
            files,
            name=self.images.resolve().name,
            split=None,
            limit=request.limit,
            resolved=request.resolve(side.preprocess, default=default),
        )


def paired(images: Mapping[str, Path], masks: Mapping[str, Path], where: str) -> list[tuple[Path, Path]]:
    """Images with their label maps, by name.

    >>> images = {"a_1": Path("a_1.png"), "a_2": Path("a_2.png")}
    >>> masks = {"a_1_gt": Path("m/a_1_gt.png"), "a_2_gt": Path("m/a_2_gt.png")}
    >>> [(image.name, mask.name) for image, mask in paired(images, masks, "here")]
    [('a_1.png', 'a_1_gt.png'), ('a_2.png', 'a_2_gt.png')]

    Args:
        images: Files by name without suffix; in the order of their names.
        masks: Likewise.
        where: They are, for messages.

    Raises:
        DataError: There are none, or one is without a partner.
    """
    if not images or not masks:
        raise DataError(f"{where}: expected images and their label maps, got {len(images)} and {len(masks)}")
    # names as they are, unless they only agree without what is common to all
    mine, its = dict(images), dict(masks)
    if not mine.keys() & its.keys():
        mine, its = _without_common(images), _without_common(masks)
    alone = [file.name for name, file in mine.items() if name not in its]
    if alone:
        raise DataError(f"{where}: expected a label map for every image, got none for {some_of(alone)}; add or remove")
    left = [file.name for name, file in its.items() if name not in mine]
    if left:
        raise DataError(f"{where}: expected an image for every label map, got none for {some_of(left)}; add or remove")
    return [(mine[name], its[name]) for name in mine]


def _without_common(files: Mapping[str, Path]) -> dict[str, Path]:
    """The files by their names without the beginning and the end that all names have."""
    names = list(files)
    beginning = _common(names)
    rests = [name[beginning:] for name in names]
    end = _common([rest[::-1] for rest in rests])
    return {name[beginning : len(name) - end]: files[name] for name in names}


def _common(names: Sequence[str]) -> int:
    """How many characters all names begin with.

    >>> _common(["gt_1", "gt_22"])
    3
    """
    same = 0
    for letters in zip(*names, strict=False):
        if len(set(letters)) > 1:
            break
        same += 1
    return same


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain(MapSet):
    """Files as they are.

    Attributes:
        is_binary: 255 is class 1.
    """

    is_binary: bool = False

    def image(self, pair: MapPair) -> NDArray[Any]:
        """See ``MapSet.image``."""
        return read_image(pair.images[0])

    def labels(self, pair: MapPair) -> NDArray[Any]:
        """See ``MapSet.labels``."""
        found = read_mask(pair.mask)
        return np.where(found == _NO_LABEL, 1, found) if self.is_binary else found


def _is_binary(files: MapSet) -> bool:
    """Whether all maps hold 0 and 255 only: one class, and pixels without a label, would be nothing to learn."""
    values: set[int] = set()
    for pair in files.pairs:
        values.update(np.unique(files.labels(pair)).tolist())
        if not values <= {0, _NO_LABEL}:
            return False
    return _NO_LABEL in values
