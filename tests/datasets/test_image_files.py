"""Single image files, against Pillow by hand."""

import numpy as np
import pytest
from images_kit import all_of
from PIL import Image

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.errors import DataError

PIXELS = np.random.default_rng(7).integers(0, 256, (24, 30, 3), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_kind_of_image_is_converted_as_pillow_does(tmp_path, mode):
    """Gray, palette, CMYK and transparent files give Pillow's RGB and L."""
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / ("x.tif" if mode == "CMYK" else "x.png")
    Image.fromarray(PIXELS).convert(mode).save(path)
    with Image.open(path) as image:
        rgb, gray = np.asarray(image.convert("RGB")), np.asarray(image.convert("RGB").convert("L"))
    unscaled = Preprocess(scale=1.0)
    got = all_of(load_dataset(f"folder:{tmp_path}", preprocess=unscaled))[0][0]
    np.testing.assert_array_equal(got, rgb.transpose(2, 0, 1))
    got = all_of(load_dataset(f"folder:{tmp_path}", preprocess=Preprocess(scale=1.0, channels="gray")))[0][0]
    np.testing.assert_array_equal(got, gray[None])


def test_sixteen_bit_gray_keeps_its_upper_bits(tmp_path):
    """Not clipped to white, which is what a plain conversion does."""
    (tmp_path / "a").mkdir()
    wide = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    Image.fromarray(wide).save(tmp_path / "a" / "x.png")
    data = load_dataset(f"folder:{tmp_path}", preprocess=Preprocess(scale=1.0, channels="gray"))
    np.testing.assert_array_equal(all_of(data)[0][0, 0], wide // 256)


def test_thirty_two_bit_pixels_are_refused(tmp_path):
    """Their range is not known."""
    (tmp_path / "a").mkdir()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a" / "x.tif")
    with pytest.raises(DataError, match=r"x\.tif: expected an image, got ValueError: 32-bit pixels"):
        load_dataset(f"folder:{tmp_path}")
