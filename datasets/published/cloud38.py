"""``cloud38:PATH``: 38-Cloud, clouds in Landsat-8 patches of 384 x 384 pixels (Mohajerani and Saeedi 2019)."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.listing import image_files
from ftonnx.datasets.map_files import MapFiles, MapPair, MapSet
from ftonnx.datasets.mask_files import read_mask
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.datasets.tiff_files import read_bands
from ftonnx.errors import DataError, UsageError
from ftonnx.words import some_of

__all__ = ["Cloud38Kind"]

_FOLDER: Final = "38-Cloud_training"
_BANDS: Final = ("red", "green", "blue", "nir")
_MASK: Final = "gt"


@dataclass(frozen=True, slots=True)
class Cloud38Kind(PathKind):
    """The training patches, with red, green, blue and near infrared as channels; class 1 is cloud.

    Stored values are divided by 65,535. There are no splits: the published test scenes have no maps of their patches.
    """

    form: ClassVar[str] = "cloud38:PATH"
    keyword: ClassVar[str | None] = "cloud38"

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``."""
        return False

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        if request.split is not None:
            raise UsageError(f"{self.path}: 38-Cloud has label maps of its training patches only; name no split")
        root = self.path / _FOLDER if os.path.isdir(self.path / _FOLDER) else self.path
        side = read_side_file(self.path / "preprocess.toml")
        return MapFiles(
            _Bands(pairs=_pairs(root, self.path), rule="0 and 255 in the masks are classes 0 (clear) and 1 (cloud)"),
            name="cloud38",
            split=None,
            limit=request.limit,
            resolved=request.resolve(side.preprocess, default=Preprocess(scale=1 / 65535)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bands(MapSet):
    """Four files of one band each."""

    def image(self, pair: MapPair) -> NDArray[Any]:
        """See ``MapSet.image``."""
        bands = [read_bands(file) for file in pair.images]
        shapes = {band.shape for band in bands}
        if len(shapes) > 1:
            raise DataError(f"{pair.images[0]}: expected bands of one size, got {sorted(shapes)}; repair it")
        return np.concatenate(bands, axis=1)

    def labels(self, pair: MapPair) -> NDArray[Any]:
        """See ``MapSet.labels``."""
        cloud: NDArray[Any] = (read_mask(pair.mask) > 0).astype(np.uint8)
        return cloud


def _pairs(root: Path, path: Path) -> tuple[MapPair, ...]:
    """The patches by name; each is in a file per band and one for its map."""
    files = {band: _by_patch(root, band) for band in (*_BANDS, _MASK)}
    empty = [f"train_{band}" for band, found in files.items() if not found]
    if empty:
        expected = (
            f"folders train_red, train_green, train_blue, train_nir and train_gt of 38-Cloud in it or in {_FOLDER}"
        )
        raise DataError(f"{path}: expected {expected}, got no images in {some_of(empty)}; unpack the archive there")
    patches = sorted(set().union(*files.values()))
    for patch in patches:
        missing = [f"train_{band}" for band in files if patch not in files[band]]
        if missing:
            raise DataError(f"{root}: expected every patch in every folder, got no {patch} in {some_of(missing)}")
    return tuple(MapPair(tuple(files[band][patch] for band in _BANDS), files[_MASK][patch]) for patch in patches)


def _by_patch(root: Path, band: str) -> dict[str, Path]:
    folder = root / f"train_{band}"
    if not os.path.isdir(folder):
        return {}
    return {file.stem.removeprefix(f"{band}_"): file for file in image_files(folder)}
