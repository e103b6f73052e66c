"""``.npz`` archives: their arrays, checked, and held in memory once."""

import logging
import os
import zipfile
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import MAX_CLASSES, check_array, check_finite, checked_labels, narrow
from ftonnx.datasets.class_names import ClassNames
from ftonnx.datasets.npy import read_npz
from ftonnx.errors import DataError, Interrupted, describe
from ftonnx.limits import ARCHIVE_BYTES
from ftonnx.samples import Samples, arrays_of, count_of
from ftonnx.words import some_of

__all__ = ["Archive", "read_archive", "read_members"]


class Archive:
    """The checked arrays of one ``.npz``, read-only.

    Attributes:
        images: ``(images, channels, height, width)``, uint8 or float32; or samples of any shape in their own dtype,
            several arrays by their names.
        labels: ``(images,)`` int64, or texts that name classes; of other tasks than classification ``(images, ...)``.
        classes: Number of classes where the archive says so.
        class_names: Their names where the archive lists them, and its labels are such names.
    """

    def __init__(
        self, images: Samples, labels: NDArray[Any], classes: int | None, class_names: ClassNames | None = None
    ) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes
        self.class_names = class_names
        # data sets share these arrays
        for array in (*arrays_of(images), labels):
            array.flags.writeable = False


_KNOWN = ("images", "labels", "classes")

_COLOURS = (1, 3, 4)
_MOST_COLOURS = 4
_NAMED = 5
_logger = logging.getLogger(__name__)

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
        members = read_members(path, _KNOWN)
        if "images" not in members:
            # arrays under the names of a model's inputs
            members = read_members(path, None)
        archive = _checked(members, str(path))
        _OPEN[key] = archive
    return archive


def read_members(path: Path, names: tuple[str, ...] | None) -> dict[str, NDArray[Any]]:
    """Those arrays of ``names`` that a ``.npz`` holds, all of them for None; pickles are refused.

    Raises:
        DataError: The file is no archive, or one that cannot be read.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: expected a .npz archive, got another kind or a damaged one; save it again")

    def check_bytes(unpacked: int) -> None:
        if unpacked > ARCHIVE_BYTES.most:
            raise DataError(f"{path}: its arrays have {unpacked:,} bytes: {ARCHIVE_BYTES.said}")

    try:
        return read_npz(path, names, check_bytes)
    except (DataError, Interrupted):
        raise
    except Exception as error:
        # a hostile zip or array header fails in many ways
        raise DataError(f"{path}: expected a readable .npz, got {describe(error)}; save it again") from error


def _checked(arrays: dict[str, NDArray[Any]], where: str) -> Archive:
    if "labels" not in arrays:
        got = some_of(sorted(arrays), _NAMED) or "none"
        raise DataError(f"{where}: expected arrays 'images' and 'labels', got {got}; save them by these names")
    samples = _samples(arrays, where)
    for array in arrays_of(samples):
        check_array(array, where)
    check_finite(samples, where)
    labels = _labels(arrays["labels"], samples, where)
    stored_classes = arrays.get("classes")
    classes = _class_count(stored_classes, where)
    class_names = None
    if stored_classes is not None and stored_classes.dtype.kind == labels.dtype.kind == "U":
        class_names = ClassNames.of(stored_classes.tolist(), f"{where} (classes)", asked=True)
    return Archive(samples, labels, classes, class_names)


def _labels(stored: NDArray[Any], samples: Samples, where: str) -> NDArray[Any]:
    """Numbers, or one text per image, which names its class; maps of the images' size as they are stored."""
    count = count_of(samples)
    if _is_narrow_map(stored, samples):
        # one byte per pixel would become eight
        return stored
    is_text = stored.dtype.kind == "U" and stored.size == count and stored.ndim > 0
    if not is_text:
        return checked_labels(stored, count, where)
    return stored.reshape(count)


def _is_narrow_map(stored: NDArray[Any], samples: Samples) -> bool:
    if not isinstance(samples, np.ndarray) or samples.ndim != 4:
        return False
    is_narrow = stored.dtype.kind in "iu" and stored.itemsize < 8
    images, _, *size = samples.shape
    return is_narrow and stored.shape == (images, *size)


def _samples(arrays: dict[str, NDArray[Any]], where: str) -> Samples:
    """``images``, or else all arrays but the known ones, by the names of a model's inputs."""
    if "images" in arrays:
        images = narrow(arrays["images"])
        return _channels_first(images, where)
    inputs = {name: narrow(array) for name, array in arrays.items() if name not in _KNOWN}
    if not inputs:
        raise DataError(
            f"{where}: expected 'images', or arrays by the names of the model's inputs, beside 'labels'; got neither"
        )
    lengths = {name: len(np.atleast_1d(array)) for name, array in inputs.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"{where}: expected as many rows in every array, got {listed}; constants are no data: give them as `feeds`"
        )
    return inputs


def _channels_first(images: NDArray[Any], where: str) -> NDArray[Any]:
    """Images ``(images, channels, height, width)``, also where they were stored with their channels last.

    Told by the shape: 1, 3 or 4 at the end, where channels are expected another number, and more than 4 pixels a side.
    """
    shape = images.shape
    if images.ndim != 4 or shape[1] <= _MOST_COLOURS or shape[2] <= _MOST_COLOURS or shape[3] not in _COLOURS:
        return images
    _logger.info("%s: images of shape %s are taken as (height, width, channels)", where, shape[1:])
    return images.transpose(0, 3, 1, 2)


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
