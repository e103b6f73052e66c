"""Images of several sensors for models that take each by itself: their channels shared out to the model's inputs."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.samples import Samples

__all__ = ["shared_out"]


def shared_out(data: Dataset, inputs: Mapping[str, tuple[int | None, ...]]) -> Dataset:
    """Return images with their channels shared out to several inputs, in order, where that fits; else as they are.

    Args:
        data: the data set, with its preprocessing complete.
        inputs: shape of each of the model's inputs by name, without the batch; None for a free size.
    """
    shape = data.sample_shape
    if isinstance(shape, dict) or len(shape) != 3:
        return data
    channels: dict[str, int] = {}
    for name, sizes in inputs.items():
        own = sizes[0] if len(sizes) == 3 else None
        if own is None:
            return data
        channels[name] = own
    if sum(channels.values()) != shape[0]:
        return data
    return _SharedOut(data, channels, sides=shape[1:])


def _sides(data: Dataset) -> tuple[int, ...]:
    shape = data.sample_shape
    return () if isinstance(shape, dict) else shape[1:]


class _SharedOut(Dataset):
    """Another data set's images, by the names of inputs."""

    def __init__(self, parent: Dataset, channels: Mapping[str, int], sides: tuple[int, ...]) -> None:
        super().__init__(
            name=parent.name,
            split=parent.split,
            classes=parent.classes,
            preprocess=parent.preprocess,
            sample_shape={name: (count, *sides) for name, count in channels.items()},
            labels=parent.labels,
        )
        self.source = parent.source
        self.labelling = parent.labelling
        self._parent = parent
        self._channels = channels

    def unreadable(self) -> list[str]:
        """See ``Dataset.unreadable``."""
        return self._parent.unreadable()

    def completed(self, model_metadata: Mapping[str, str] | None) -> Dataset:
        """See ``Dataset.completed``; the channels stay shared out."""
        parent = self._parent.completed(model_metadata)
        return self if parent is self._parent else _SharedOut(parent, self._channels, _sides(parent))

    def _pieces(self, size: int) -> Iterator[Batch]:
        for images, labels in self._parent.batches(size):
            yield self._by_name(images), labels

    def _by_name(self, images: Samples) -> dict[str, NDArray[np.float32]]:
        whole = np.asarray(images)
        ends = np.cumsum(list(self._channels.values()))[:-1]
        parts = np.split(whole, ends, axis=1)
        return {name: np.ascontiguousarray(part) for name, part in zip(self._channels, parts, strict=True)}

    def _content(self) -> bytes:
        return f"{dict(self._channels)} {self._parent.fingerprint}".encode()
