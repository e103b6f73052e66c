"""The preprocessing of images: seven optional fields, merged from several sources, applied in one order."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.geometry import INTERPOLATIONS, Interpolation, centre_crop, resize_short_side, to_channels
from ftonnx.errors import DataError, UsageError

__all__ = ["Preprocess"]

_CHANNELS = ("rgb", "bgr", "gray")
_MAX_SIDE = 16384
_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How stored images become model inputs; None leaves a field to the next source, or undone.

    Applied in this order: channels, resize, crop, then ``(image * scale - mean) / std`` in float32.

    Attributes:
        scale: Factor on the stored values, such as 1/255 for 8-bit pixels.
        mean: Subtracted after scaling, one value or one per channel (in the final channel order).
        std: Divided by after that, one value or one per channel.
        resize: Short side in pixels (with antialiasing, aspect ratio kept).
        interpolation: Filter of the resize, ``bilinear`` where nobody says one.
        crop: Side of the square cut from the centre, in pixels.
        channels: Channel order fed to the model; stored images of three channels are taken as RGB.

    Raises:
        UsageError: A value is not finite, not positive where it must be, or contradicts another field.
    """

    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | None = None
    crop: int | None = None
    channels: Literal["rgb", "bgr", "gray"] | None = None
    interpolation: Interpolation | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:
            self._set("scale", _positive("scale", self.scale))
        if self.mean is not None:
            self._set("mean", _each("mean", self.mean, _number))
        if self.std is not None:
            self._set("std", _each("std", self.std, _positive))
        if self.resize is not None:
            self._set("resize", _pixels("resize", self.resize))
        if self.crop is not None:
            self._set("crop", _pixels("crop", self.crop))
        self._check_channels()
        self._check_interpolation()
        # each field by itself first: these compare two of them
        self._check_lengths()
        self._check_crop()

    def merged(self, fallback: "Preprocess") -> "Preprocess":
        """This, with every field that is None taken from ``fallback``.

        >>> Preprocess(crop=224).merged(Preprocess(crop=192, resize=256))
        Preprocess(scale=None, mean=None, std=None, resize=256, crop=224, channels=None, interpolation=None)
        """
        # as dictionaries, which leave out what nobody said
        values = fallback.as_dict()
        values.update(self.as_dict())
        return Preprocess(**values)

    def apply(self, images: NDArray[Any]) -> NDArray[Any]:
        """Model inputs from stored images.

        Args:
            images: ``(batch, channels, height, width)``, uint8 or float32; not changed. Other arrays (signals, tables,
                tokens) have no channels and no sides: floats are scaled by single numbers, whole numbers are left as
                they are.

        Returns:
            A new, contiguous float32 array ``(batch, channels', height', width')``.

        Raises:
            DataError: The images have the wrong number of channels, or are smaller than the crop; or the array is no
                images and these are asked for.
        """
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
            return self._applied_to_others(images)
        images = to_channels(images, self.channels)
        if self.resize is not None:
            images = resize_short_side(images, self.resize, self.interpolation or "bilinear")
        if self.crop is not None:
            images = centre_crop(images, self.crop)
        return self._normalised(images)

    def _applied_to_others(self, array: NDArray[Any]) -> NDArray[Any]:
        for key in ("channels", "resize", "crop", "interpolation"):
            if getattr(self, key) is not None:
                raise DataError(
                    f"{key}: uint8 or float32 images (batch, channels, height, width) were expected, got {array.dtype} "
                    f"of shape {array.shape}; leave it out"
                )
        if array.dtype.kind == "f":
            return self._normalised(array)
        if self.mean is not None or self.std is not None:
            raise DataError(f"mean and std: floats were expected, got {array.dtype}; leave them out")
        # tokens, masks, counts: a scale for pixels is not meant for them
        return np.array(array, order="C")

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, as plain values that JSON and TOML can hold.

        >>> Preprocess(scale=0.5, mean=(0.5,)).as_dict()
        {'scale': 0.5, 'mean': [0.5]}
        """
        plain = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isinstance(value, tuple):
                value = list(value)
            plain[field.name] = value
        return plain

    def _normalised(self, images: NDArray[Any]) -> NDArray[np.float32]:
        # a new array, on which the rest works in place
        result: NDArray[np.float32] = np.array(images, dtype=np.float32, order="C")
        channels = images.shape[1] if images.ndim == 4 else 1
        # the data set reports what is not finite
        with np.errstate(over="ignore", invalid="ignore"):
            if self.scale is not None:
                # in float32, as runtimes would: a float64 factor would round elsewhere
                result *= np.float32(self.scale)
            if self.mean is not None:
                result -= _per_channel("mean", self.mean, channels)
            if self.std is not None:
                result /= _per_channel("std", self.std, channels)
        return result

    def _check_channels(self) -> None:
        if self.channels is None:
            return
        if self.channels not in _CHANNELS:
            known = ", ".join(_CHANNELS)
            raise UsageError(f"channels: expected one of {known}, got {self.channels!r}")

    def _check_interpolation(self) -> None:
        if self.interpolation is None:
            return
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise UsageError(f"interpolation: expected one of {known}, got {self.interpolation!r}")

    def _check_lengths(self) -> None:
        if self.mean is None or self.std is None:
            return
        means = len(self.mean)
        deviations = len(self.std)
        # a single value counts for every channel
        if means == deviations or 1 in (means, deviations):
            return
        fewer = min(means, deviations)
        more = max(means, deviations)
        got = f"{fewer} and {more} values"
        raise UsageError(f"mean and std: expected one value per channel in both, got {got}")

    def _check_crop(self) -> None:
        # without a resize, images may have any size
        if self.resize is None or self.crop is None:
            return
        if self.crop > self.resize:
            expected = f"at most resize={self.resize} pixels"
            raise UsageError(f"crop: expected {expected}, got {self.crop}")

    def _set(self, key: str, value: object) -> None:
        # the way around ``frozen``, for values that are brought to their type on construction
        object.__setattr__(self, key, value)


def _number(key: str, value: object) -> float:
    # Real takes the numbers of numpy too; strings such as "1/255" are no numbers
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{key}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    # not "above": NaN is neither above nor below
    if not abs(number) <= _LARGEST:
        raise UsageError(f"{key}: expected a finite float32 number, got {number}")
    return number


def _positive(key: str, value: object) -> float:
    number = _number(key, value)
    # runtimes may take subnormal numbers for 0, and divide by it
    if number < _SMALLEST_NORMAL:
        raise UsageError(f"{key}: expected a positive (normal float32) number, got {number}")
    return number


def _pixels(key: str, value: object) -> int:
    side = 0
    # Python's True is an integer too
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        side = int(value)
    if not 1 <= side <= _MAX_SIDE:
        expected = f"a whole number of pixels from 1 to {_MAX_SIDE}"
        raise UsageError(f"{key}: expected {expected}, got {value!r}")
    return side


def _each(key: str, values: object, check: Callable[[str, object], float]) -> tuple[float, ...]:
    """One checked number, or one per channel."""
    checked = []
    for value in _sequence(key, values):
        number = check(key, value)
        checked.append(number)
    return tuple(checked)


def _sequence(key: str, values: object) -> tuple[object, ...]:
    if not isinstance(values, tuple | list) or not values:
        expected = "a list of one number, or one per channel"
        raise UsageError(f"{key}: expected {expected}, got {values!r}")
    return tuple(values)


def _per_channel(key: str, values: tuple[float, ...], channels: int) -> NDArray[np.float32]:
    """Values as float32 ``(1 or channels, 1, 1)``."""
    count = len(values)
    if count not in (1, channels):
        expected = f"one value, or one for each of {channels} channels"
        raise DataError(f"{key}: expected {expected}, got {count}")
    array = np.array(values, np.float32)
    # broadcasts over height and width
    return array.reshape(-1, 1, 1)
