"""``dfc2020:PATH``: land cover of the Data Fusion Contest 2020, radar and multispectral (Schmitt et al. 2020)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.listing import image_files, sub_folders
from ftonnx.datasets.map_files import MapFiles, MapPair, MapSet
from ftonnx.datasets.mask_files import read_mask
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Request
from ftonnx.datasets.splits import chosen_split
from ftonnx.datasets.text_file import read_text
from ftonnx.datasets.tiff_files import read_bands
from ftonnx.errors import DataError
from ftonnx.words import some_of

__all__ = ["Dfc2020Kind"]

_TITLE: Final = "DFC2020"
_FOLDERS: Final = {"train": "ROIs0000_validation", "test": "ROIs0000_test"}
"""The networks of the paper are trained on the contest's validation part, and tested on its test part."""

_LISTS: Final = {"train": "dfc-train-new.csv", "val": "dfc-val-new.csv", "test": "dfc-test-new.csv"}
"""Those of Copernicus-Bench: the names of the files in dfc."""

_MOST_BYTES: Final = 1 << 24
_S1_BANDS: Final = 2
_S2_BANDS: Final = 13
_LOWEST_DB: Final = -25.0
_MOST_REFLECTANCE: Final = 1e4
_CLASS_OF: Final = np.array([255, 0, 1, 255, 2, 3, 4, 5, 255, 6, 7], np.uint8)
"""Of the stored labels: forest, shrubland, grassland, wetlands, croplands, urban, barren, water; 0 is no label, and
savanna and snow have none in what the paper's networks learn."""


