"""Resize, crop and channel order of image arrays ``(batch, channels, height, width)``, uint8 or float32.

Geometry and rounding are those of torchvision on Pillow images (``Resize`` with one of Pillow's filters and
``CenterCrop``), so that a network sees the pixels it was trained on. Pillow is imported by the resize only.
"""

from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError

__all__ = ["INTERPOLATIONS", "Interpolation", "centre_crop", "resize_short_side", "resized_shape", "to_channels"]

Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""Pillow's filters; all but the nearest pixel average over what a smaller image loses (antialiasing)."""

INTERPOLATIONS: Final = get_args(Interpolation)

MAX_PIXELS = 1 << 27
"""Largest image that a resize makes; a sliver of 1 x 50,000 pixels would otherwise fill the memory."""

_LUMA = (0.299, 0.587, 0.114)
_LUMA_IN_65536THS = (19595, 38470, 7471)


def to_channels(images: NDArray[Any], channels: str | None) -> NDArray[Any]:
    """Bring gray or RGB images to ``"rgb"``, ``"bgr"`` or ``"gray"``; None leaves them as they are.

    Gray is Pillow's luma (ITU-R 601-2), for uint8 in its integer form. Gray becomes RGB by repetition.
    """
    if channels is None:
        return images
    count = images.shape[1]
    if count not in (1, 3):
        raise DataError(f"channels={channels!r} needs images of 1 or 3 channels, got {count}")
    is_gray = count == 1
    if channels == "gray" and is_gray:
        return images
    if channels == "gray":
        return _luma(images)
    rgb = images
    if is_gray:
        rgb = np.repeat(images, 3, axis=1)
    if channels == "bgr":
        return rgb[:, ::-1]
    return rgb


def _luma(images: NDArray[Any]) -> NDArray[Any]:
    """Gray ``(batch, 1, height, width)`` of RGB images, in their dtype."""
    if images.dtype == np.uint8:
        return _luma_of_bytes(images)
    # in the dtype of the images, so that float32 stays float32
    weights = np.array(_LUMA, images.dtype)
    return _weighted(images, weights)


def _luma_of_bytes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma as Pillow computes it: in whole numbers, rounded half up."""
    wide = images.astype(np.uint32)
    weights = np.array(_LUMA_IN_65536THS, np.uint32)
    sums = _weighted(wide, weights)
    # a half, in 65536ths
    rounded = sums + 0x8000
    upper = rounded >> 16
    return upper.astype(np.uint8)


def _weighted(images: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """The weighted sum over the channels, ``(batch, 1, height, width)``."""
    summed: NDArray[Any] = np.einsum("bchw,c->bhw", images, weights)
    return summed[:, None]


def resized_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Size with the short side at ``short`` pixels and the aspect ratio kept, rounded down.

    >>> resized_shape(375, 500, 256)
    (256, 341)
    """
    # multiplied first, as torchvision does: the quotient alone would round elsewhere
    if height <= width:
        long = short * width / height
        return short, int(long)
    long = short * height / width
    return int(long), short


def resize_short_side(images: NDArray[Any], short: int, interpolation: Interpolation = "bilinear") -> NDArray[Any]:
    """Resize so that the short side has ``short`` pixels, with one of Pillow's filters."""
    height = images.shape[2]
    width = images.shape[3]
    # a filter over pixels that stay in their places would still cost a pass
    if min(height, width) == short:
        return images
    new_height, new_width = resized_shape(height, width, short)
    # before anything is allocated
    pixels = new_height * new_width
    if pixels > MAX_PIXELS:
        now = f"{height} x {width} pixels"
        then = f"{new_height} x {new_width}"
        raise DataError(f"resize={short} would turn {now} into {then}")
    size = (new_height, new_width)
    resized = [_resized(image, size, interpolation) for image in images]
    return np.stack(resized)


def _resized(image: NDArray[Any], size: tuple[int, int], interpolation: Interpolation) -> NDArray[Any]:
    """One image ``(channels, height, width)`` at ``size`` (height, width)."""
    # Pillow takes three bytes per pixel at once, and anything else as single planes
    if len(image) == 3 and image.dtype == np.uint8:
        channels_last = image.transpose(1, 2, 0)
        packed = _resized_by_pillow(channels_last, size, interpolation)
        return packed.transpose(2, 0, 1)
    planes = [_resized_by_pillow(plane, size, interpolation) for plane in image]
    return np.stack(planes)


def _resized_by_pillow(pixels: NDArray[Any], size: tuple[int, int], interpolation: Interpolation) -> NDArray[Any]:
    from PIL import Image

    # Pillow reads memory row by row
    contiguous = np.ascontiguousarray(pixels)
    image = Image.fromarray(contiguous)
    # Pillow says (width, height)
    target = size[::-1]
    resized = image.resize(target, Image.Resampling[interpolation.upper()])
    return np.asarray(resized)


def centre_crop(images: NDArray[Any], size: int) -> NDArray[Any]:
    """The middle ``size`` x ``size`` pixels; half an odd margin is rounded to even, as torchvision does."""
    height = images.shape[2]
    width = images.shape[3]
    if min(height, width) < size:
        got = f"an image of {height} x {width} pixels"
        advice = f"resize to {size} or more, or crop less"
        raise DataError(f"crop={size} is larger than {got}; {advice}")
    # Python rounds a half to even, and so does torchvision
    top = round((height - size) / 2)
    left = round((width - size) / 2)
    rows = slice(top, top + size)
    columns = slice(left, left + size)
    return images[:, :, rows, columns]
