"""TIFF files of bands, against tifffile by hand."""

import logging
import os
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from images_kit import all_of

from ftonnx.datasets import Preprocess, load_dataset
from ftonnx.datasets.tiff_files import read_bands
from ftonnx.errors import DataError

SHARED = Path(os.environ.get("FTONNX_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "eurosat"
BANDS = np.random.default_rng(5).integers(0, 2**16, (6, 7, 13), np.uint16)


@pytest.fixture
def write(tmp_path):
    """A function that writes a TIFF into the only class, and gives the spec."""
    (tmp_path / "a").mkdir()

    def written(pixels, **options):
        tifffile.imwrite(tmp_path / "a" / "x.tif", pixels, **options)
        return f"folder:{tmp_path}"

    return written


def first(spec, **fields):
    """Return the only image as it is fed."""
    return all_of(load_dataset(spec, preprocess=Preprocess(**fields)))[0][0]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("bands", [2, 3, 4, 13])
def test_all_bands_are_read_in_the_units_of_the_file(write, bands, planarconfig, compression):
    """However they are stored; Pillow reads one band of some, and none of others."""
    pixels = BANDS[..., :bands]
    stored = pixels if planarconfig == "contig" else pixels.transpose(2, 0, 1)
    spec = write(stored, photometric="minisblack", planarconfig=planarconfig, compression=compression)
    data = load_dataset(spec)
    assert data.sample_shape == (bands, 6, 7)
    assert data.preprocess.as_dict() == {}
    np.testing.assert_array_equal(first(spec), pixels.transpose(2, 0, 1))


def test_one_band_of_sixteen_bits_is_read_in_the_units_of_the_file(write, tmp_path):
    """It is no gray picture, whose upper bits would be all that is left; with label maps too."""
    spec = write(BANDS[..., 0], photometric="minisblack")
    np.testing.assert_array_equal(first(spec), BANDS[None, ..., 0])
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "x.tif", (BANDS[..., 0] > 9999).astype(np.uint8))
    data = load_dataset(f"masks:{tmp_path / 'a'},{tmp_path / 'masks'}")
    np.testing.assert_array_equal(all_of(data)[0], BANDS[None, None, ..., 0])


def test_one_band_of_eight_bits_is_a_gray_picture(write):
    """Of three equal colours."""
    gray = BANDS[..., 0].astype(np.uint8)
    data = load_dataset(write(gray, photometric="minisblack"), preprocess=Preprocess(scale=1.0))
    np.testing.assert_array_equal(all_of(data)[0][0], np.stack([gray] * 3))


def test_a_picture_stored_plane_by_plane_has_all_its_colours(write):
    """Eight bits, three planes, deflated: bands, since Pillow would give the first."""
    pixels = BANDS[..., :3].astype(np.uint8)
    spec = write(pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression="zlib")
    np.testing.assert_array_equal(first(spec), pixels.transpose(2, 0, 1))


def test_a_picture_stays_a_picture(write):
    """Eight bits, three colours, pixel by pixel."""
    pixels = BANDS[..., :3].astype(np.uint8)
    data = load_dataset(write(pixels, photometric="rgb"))
    assert data.preprocess.as_dict() == {"scale": 1 / 255, "channels": "rgb"}
    assert data.has_pixels


def test_bands_are_normalised_and_cropped_as_channels(write):
    """A value for each."""
    spec = write(BANDS, photometric="minisblack", planarconfig="contig")
    mean = tuple(float(number) for number in range(13))
    got = first(spec, scale=1e-4, mean=mean, crop=4)
    expected = (BANDS.transpose(2, 0, 1)[:, 1:5, 2:6] * np.float32(1e-4)) - np.float32(mean)[:, None, None]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match=r"needs images of 1 or 3 channels, got 13"):
        load_dataset(spec, preprocess=Preprocess(channels="rgb"))
    assert not load_dataset(spec).has_pixels


def test_without_tifffile_one_line_says_what_to_install(write, monkeypatch):
    """Not one band, and no traceback."""
    spec = write(BANDS, photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"x\.tif: expected a picture, got a TIFF of several bands.*ftonnx\[geo\]"):
        load_dataset(spec)


def test_damaged_files_are_one_line(write, tmp_path, caplog, capsys):
    """Cut off; nothing else is written."""
    spec = write(BANDS, photometric="minisblack", planarconfig="contig")
    file = tmp_path / "a" / "x.tif"
    whole = file.read_bytes()
    for content in (whole[:200], whole[:9], b"", b"nothing of the kind"):
        file.write_bytes(content)
        with caplog.at_level(logging.WARNING), pytest.raises(DataError, match=r"x\.tif: expected") as caught:
            load_dataset(spec)
        assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


def test_a_stack_of_images_is_none(write):
    """Nobody can tell which is meant."""
    spec = write(np.stack([BANDS, BANDS]), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match=r"expected numbers as \(height, width, bands\) or .*got uint16 of shape"):
        load_dataset(spec)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the multispectral EuroSAT sample is not here (FTONNX_SHARED)")
def test_the_real_multispectral_eurosat(tmp_path, capfd):
    """13 bands of 16 bits, without a word from Pillow."""
    shutil.unpack_archive(SHARED / "multispectral_20.zip", tmp_path)
    data = load_dataset(f"eurosat:{tmp_path}", preprocess=Preprocess(resize=64, crop=64))
    images, _ = all_of(data)
    assert images.shape == (20, 13, 64, 64)
    assert images.max() > 255
    assert "More samples" not in capfd.readouterr().err


def test_a_negative_height_sends_nobody_round(tmp_path):
    """Tifffile looked for ever for the pages of an image whose shape its own description tells."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((6, 6), np.uint8))
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    (place,) = (each for each in places if struct.unpack_from("<H", data, each) == (257,))
    struct.pack_into("<HHIh", data, place, 257, 8, 1, -2)
    path.write_bytes(data)
    with pytest.raises(DataError, match="a TIFF of bands"):
        read_bands(path)
