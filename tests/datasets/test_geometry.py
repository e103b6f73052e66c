"""Resize and crop, against Pillow and torchvision."""

import numpy as np
import pytest
from images_kit import pil, random_images
from PIL import Image

from ftonnx.datasets.geometry import INTERPOLATIONS, centre_crop, resize_short_side


@pytest.mark.parametrize(("height", "width"), [(9, 12), (12, 9), (31, 20), (20, 31), (16, 16)])
def test_resize_is_pillows_bilinear_on_the_short_side(height, width):
    """Up and down, the pixels are those of Pillow at torchvision's size."""
    transforms = pytest.importorskip("torchvision.transforms")
    images = random_images((2, 3, height, width))
    got = resize_short_side(images, 16)
    for image, result in zip(images, got, strict=True):
        expected = transforms.Resize(16)(pil(image))
        np.testing.assert_array_equal(result.transpose(1, 2, 0), np.asarray(expected))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_works_on_any_number_of_channels(dtype):
    """Each plane of a five-channel image is resized as if it were alone."""
    images = random_images((1, 5, 8, 10), dtype)
    got = resize_short_side(images, 4)
    assert got.shape == (1, 5, 4, 5)
    assert got.dtype == dtype
    for plane, result in zip(images[0], got[0], strict=True):
        expected = Image.fromarray(plane).resize((5, 4), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(result, np.asarray(expected))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_every_filter_is_pillows(interpolation):
    """By its name in Pillow."""
    images = random_images((1, 3, 12, 15))
    got = resize_short_side(images, 8, interpolation)
    expected = pil(images[0]).resize((10, 8), getattr(Image.Resampling, interpolation.upper()))
    np.testing.assert_array_equal(got[0], np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("crop", range(1, 10))
def test_crop_is_torchvisions_centre_crop(crop):
    """Odd margins included."""
    transforms = pytest.importorskip("torchvision.transforms")
    image = random_images((1, 3, 9, 12))
    expected = np.asarray(transforms.CenterCrop(crop)(pil(image[0])))
    np.testing.assert_array_equal(centre_crop(image, crop)[0].transpose(1, 2, 0), expected)
