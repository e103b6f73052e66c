"""Preprocessing, against NumPy formulas, Pillow and torchvision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images_kit import pil, random_images

from ftonnx.datasets import Preprocess
from ftonnx.errors import DataError, UsageError


def test_normalisation_is_scale_then_mean_then_std():
    """The result is (image * scale - mean) / std, per channel, to float32 rounding."""
    images = random_images()
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    got = Preprocess(scale=1 / 255, mean=mean, std=std).apply(images)
    wide = (images / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wide, rtol=0, atol=2e-6)


@given(st.floats(1e-3, 1e3), st.floats(-10, 10), st.floats(1e-2, 10))
def test_normalisation_is_computed_in_float32(scale, mean, std):
    """The bits are those of three float32 operations in that order."""
    images = random_images((1, 1, 4, 4))
    got = Preprocess(scale=scale, mean=(mean,), std=(std,)).apply(images)
    f = np.float32
    np.testing.assert_array_equal(got, (images.astype(f) * f(scale) - f(mean)) / f(std))


def test_nothing_said_changes_nothing_but_the_type():
    """An empty Preprocess gives the pixels as float32, in a new array."""
    images = random_images(dtype=np.float32)
    got = Preprocess().apply(images)
    np.testing.assert_array_equal(got, images)
    assert not np.shares_memory(got, images)


def test_channel_orders_are_rgb_bgr_and_pillows_gray():
    """Bgr turns the channels around, gray is Pillow's L, and gray images become three equal channels."""
    images = random_images()
    np.testing.assert_array_equal(Preprocess(channels="rgb").apply(images), images)
    np.testing.assert_array_equal(Preprocess(channels="bgr").apply(images), images[:, ::-1])
    gray = Preprocess(channels="gray").apply(images)
    np.testing.assert_array_equal(gray[0, 0], np.asarray(pil(images[0]).convert("L")))
    for order in ("rgb", "bgr"):
        spread = Preprocess(channels=order).apply(gray)
        np.testing.assert_array_equal(spread, np.repeat(gray, 3, axis=1))
    np.testing.assert_array_equal(Preprocess(channels="gray").apply(gray), gray)


def test_gray_of_float_images_is_the_luma():
    """Float pixels use 0.299, 0.587, 0.114."""
    images = random_images(dtype=np.float32)
    got = Preprocess(channels="gray").apply(images)
    expected = 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_merging_goes_field_by_field():
    """A field that is said wins; one that is not comes from the fallback."""
    said = Preprocess(crop=224, mean=(0.5,))
    merged = said.merged(Preprocess(crop=128, resize=256, std=(0.25,)))
    assert merged == Preprocess(crop=224, mean=(0.5,), resize=256, std=(0.25,))


def test_the_plain_form_holds_what_was_said_and_makes_it_again():
    """as_dict leaves out what is None, and is accepted back."""
    said = Preprocess(scale=0.5, mean=(1.0, 2.0, 3.0), channels="bgr")
    assert said.as_dict() == {"scale": 0.5, "mean": [1.0, 2.0, 3.0], "channels": "bgr"}
    assert Preprocess(**said.as_dict()) == said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": 0}, "scale: expected a positive"),
        ({"scale": -1.0}, "scale: expected a positive"),
        ({"scale": 1e-45}, "scale: expected a positive"),
        ({"scale": float("nan")}, "scale: expected a finite"),
        ({"scale": float("inf")}, "scale: expected a finite"),
        ({"scale": 1e39}, "scale: expected a finite"),
        ({"scale": 10**400}, "scale: expected a finite"),
        ({"scale": True}, "scale: expected a number, got True"),
        ({"scale": "1/255"}, "scale: expected a number, got '1/255'"),
        ({"mean": 0.5}, "mean: expected a list"),
        ({"mean": ()}, "mean: expected a list"),
        ({"mean": (0.5, None)}, "mean: expected a number, got None"),
        ({"std": (1.0, 0.0)}, "std: expected a positive"),
        (
            {"mean": (1, 2, 3), "std": (1, 2)},
            "mean and std: expected one value per channel in both, got 2 and 3",
        ),
        ({"resize": 0}, "resize: expected a whole number of pixels"),
        ({"resize": 2.5}, "resize: expected a whole number of pixels"),
        ({"crop": True}, "crop: expected a whole number of pixels"),
        ({"crop": 10**9}, "crop: expected a whole number of pixels"),
        ({"interpolation": "cubic"}, "interpolation: expected one of nearest, box, bilinear, .* got 'cubic'"),
        ({"resize": 224, "crop": 256}, "crop: expected at most resize=224"),
        ({"channels": "rgba"}, "channels: expected one of rgb, bgr, gray, got 'rgba'"),
        ({"channels": 3}, "channels: expected one of"),
    ],
)
def test_values_that_make_no_sense_are_refused(values, message):
    """Each bad value is a UsageError that names its key."""
    with pytest.raises(UsageError, match=message):
        Preprocess(**values)


@pytest.mark.parametrize(
    ("preprocess", "shape", "message"),
    [
        (
            Preprocess(mean=(0.1, 0.2, 0.3)),
            (1, 1, 4, 4),
            "mean: expected one value, or one for each of 1 channels, got 3",
        ),
        (Preprocess(std=(0.1, 0.2)), (1, 3, 4, 4), "std: expected one value, or one for each of 3"),
        (Preprocess(crop=5), (1, 1, 4, 6), "crop=5 is larger than an image of 4 x 6"),
        (Preprocess(channels="gray"), (1, 4, 4, 4), "needs images of 1 or 3 channels, got 4"),
        (Preprocess(resize=16384), (1, 1, 1, 10000), "resize=16384 would turn 1 x 10000"),
    ],
)
def test_images_that_do_not_fit_are_refused(preprocess, shape, message):
    """Each mismatch of images and preprocessing is a DataError that says so."""
    with pytest.raises(DataError, match=message):
        preprocess.apply(random_images(shape))
