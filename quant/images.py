"""Calibration images: from whatever holds them, checked, in batches that the model takes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from ftonnx.errors import DataError
from ftonnx.quant.sessions import elem_type
from ftonnx.samples import Samples, Shape, arrays_of
from ftonnx.sessions import dimension, fixed_batch, padded

__all__ = [
    "Batches",
    "ImageStream",
    "LabelledImages",
    "calibration_batch",
    "images_per_batch",
    "only_array",
    "start_pass",
]


Images = NDArray[Any]
"""One batch: ``(batch, channels, height, width)`` float32, or whatever the model takes, such as tokens."""


class LabelledImages(Protocol):
    """What ``quantize`` needs of a data set; ``ftonnx.Dataset`` has it, and this room knows no data sets."""

    @property
    def sample_shape(self) -> Shape:
        """Shape of one sample, ``(channels, height, width)`` of an image."""

    def completed(self, model_metadata: Mapping[str, str] | None) -> "LabelledImages":
        """Return the images preprocessed as a model's metadata says, where nothing else was said."""

    def batches(self, size: int) -> Iterator[tuple[Samples, NDArray[Any]]]:
        """Go through images and labels once, in batches."""


Batches = Iterable[Images] | Callable[[], Iterator[Images]] | LabelledImages
"""Images ``(batch, channels, height, width)`` in batches, a function that starts a pass, or a data set."""

_MOST_IMAGES: Final = 64
_ELEMENTS: Final = 1_000_000
"""Input elements per batch: all activations of a batch are in memory at once, about 300 times as many."""


def images_per_batch(sample_shape: Shape) -> int:
    """Return how many images are calibrated at a time; their activations must fit into memory together.

    >>> images_per_batch((3, 32, 32)), images_per_batch((3, 224, 224)), images_per_batch((3, 4000, 4000))
    (64, 6, 1)
    """
    shapes = sample_shape.values() if isinstance(sample_shape, dict) else [sample_shape]
    elements = sum(math.prod(shape) for shape in shapes)
    affordable = _ELEMENTS // max(1, elements)
    return max(1, min(_MOST_IMAGES, affordable))


def calibration_batch(model: ModelProto, sample_shape: Shape) -> int:
    """Return how many images of a shape go through a model at a time: as many as it insists on, else what fits."""
    return fixed_batch(model) or images_per_batch(sample_shape)


def only_array(samples: Samples) -> Images:
    """Return samples as the one array that calibration takes.

    Raises:
        DataError: there are several.
    """
    arrays = arrays_of(samples)
    if len(arrays) != 1:
        raise DataError(
            f"calibration takes models with one input, the data gives {len(arrays)} arrays: {list(samples)}"
        )
    return arrays[0]


def start_pass(batches: Batches, model: ModelProto) -> Iterator[Images]:
    """Start a pass over the images.

    A function is called, an iterable begun; a data set is completed by the model's metadata and cut into batches.
    """
    if callable(batches):
        return batches()
    if isinstance(batches, Iterable):
        return iter(batches)
    metadata = {}
    for entry in model.metadata_props:
        metadata[entry.key] = entry.value
    data = batches.completed(metadata)
    size = calibration_batch(model, data.sample_shape)
    return (only_array(samples) for samples, _ in data.batches(size))


def _dimensions(model: ModelProto) -> list[int | None]:
    """Return the sizes of the model's input; None where any will do."""
    value = model.graph.input[0]
    axes = range(len(value.type.tensor_type.shape.dim))
    return [dimension(value, axis) for axis in axes]


def _shown(size: int | None) -> str:
    return "any" if size is None else str(size)


class ImageStream:
    """One pass over checked batches, which keeps the first images for the measurement of errors.

    A model with a fixed batch size gets batches of that size, the last one filled up with its last image.
    """

    def __init__(self, batches: Iterator[Images], model: ModelProto, keep: int) -> None:
        self._shape = _dimensions(model)
        self._dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type(model.graph.input[0]))
        self._fixed = fixed_batch(model)
        self._batches = batches
        self._keep = keep
        self._kept: list[Images] = []
        self.images = 0

    def __iter__(self) -> Iterator[Images]:
        for batch in self._batches:
            images = self._checked(batch)
            for piece in self._pieces(images):
                room = self._keep - self.kept
                if room > 0:
                    # a view would keep the whole batch in memory
                    first = piece[:room].copy()
                    self._kept.append(first)
                yield padded(piece, self._fixed)
            self.images += len(images)

    @property
    def kept(self) -> int:
        """Number of images kept so far."""
        return sum(len(images) for images in self._kept)

    def first(self) -> list[Images]:
        """Return the first images; a pass that was not made is made as far as needed."""
        # ranges from a cache need no pass
        if not self._kept:
            for _ in self:
                if self.kept >= self._keep:
                    break
        if not self._kept:
            raise DataError("calibration needs at least one image, got none")
        return [padded(images, self._fixed) for images in self._kept]

    def _checked(self, batch: Images) -> Images:
        images = np.asarray(batch)
        if images.dtype != self._dtype:
            raise DataError(f"calibration images: {self._dtype} was expected, got {images.dtype}; convert them")
        if self._shape and not self._fits(images):
            sizes = [_shown(size) for size in self._shape[1:]]
            expected = ", ".join(sizes)
            raise DataError(f"calibration images: the model takes (batch, {expected}), got shape {images.shape}")
        # one NaN would spoil every range behind it
        if not np.isfinite(images).all():
            raise DataError("calibration images: NaN or Inf in batch; clean the data")
        return images

    def _fits(self, images: Images) -> bool:
        if images.ndim != len(self._shape):
            return False
        # batches may have any length: they are cut and filled up
        wanted_sizes = self._shape[1:]
        sizes = images.shape[1:]
        pairs = zip(wanted_sizes, sizes, strict=True)
        return all(wanted in (None, got) for wanted, got in pairs)

    def _pieces(self, images: Images) -> Iterator[Images]:
        size = self._fixed or max(len(images), 1)
        for start in range(0, len(images), size):
            yield images[start : start + size]
