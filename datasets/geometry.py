"""Resize, crop and channel order of image arrays ``(batch, channels, height, width)``, uint8 or float32.

Geometry and rounding are those of torchvision on Pillow images (``Resize`` with its bilinear filter and
``CenterCrop``), so that a network sees the pixels it was trained on. Pillow is imported by the resize only.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError

__all__ = ["centre_crop", "resize_short_side", "resized_shape", "to_channels"]

MAX_PIXELS = 1 << 27
"""Largest image that a resize makes; a sliver of 1 x 50,000 pixels would otherwise fill the memory."""


def to_channels(images: NDArray[Any], channels: str | None) -> NDArray[Any]:
    """Bring gray or RGB images to ``"rgb"``, ``"bgr"`` or ``"gray"``; None leaves them as they are.

    Gray is Pillow's luma (ITU-R 601-2), for uint8 in its integer form. Gray becomes RGB by repetition.
    """
    if channels is None:
        return images
    if images.shape[1] not in (1, 3):
        raise DataError(f"channels={channels!r} needs images of 1 or 3 channels, got {images.shape[1]}")
    gray = images.shape[1] == 1
    if channels == "gray":
        return images if gray else _luma(images)
    rgb = np.repeat(images, 3, axis=1) if gray else images
    return rgb[:, ::-1] if channels == "bgr" else rgb


def _luma(images: NDArray[Any]) -> NDArray[Any]:
    """Gray ``(batch, 1, height, width)`` of RGB images, in their dtype."""
    if images.dtype == np.uint8:
        weights = np.array([19595, 38470, 7471], np.uint32)  # 0.299, 0.587, 0.114 in 1/65536
        sums: NDArray[np.uint32] = np.einsum("bchw,c->bhw", images.astype(np.uint32), weights)
        return ((sums + 0x8000) >> 16).astype(np.uint8)[:, None]
    gray: NDArray[Any] = np.einsum("bchw,c->bhw", images, np.array([0.299, 0.587, 0.114], images.dtype))
    return gray[:, None]


def resized_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Size with the short side at ``short`` pixels and the aspect ratio kept, rounded down.

    >>> resized_shape(375, 500, 256)
    (256, 341)
    """
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short


def resize_short_side(images: NDArray[Any], short: int) -> NDArray[Any]:
    """Resize so that the short side has ``short`` pixels (Pillow, bilinear with antialiasing)."""
    height, width = images.shape[2:]
    if min(height, width) == short:
        return images
    size = resized_shape(height, width, short)
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"resize={short} would turn {height} x {width} pixels into {size[0]} x {size[1]}")
    return np.stack([_resized(image, size) for image in images])


def _resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """One image ``(channels, height, width)`` at ``size`` (height, width)."""
    from PIL import Image

    target = size[::-1]
    if len(image) == 3 and image.dtype == np.uint8:
        packed = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        return np.asarray(packed.resize(target, Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in image]
    return np.stack([np.asarray(plane.resize(target, Image.Resampling.BILINEAR)) for plane in planes])


def centre_crop(images: NDArray[Any], size: int) -> NDArray[Any]:
    """The middle ``size`` x ``size`` pixels; half an odd margin is rounded to even, as torchvision does."""
    height, width = images.shape[2:]
    if min(height, width) < size:
        got = f"an image of {height} x {width} pixels"
        raise DataError(f"crop={size} is larger than {got}; resize to {size} or more, or crop less")
    top, left = round((height - size) / 2), round((width - size) / 2)
    return images[:, :, top : top + size, left : left + size]
