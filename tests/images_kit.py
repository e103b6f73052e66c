"""Images for the tests of data sets: as arrays, as Pillow has them, and as files in folders."""

import numpy as np
from PIL import Image


def random_images(shape=(2, 3, 9, 12), dtype=np.uint8, seed=1):
    """Return random images ``(batch, channels, height, width)``: bytes, or floats from 0 to 1."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return pixels if dtype == np.uint8 else (pixels / 255).astype(dtype)


def pil(image):
    """Return ``(channels, height, width)`` as Pillow's image."""
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def save_image(path, number=0):
    """Write a small image, another one for every number, and make the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pil(random_images((1, 3, 4, 5), seed=number)[0]).save(path, format="PNG")


def save_by_class(root, images, labels, names):
    """Write one PNG per image, ``00.png`` and so on, into folders named after the classes."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = root / names[label]
        place.mkdir(parents=True, exist_ok=True)
        pil(image).save(place / f"{number:02}.png")


def all_of(data):
    """Return all images and labels of a data set as one batch."""
    return next(data.batches(len(data)))
