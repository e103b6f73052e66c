"""One image file as pixels; Pillow is imported when one is read."""

import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import check_image_file
from ftonnx.datasets.tiff_files import TIFF_SUFFIXES, is_picture, quiet_libtiff, read_bands
from ftonnx.errors import DataError, Interrupted, describe

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_FORMATS", "IMAGE_SUFFIXES", "decode_rgb", "read_image"]

IMAGE_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may look for, whatever a file is called: not EPS, for which it starts Ghostscript."""

_TIFF_BEGINNINGS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

IMAGE_SUFFIXES: Final = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What the names of files in these formats end in, in small letters."""


def read_image(file: Path) -> NDArray[Any]:
    """One file as ``(1, channels, height, width)``: a picture as RGB bytes, bands as float32 in the units of the file.

    Of several frames it is the first. Gray, palette and CMYK pictures are converted, transparency is dropped, 16-bit
    gray of a PNG keeps its upper 8 bits, and an orientation in the EXIF data is not followed (as in torchvision's
    ImageFolder).
    A TIFF of more than four bands, of 16 bits in one or more than 8 in each of several, or that stores them apart is no
    picture.

    Raises:
        DataError: The file cannot be read as an image.
    """
    check_image_file(file)
    if file.suffix.lower() in TIFF_SUFFIXES and not _is_picture(file):
        return read_bands(file)
    return _decoded(file, where=str(file))


def decode_rgb(content: bytes, where: str) -> NDArray[np.uint8]:
    """Pixels of a picture's content as uint8 ``(1, 3, height, width)``, as ``read_image`` gives them.

    Args:
        content: Of the file.
        where: It came from, for messages.

    Raises:
        DataError: It is no image that can be read.
    """
    return _decoded(io.BytesIO(content), where)


def _is_picture(file: Path) -> bool:
    """Whether Pillow reads all that is in a TIFF; it knows none of many bands."""
    from PIL import Image, UnidentifiedImageError

    # it writes on stderr what its exceptions say
    logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=("TIFF",)) as image:
                return is_picture(image)
    except UnidentifiedImageError:
        # one of many bands, if it is a TIFF at all
        return not _is_tiff(file)
    except Interrupted:
        raise
    except Exception:
        # a hostile TIFF fails in many ways; one that cannot be read at all is reported as every other file is
        return True


def _is_tiff(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) in _TIFF_BEGINNINGS


def _decoded(source: Path | io.BytesIO, where: str) -> NDArray[np.uint8]:
    from PIL import Image

    quiet_libtiff()
    try:
        with warnings.catch_warnings():
            # Pillow warns of many a file that it reads well, but a bomb shall not fill the memory
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=IMAGE_FORMATS) as image:
                return _pixels(image)
    except Interrupted:
        raise
    except Exception as error:
        # a hostile image fails in many ways
        raise DataError(f"{where}: expected an image, got {describe(error)}; repair or remove it") from error


def _pixels(image: "Image.Image") -> NDArray[np.uint8]:
    # what is white in them, only their maker knows
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels, whose range is not defined (convert to 8 or 16 bits)")
    # Pillow would clip them to 255
    if image.mode.startswith("I;16"):
        deep = np.asarray(image)
        upper = deep >> 8
        gray = upper.astype(np.uint8)
        return np.repeat(gray[None, None], 3, axis=1)
    rgb_image = image.convert("RGB")
    rgb = np.asarray(rgb_image)
    channels_first = rgb.transpose(2, 0, 1)
    return channels_first[None]
