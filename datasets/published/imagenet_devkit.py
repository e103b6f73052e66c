"""The development kit of ILSVRC2012: which validation image is of which class."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ftonnx.datasets.text_file import read_text
from ftonnx.errors import DataError, Interrupted, describe
from ftonnx.words import whole_of

__all__ = ["find_devkit", "labels_of_devkit"]

_TRUTH: Final = "ILSVRC2012_validation_ground_truth.txt"
_META: Final = "meta.mat"
_FOLDERS: Final = ("", "data", "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12/data", "devkit", "devkit/data")
_LARGEST: Final = 1 << 24
_IMAGE: Final = "ILSVRC2012_val_{:08}.JPEG"


def find_devkit(places: Iterable[Path]) -> Path | None:
    """The folder with the devkit's files, in or below one of some folders; None where there is none."""
    for place in places:
        for name in _FOLDERS:
            folder = place / name
            if os.path.isfile(folder / _TRUTH):
                return folder
    return None


def labels_of_devkit(folder: Path) -> dict[str, str]:
    """The WordNet number of every validation image, by its name.

    Line k of the truth is the ILSVRC2012_ID of image k. These IDs are in no order that networks count by; ``meta.mat``
    says which class has which.

    Raises:
        DataError: A file is missing or damaged, or names an ID that no class has.
    """
    by_id = _wnid_by_id(folder / _META)
    path = folder / _TRUTH
    lines = read_text(path, "one class ID per line", _LARGEST).split()
    found = {}
    for number, line in enumerate(lines, start=1):
        class_id = whole_of(line)
        wnid = None if class_id is None else by_id.get(class_id)
        if wnid is None:
            raise DataError(f"{path}: line {number}: expected the ID of a class in {_META}, got {line!r}")
        found[_IMAGE.format(number)] = wnid
    return found


def _wnid_by_id(path: Path) -> dict[int, str]:
    from scipy.io import loadmat

    if not os.path.isfile(path):
        raise DataError(f"{path}: expected the devkit's table of classes, got none; its IDs are in no order without it")
    try:
        if os.path.getsize(path) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
        synsets: Any = loadmat(path, squeeze_me=True)["synsets"]
        return {int(each["ILSVRC2012_ID"]): str(each["WNID"]) for each in synsets}
    except Interrupted:
        raise
    except Exception as error:
        # a damaged file of Matlab fails in many ways
        raise DataError(f"{path}: expected the devkit's table of classes, got {describe(error)}") from error
