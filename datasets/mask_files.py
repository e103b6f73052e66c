"""One file of a label map: the class of every pixel. Pillow is imported when one is read."""

import logging
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import check_image_file
from ftonnx.datasets.image_files import IMAGE_FORMATS
from ftonnx.datasets.tiff_files import TIFF_SUFFIXES, quiet_libtiff, read_bands
from ftonnx.errors import DataError, Interrupted, describe

__all__ = ["read_mask", "smallest"]

_ONE_VALUE: Final = ("1", "L", "P", "I", "F", "I;16", "I;16B", "I;16L")
"""Pillow's modes of one number per pixel; of a palette it is the number of the colour, as label maps are meant."""

_ADVICE: Final = "save a class number per pixel, in one channel"


def read_mask(file: Path) -> NDArray[Any]:
    """The numbers of a label map, integers ``(height, width)``, as they are stored.

    Of a palette they are the numbers of its colours, of a TIFF with several bands the first band. Three equal
    channels are one.

    Raises:
        DataError: The file cannot be read, or holds colours or fractions.
    """
    check_image_file(file)
    values = _bands(file) if file.suffix.lower() in TIFF_SUFFIXES else _decoded(file)
    if values.dtype.kind == "f":
        whole = np.rint(values)
        # not "unequal": NaN is neither
        if not (whole == values).all():
            raise DataError(f"{file}: expected class numbers, got fractions or NaN; {_ADVICE}")
        values = whole.astype(np.int64)
    return smallest(values)


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in the smallest type that holds them.

    >>> smallest(np.array([0, 255])).dtype, smallest(np.array([-1, 7])).dtype
    (dtype('uint8'), dtype('int8'))
    """
    lowest = int(values.min())
    highest = int(values.max())
    for kind in (np.uint8, np.int8, np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= lowest and highest <= limits.max:
            return values.astype(kind, copy=False)
    return values


def _bands(file: Path) -> NDArray[Any]:
    logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
    # tifffile keeps what Pillow would turn into 8 bits
    first: NDArray[Any] = read_bands(file)[0, 0]
    return first


def _decoded(file: Path) -> NDArray[Any]:
    from PIL import Image

    quiet_libtiff()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                mode = image.mode
                values = np.asarray(image)
    except Interrupted:
        raise
    except Exception as error:
        # a hostile image fails in many ways
        raise DataError(f"{file}: expected a label map, got {describe(error)}; repair or remove it") from error
    if mode in _ONE_VALUE:
        return values
    first: NDArray[Any] = values[..., 0] if values.ndim == 3 else values
    if values.ndim == 3 and (values[..., :3] == first[..., np.newaxis]).all():
        return first
    raise DataError(f"{file}: expected a label map, got a picture in colours ({mode}); {_ADVICE}")