@dataclass(frozen=True, slots=True)
class Dfc2020Kind(PathKind):
    """Patches of 256 x 256 pixels, cut to the middle 224; channels are VV, VH, then the 13 bands of Sentinel-2.

    Each image is brought to [0, 1] as the paper's networks take it: decibels are cut to [-25, 0] and lifted by 25,
    reflectances to [0, 10,000], and every channel is divided by its largest value in the image.

    Layouts: ``ROIs0000_validation`` (split train) and ``ROIs0000_test`` (split test) with folders ``s1_*``, ``s2_*``
    and ``dfc_*``, whatever the scenes are called; or folders ``s1``, ``s2``, ``dfc`` and the lists of Copernicus-Bench.
    """

    form: ClassVar[str] = "dfc2020:PATH"
    keyword: ClassVar[str | None] = "dfc2020"
    default: ClassVar[Preprocess] = Preprocess(crop=224)

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        if not os.path.isdir(self.path):
            raise DataError(f"{self.path}: expected the folder of {_TITLE}, got none; check the path")
        split, masks = self._split(request.split)
        pairs, skipped = _usable(masks, request.limit)
        if not pairs:
            raise DataError(f"{self.path}: expected patches with values in s1, got NaN in all {len(masks)}")
        warnings = []
        if skipped:
            warnings.append(f"{self.path}: {len(skipped)} patches have NaN in s1 and are left out: {some_of(skipped)}")
        side = read_side_file(self.path / "preprocess.toml")
        return MapFiles(
            _Sensors(
                pairs=tuple(pairs), rule="the 8 classes that the paper's networks learn", warnings=tuple(warnings)
            ),
            name=str(self.keyword),
            split=split,
            limit=request.limit,
            resolved=request.resolve(side.preprocess, default=self.default),
        )

    def _split(self, wanted: str | None) -> tuple[str, list[Path]]:
        """The split to take, and its label maps."""
        lists = {split: self.path / name for split, name in _LISTS.items() if os.path.isfile(self.path / name)}
        if lists:
            split = chosen_split(lists, wanted, str(self.path))
            return split, self._listed(lists[split])
        folders = {split: self.path / name for split, name in _FOLDERS.items() if os.path.isdir(self.path / name)}
        if not folders:
            expected = f"folders {' and '.join(_FOLDERS.values())}, or lists such as {_LISTS['test']}"
            raise DataError(f"{self.path}: expected {expected}, got neither; check the path")
        if wanted in ("val", "valid", "validation"):
            # by its own name, the part that networks are trained on
            wanted = "train"
        split = chosen_split(folders, wanted, str(self.path))
        return split, _masks_below(folders[split])

    def _listed(self, file: Path) -> list[Path]:
        """The maps of a list, which names them without their folder."""
        names = [
            line.strip() for line in read_text(file, "a list of label maps", _MOST_BYTES).splitlines() if line.strip()
        ]
        if not names:
            raise DataError(f"{file}: expected names of label maps, got none; check the file")
        strange = [name for name in names if Path(name).name != name]
        if strange:
            raise DataError(f"{file}: expected plain file names, got {some_of(strange)}; correct them")
        return [self.path / "dfc" / name for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sensors(MapSet):
    """A file for each sensor, and labels of ten classes, of which eight are learned."""

    def image(self, pair: MapPair) -> NDArray[Any]:
        """See ``MapSet.image``."""
        radar = _read(pair.images[0], _S1_BANDS)
        optical = _read(pair.images[1], _S2_BANDS)
        decibels = np.clip(radar, _LOWEST_DB, 0.0) - np.float32(_LOWEST_DB)
        reflectances = np.clip(optical, 0.0, _MOST_REFLECTANCE)
        if decibels.shape[2:] != reflectances.shape[2:]:
            got = f"{decibels.shape[2:]} and {reflectances.shape[2:]}"
            raise DataError(f"{pair.images[0]}: expected s1 and s2 of one size, got {got}")
        bands = np.concatenate([decibels, reflectances], axis=1)
        largest = bands.max(axis=(2, 3), keepdims=True)
        scaled: NDArray[Any] = bands / (largest + np.float32(1e-5))
        return scaled

    def labels(self, pair: MapPair) -> NDArray[Any]:
        """See ``MapSet.labels``."""
        stored = read_mask(pair.mask)
        wrong = stored[(stored < 0) | (stored >= len(_CLASS_OF))]
        if wrong.size:
            raise DataError(f"{pair.mask}: expected labels from 0 to {len(_CLASS_OF) - 1}, got {wrong[0]}; check it")
        classes: NDArray[Any] = _CLASS_OF[stored]
        return classes


def _masks_below(folder: Path) -> list[Path]:
    """The label maps of one part, scene by scene."""
    scenes = [scene for scene in sub_folders(folder) if scene.name.startswith("dfc_")]
    masks = [mask for scene in scenes for mask in image_files(scene)]
    if not masks:
        raise DataError(f"{folder}: expected folders dfc_* with label maps, got none; check what was unpacked")
    return masks


def _usable(masks: Sequence[Path], limit: int | None) -> tuple[list[MapPair], list[str]]:
    """The patches whose radar image has no NaN, at most so many, and the names of those before them that have."""
    pairs: list[MapPair] = []
    skipped: list[str] = []
    for mask in masks:
        if limit is not None and len(pairs) == limit:
            break
        files = {sensor: _sibling(mask, sensor) for sensor in ("s1", "s2")}
        _check_there(files, mask)
        if np.isnan(_read(files["s1"], _S1_BANDS)).any():
            skipped.append(files["s1"].name)
            continue
        pairs.append(MapPair((files["s1"], files["s2"]), mask))
    return pairs, skipped


def _sibling(mask: Path, sensor: str) -> Path:
    """The file of a sensor beside that of the labels.

    >>> _sibling(Path("a/dfc_0/ROIs0000_test_dfc_0_p1.tif"), "s2").as_posix()
    'a/s2_0/ROIs0000_test_s2_0_p1.tif'
    """
    folder = mask.parent.name.replace("dfc", sensor, 1)
    before, _, behind = mask.name.rpartition("dfc")
    return mask.parent.with_name(folder) / f"{before}{sensor}{behind}"


def _check_there(files: Mapping[str, Path], mask: Path) -> None:
    for sensor, file in files.items():
        if not os.path.isfile(file):
            raise DataError(f"{mask}: expected its image of {sensor}, got no file {file}; add it or remove the map")


def _read(file: Path, bands: int) -> NDArray[np.float32]:
    found = read_bands(file)
    if found.shape[1] != bands:
        raise DataError(f"{file}: expected {bands} bands, got {found.shape[1]}; check the file")
    return found
