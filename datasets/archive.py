"""``.npz`` archives: their arrays, checked, and held in memory once."""

import os
import zipfile
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import MAX_CLASSES, check_finite, checked_labels
from ftonnx.errors import DataError, Interrupted, describe

__all__ = ["Archive", "read_archive", "read_members"]


class Archive:
    """The checked arrays of one ``.npz``, read-only.

    Attributes:
        images: ``(images, channels, height, width)``, uint8 or float32.
        labels: ``(images,)`` int64.
        classes: Number of classes where the archive says so.
    """

    def __init__(self, images: NDArray[Any], labels: NDArray[np.int64], classes: int | None) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes
        # data sets share these arrays
        images.flags.writeable = False
        labels.flags.writeable = False


_OPEN: WeakValueDictionary[tuple[str, int, int], Archive] = WeakValueDictionary()


def read_archive(path: Path) -> Archive:
    """The arrays of a ``.npz``; one that is still in use is not loaded a second time.

    Raises:
        DataError: The file is missing or damaged, or its arrays are not what is expected.
    """
    # os.path.isfile, since Path.is_file raises where a name is too long for any file
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a .npz file or a folder of them, got nothing; check the path")
    # time and size belong to the key, so that a file that was written anew is read anew
    status = os.stat(path)
    real = os.path.realpath(path)
    key = (real, status.st_mtime_ns, status.st_size)
    # weak values: an archive is let go with the last data set that uses it
    archive = _OPEN.get(key)
    if archive is None:
        members = read_members(path, ("images", "labels", "classes"))
        archive = _checked(members, str(path))
        _OPEN[key] = archive
    return archive


def read_members(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Those arrays of ``names`` that a ``.npz`` holds; pickles are refused.

    Raises:
        DataError: The file is no archive, or one that cannot be read.
    """
    # np.load would take a lone .npy or a pickle too
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: expected a .npz archive, got another kind or a damaged one; save it again")
    found = {}
    try:
        # a pickle would run code of whoever wrote the file
        with np.load(path, allow_pickle=False) as archive:
            for name in names:
                if name in archive:
                    found[name] = np.asarray(archive[name])
    except Interrupted:
        raise
    except Exception as error:
        # a hostile zip or array header fails in many ways
        raise DataError(f"{path}: expected a readable .npz, got {describe(error)}; save it again") from error
    return found


def _checked(arrays: dict[str, NDArray[Any]], where: str) -> Archive:
    for key in ("images", "labels"):
        if key not in arrays:
            raise DataError(f"{where}: expected arrays 'images' and 'labels', got no {key!r}; save it")
    images = arrays["images"]
    _check_images(images, where)
    labels = checked_labels(arrays["labels"], len(images), where)
    # bytes are always finite
    if images.dtype == np.float32:
        check_finite(images, where)
    stored_classes = arrays.get("classes")
    classes = _class_count(stored_classes, where)
    return Archive(images, labels, classes)


def _check_images(images: NDArray[Any], where: str) -> None:
    shape = images.shape
    if images.dtype not in (np.uint8, np.float32):
        got = images.dtype
        raise DataError(f"{where}: expected uint8 or float32 images, got {got}; convert with astype")
    if images.ndim != 4:
        expected = "(images, channels, height, width)"
        raise DataError(f"{where}: expected images {expected}, got shape {shape}; reshape them")
    if images.size == 0:
        raise DataError(f"{where}: expected at least one image and pixel, got shape {shape}; fill it")


def _class_count(stored: NDArray[Any] | None, where: str) -> int | None:
    """Number of classes: one integer, or the length of a list of names."""
    if stored is None:
        return None
    is_number = stored.dtype.kind in "iu" and stored.size == 1
    is_list_of_names = stored.dtype.kind == "U" and stored.ndim == 1
    # 0 is out of range, and stands for all that is neither
    count = 0
    if is_number:
        count = int(stored.item())
    elif is_list_of_names:
        count = len(stored)
    if not 1 <= count <= MAX_CLASSES:
        expected = "'classes' as one positive integer or a list of names"
        got = f"{stored.dtype} of shape {stored.shape}"
        raise DataError(f"{where}: expected {expected}, got {got}")
    return count
