"""One image file as pixels; Pillow is imported when one is read."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, Interrupted, describe

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["IMAGE_SUFFIXES", "read_rgb"]

# not EPS, for which Pillow starts Ghostscript
_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

IMAGE_SUFFIXES: Final = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""What the names of files in these formats end in, in small letters."""


def read_rgb(file: Path) -> NDArray[np.uint8]:
    """Pixels of one file as uint8 ``(1, 3, height, width)``, the first frame where there are several.

    Gray, palette and CMYK images are converted, transparency is dropped, 16-bit gray keeps its upper 8 bits,
    and an orientation in the EXIF data is not followed (as in torchvision's ImageFolder).

    Raises:
        DataError: The file cannot be read as an image.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow warns of many a file that it reads well, but a bomb shall not fill the memory
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=_FORMATS) as image:
                return _pixels(image)
    except Interrupted:
        raise
    except Exception as error:
        # a hostile image fails in many ways
        raise DataError(f"{file}: expected an image, got {describe(error)}; repair or remove it") from error


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
