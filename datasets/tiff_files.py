"""TIFF files that hold more than a picture: many bands, or 16 bits in each.

Pillow fails on some of them and reads a single band of others without a word; tifffile (extra ``geo``) reads them all.
It is imported when such a file is met.
"""

import ctypes
import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import check_image_file
from ftonnx.errors import DataError, Interrupted, describe

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["TIFF_SUFFIXES", "is_picture", "quiet_libtiff", "read_bands"]

TIFF_SUFFIXES: Final = (".tif", ".tiff")

_BITS: Final = 258
_SAMPLES: Final = 277
_PLANAR: Final = 284
_SEPARATE: Final = 2
_MOST_COLOURS: Final = 4
_DEEP: Final = 16
_MOST_PAGES: Final = 1 << 16
_MOST_VALUES: Final = 1 << 28


@functools.cache
def quiet_libtiff() -> None:
    """Let Pillow's libtiff no longer write on stderr what Pillow's exceptions say; of its warnings, Pillow does so."""
    from PIL import _imaging

    try:
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    except (AttributeError, OSError):  # Pillow was built without it, or with it inside, where nobody finds it
        return


def is_picture(image: "Image.Image") -> bool:
    """Whether Pillow reads all of an open TIFF as pixels: one band, or up to four of 8 bits, pixel by pixel.

    One band of 16 bits is no gray picture: what is measured seldom fills them, and their upper halves would be left.
    """
    tags: Any = getattr(image, "tag_v2", {})
    bands = tags.get(_SAMPLES, 1)
    bits: int = max(tags.get(_BITS, (1,)))
    if bands == 1:
        return bits != _DEEP
    is_separate = tags.get(_PLANAR) == _SEPARATE
    return bands <= _MOST_COLOURS and bits <= 8 and not is_separate


def read_bands(file: Path) -> NDArray[np.float32]:
    """All bands of a TIFF as float32 ``(1, bands, height, width)``, in the units of the file.

    Raises:
        DataError: tifffile is not installed, or the file holds no image of bands.
    """
    check_image_file(file)
    try:
        import tifffile
    except ImportError as error:
        advice = "pip install 'ftonnx[geo]'"
        raise DataError(
            f"{file}: expected a picture, got a TIFF of several bands or of 16 bits; to read it: {advice}"
        ) from error
    # it logs what its exceptions say, and what it reads over
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        # what its own files say of their shape is not believed: it may send tifffile nowhere;
        # it subtracts what tags hold, whatever that is
        with np.errstate(all="ignore"), tifffile.TiffFile(file, is_shaped=False) as opened:
            # counted first: tifffile may look for ever for what belongs to pages that it has not counted
            pages = len(opened.pages)
            if pages > _MOST_PAGES:
                raise ValueError(f"{pages:,} pages")
            series = opened.series[0]
            axes = series.axes
            if series.size > _MOST_VALUES:
                raise ValueError(f"{series.size:,} numbers")
            pixels = series.asarray()
            if not pixels.size:
                raise ValueError("no numbers at all")
    except Interrupted:
        raise
    except Exception as error:
        # a hostile TIFF fails in many ways
        raise DataError(f"{file}: expected a TIFF of bands, got {describe(error)}; repair or remove it") from error
    bands = _bands_first(pixels, axes)
    if bands is None or pixels.dtype.kind not in "uif":
        got = f"{pixels.dtype} of shape {pixels.shape}"
        raise DataError(f"{file}: expected numbers as (height, width, bands) or (bands, height, width), got {got}")
    result: NDArray[np.float32] = np.ascontiguousarray(bands[None], np.float32)
    return result


def _bands_first(pixels: NDArray[Any], axes: str) -> NDArray[Any] | None:
    """The array as (bands, height, width), by what tifffile calls its axes; None where it is no such image."""
    if axes.endswith("YXS") and pixels.ndim == 3:
        return pixels.transpose(2, 0, 1)
    if axes.endswith("YX") and pixels.ndim == 3:
        return pixels
    if axes == "YX":
        return pixels[None]
    return None
