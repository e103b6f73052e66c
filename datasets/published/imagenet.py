"""``imagenet:PATH``: the classification images of ILSVRC2012 (Russakovsky et al. 2015)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.class_names import ClassNames, find_class_names, read_class_names
from ftonnx.datasets.config import read_side_file
from ftonnx.datasets.grouped_files import Groups, open_groups
from ftonnx.datasets.kind import PathKind
from ftonnx.datasets.label_file import read_label_file
from ftonnx.datasets.listing import image_files, sub_folders
from ftonnx.datasets.numbering import Rules
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.published.class_folders import files_of_class_folders
from ftonnx.datasets.published.imagenet_devkit import find_devkit, labels_of_devkit
from ftonnx.datasets.request import Request
from ftonnx.errors import DataError, UsageError
from ftonnx.words import near, some_of

__all__ = ["ImagenetKind", "wnids"]

_WNIDS: Final = Path(__file__).with_name("imagenet_wnids.txt")
_LISTS: Final = ("val_map.txt", "val.txt", "val_labels.txt")
_USUAL: Final = "val"
_WANTED: Final = "one folder per class (n01440764), or images beside val_map.txt or the devkit"


@dataclass(frozen=True, slots=True)
class ImagenetKind(PathKind):
    """The folder above ``val`` and ``train``, or one of them; by default the validation images.

    Images lie in a folder per class, named by its WordNet number, or all in one folder. Of these, a list beside them
    (``val_map.txt``: ``ILSVRC2012_val_00000001.JPEG 65``) or the devkit says the class. Classes are counted from 0 in
    the order of their WordNet numbers, as all published networks count them; the numbers in the devkit's
    ``ILSVRC2012_validation_ground_truth.txt`` are others, and ``meta.mat`` says which.
    """

    form: ClassVar[str] = "imagenet:PATH"
    keyword: ClassVar[str | None] = "imagenet"
    default: ClassVar[Preprocess] = Preprocess(
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize=256,
        crop=224,
        channels="rgb",
    )

    @property
    def has_splits(self) -> bool:
        """See ``DataKind.has_splits``; looks for the folder of the validation images."""
        return os.path.isdir(self.path / _USUAL)

    def open(self, request: Request) -> Dataset:
        """See ``DataKind.open``."""
        if not os.path.isdir(self.path):
            raise DataError(f"{self.path}: expected the folder of ImageNet, got none; check the path")
        split = request.split
        if split is None and self.has_splits:
            split = _USUAL
        root = self._folder_of(split)
        known = _classes([root, self.path])
        files, warnings = self._files(root)
        groups = Groups(
            files={wnid: files.get(wnid, ()) for wnid in wnids()},
            rules=Rules(what="folder", root=str(root)),
            warnings=warnings,
        )
        return open_groups(
            groups,
            replace(request, split=split),
            name=str(self.keyword),
            side=read_side_file(self.path / "preprocess.toml"),
            known=known,
            default=self.default,
        )

    def _folder_of(self, split: str | None) -> Path:
        if split is None:
            return self.path
        folder = self.path / split
        if not os.path.isdir(folder):
            have = [each.name for each in sub_folders(self.path)]
            raise UsageError(f"{self.path}: expected a folder {split} for the split{near(split, have)}")
        return folder

    def _files(self, root: Path) -> tuple[Mapping[str, Sequence[Path]], tuple[str, ...]]:
        """The images below a folder by class, and what may be meant otherwise."""
        by_folder = files_of_class_folders(root, wnids())
        if any(by_folder.values()):
            files = {wnid: [images[name] for name in sorted(images)] for wnid, images in by_folder.items()}
            return files, _incomplete(root, files)
        images = image_files(root)
        if not images:
            raise DataError(f"{root}: expected {_WANTED}, got no images; check the path")
        labels = self._labels(root)
        flat: dict[str, list[Path]] = {}
        for image in images:
            wnid = labels.get(image.name)
            if wnid is None:
                expected = "a class for every image"
                raise DataError(f"{root}: expected {expected}, got none for {image.name}; add or remove it")
            flat.setdefault(wnid, []).append(image)
        return flat, _incomplete(root, flat)

    def _labels(self, root: Path) -> Mapping[str, str]:
        """The class of every image of a flat folder, by its name."""
        places = (root, root.parent, self.path)
        for place in places:
            for name in _LISTS:
                if os.path.isfile(place / name):
                    return _labels_of_list(place / name)
        devkit = find_devkit(places)
        if devkit is None:
            raise DataError(f"{root}: expected {_WANTED}, got images alone; put one of these beside them")
        return labels_of_devkit(devkit)


@cache
def wnids() -> tuple[str, ...]:
    """The WordNet numbers of ILSVRC2012's 1,000 classes, in their order."""
    return tuple(_WNIDS.read_text(encoding="utf-8").split())


def _classes(folders: Sequence[Path]) -> ClassNames:
    """The classes with the names that a file beside the images gives them, where it is one of WordNet's numbers."""
    file = find_class_names(folders)
    if file is not None:
        names = read_class_names(file)
        if names.find(wnids()) == list(range(len(wnids()))):
            return names
    return ClassNames.of(wnids(), "ImageNet", asked=True)


def _labels_of_list(path: Path) -> dict[str, str]:
    """What a list says: class numbers in the order of the WordNet numbers, from 0, or these themselves.

    Raises:
        DataError: A label is neither.
    """
    known = {str(number): wnid for number, wnid in enumerate(wnids())} | {wnid: wnid for wnid in wnids()}
    found = {}
    for row in read_label_file(path).rows:
        if row.label not in known:
            expected = "a class number from 0 to 999, or a WordNet number"
            raise DataError(f"{path}: line {row.line}: expected {expected}, got {row.label!r}")
        found[Path(row.file).name] = known[row.label]
    return found


def _incomplete(root: Path, files: Mapping[str, Sequence[Path]]) -> tuple[str, ...]:
    without = [wnid for wnid in wnids() if not files.get(wnid)]
    if not without:
        return ()
    return (f"{root}: {len(without)} of 1,000 classes have no images: {some_of(without)}",)
