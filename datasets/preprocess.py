"""The preprocessing of images: six optional fields, merged from several sources, applied in one order."""

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.geometry import centre_crop, resize_short_side, to_channels
from ftonnx.errors import DataError, UsageError

__all__ = ["Preprocess"]

_CHANNELS = ("rgb", "bgr", "gray")
_MAX_SIDE = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How stored images become model inputs; None leaves a field to the next source, or undone.

    Applied in this order: channels, resize, crop, then ``(image * scale - mean) / std`` in float32.

    Attributes:
        scale: Factor on the stored values, such as 1/255 for 8-bit pixels.
        mean: Subtracted after scaling, one value or one per channel (in the final channel order).
        std: Divided by after that, one value or one per channel.
        resize: Short side in pixels (bilinear, aspect ratio kept).
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

    def __post_init__(self) -> None:
        if self.scale is not None:
            self._set("scale", _positive("scale", self.scale))
        if self.mean is not None:
            self._set("mean", tuple(_number("mean", value) for value in _sequence("mean", self.mean)))
        if self.std is not None:
            self._set("std", tuple(_positive("std", value) for value in _sequence("std", self.std)))
        for key in ("resize", "crop"):
            if (side := getattr(self, key)) is not None:
                self._set(key, _pixels(key, side))
        if self.channels is not None and self.channels not in _CHANNELS:
            raise UsageError(f"channels: expected one of {', '.join(_CHANNELS)}, got {self.channels!r}")
        self._check_agreement()

    def merged(self, fallback: "Preprocess") -> "Preprocess":
        """This, with every field that is None taken from ``fallback``.

        >>> Preprocess(crop=224).merged(Preprocess(crop=192, resize=256))
        Preprocess(scale=None, mean=None, std=None, resize=256, crop=224, channels=None)
        """
        return Preprocess(**(fallback.as_dict() | self.as_dict()))

    def apply(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Model inputs from stored images.

        Args:
            images: ``(batch, channels, height, width)``, uint8 or float32; not changed.

        Returns:
            A new, contiguous float32 array ``(batch, channels', height', width')``.

        Raises:
            DataError: The images have the wrong number of channels, or are smaller than the crop.
        """
        images = to_channels(images, self.channels)
        if self.resize is not None:
            images = resize_short_side(images, self.resize)
        if self.crop is not None:
            images = centre_crop(images, self.crop)
        return self._normalised(images)

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, as plain values that JSON and TOML can hold.

        >>> Preprocess(scale=0.5, mean=(0.5,)).as_dict()
        {'scale': 0.5, 'mean': [0.5]}
        """
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}
        return {key: value for key, value in plain.items() if value is not None}

    def _normalised(self, images: NDArray[Any]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = np.array(images, dtype=np.float32, order="C")
        with np.errstate(over="ignore", invalid="ignore"):  # the data set reports what is not finite
            if self.scale is not None:
                result *= np.float32(self.scale)
            if self.mean is not None:
                result -= _per_channel("mean", self.mean, images.shape[1])
            if self.std is not None:
                result /= _per_channel("std", self.std, images.shape[1])
        return result

    def _check_agreement(self) -> None:
        lengths = {len(values) for values in (self.mean, self.std) if values is not None} - {1}
        if len(lengths) > 1:
            got = " and ".join(map(str, sorted(lengths)))
            raise UsageError(f"mean and std: expected one value per channel in both, got {got} values")
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise UsageError(f"crop: expected at most resize={self.resize} pixels, got {self.crop}")

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, value)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UsageError(f"{key}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not abs(number) <= float(np.finfo(np.float32).max):
        raise UsageError(f"{key}: expected a finite float32 number, got {number}")
    return number


def _positive(key: str, value: object) -> float:
    number = _number(key, value)
    if number < float(np.finfo(np.float32).tiny):
        raise UsageError(f"{key}: expected a positive (normal float32) number, got {number}")
    return number


def _pixels(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= _MAX_SIDE:
        raise UsageError(f"{key}: expected a whole number of pixels from 1 to {_MAX_SIDE}, got {value!r}")
    return int(value)


def _sequence(key: str, values: object) -> tuple[object, ...]:
    if not isinstance(values, tuple | list) or not values:
        raise UsageError(f"{key}: expected a list of one number, or one per channel, got {values!r}")
    return tuple(values)


def _per_channel(key: str, values: tuple[float, ...], channels: int) -> NDArray[np.float32]:
    """Values as float32 ``(1 or channels, 1, 1)``."""
    if len(values) not in (1, channels):
        raise DataError(f"{key}: expected one value, or one for each of {channels} channels, got {len(values)}")
    return np.array(values, np.float32).reshape(-1, 1, 1)
