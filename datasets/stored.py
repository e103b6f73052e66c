"""Images kept as they were stored: preprocessed when they are read, so that a model can still say how."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Batch, Dataset
from ftonnx.datasets.labelling import Labelling
from ftonnx.datasets.preprocess import Preprocess
from ftonnx.datasets.request import Resolved
from ftonnx.errors import DataError
from ftonnx.samples import Shape

__all__ = ["AnyOrderDataset", "StoredDataset", "check_like_first", "prepared"]

_logger: Final = logging.getLogger(__name__)


class StoredDataset(Dataset):
    """A data set whose preprocessing is ftonnx's own; a leaf says how it looks with another one."""

    def __init__(
        self,
        *,
        name: str,
        split: str | None,
        classes: int | None,
        resolved: Resolved,
        sample_shape: Shape,
        labels: NDArray[Any],
        labelling: Labelling | None = None,
    ) -> None:
        super().__init__(
            name=name,
            split=split,
            classes=classes,
            preprocess=resolved.effective,
            sample_shape=sample_shape,
            labels=labels,
        )
        self._resolved = resolved
        self.labelling = labelling or _labelling(name, resolved, classes)

    @abstractmethod
    def _preprocessed_by(self, resolved: Resolved) -> Self:
        """The same images with another preprocessing; this data set is left as it is."""

    @final
    def unscaled(self) -> Dataset:
        """See ``Dataset.unscaled``."""
        said = self._resolved.said
        for key, as_stored in (("scale", 1.0), ("mean", None), ("std", None)):
            if getattr(said, key) not in (None, as_stored):
                raise DataError(
                    f"{self.name}: the model takes bytes and scales them by itself; {key} was given: leave it out"
                )
        unscaled = replace(self._resolved, default=replace(self._resolved.default, scale=1.0))
        return self._as(unscaled)

    @final
    def completed(self, model_metadata: Mapping[str, str] | None) -> Dataset:
        """See ``Dataset.completed``."""
        resolved = self._resolved.completed(model_metadata)
        # the same object, so that what was measured on it can be reused
        if resolved == self._resolved:
            return self
        return self._as(resolved)

    @final
    def _fed(self, image: NDArray[Any], where: str) -> NDArray[np.float32]:
        """One stored image ``(1, channels, height, width)`` as it is fed, of the shape of the first one.

        Raises:
            DataError: It cannot be, or has another shape; ``where`` says which image it is.
        """
        fed = prepared(image, self.preprocess, where)
        check_like_first(fed.shape[1:], self.sample_shape, where)
        return fed

    def _as(self, resolved: Resolved) -> Dataset:
        made = self._preprocessed_by(resolved)
        if self.source:
            # opened again from its source, it shall be fed as it is now
            preprocess = made.preprocess.as_dict()
            made.source = {**self.source, "preprocess": preprocess}
        for warning in made.labelling.warnings:
            # the others were said when the data was opened
            if warning not in self.labelling.warnings:
                _logger.warning("%s", warning)
        return made


class AnyOrderDataset(StoredDataset):
    """Stored images of which any part is read without the others; a leaf says how."""

    @property
    @final
    def any_order(self) -> bool:
        """See ``Dataset.any_order``."""
        return True

    @final
    def _pieces(self, size: int) -> Iterator[Batch]:
        for start in range(0, len(self), size):
            yield self._part(slice(start, start + size))

    @abstractmethod
    def _part(self, place: slice) -> Batch:
        """See ``Dataset._part``."""


def prepared(image: NDArray[Any], preprocess: Preprocess, where: str) -> NDArray[np.float32]:
    """One stored image ``(1, channels, height, width)`` as it is fed.

    Raises:
        DataError: It does not suit the preprocessing; ``where`` says which image it is.
    """
    try:
        return preprocess.apply(image)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def check_like_first(shape: tuple[int, ...], first: Shape, where: str) -> None:
    """Refuse an image of another shape than the first one: images of one batch are one array.

    Raises:
        DataError: It has another shape; ``where`` says which image it is.
    """
    if shape != first:
        raise DataError(f"{where}: expected {first} like the first image, got {shape}; give resize and crop")


def _labelling(name: str, resolved: Resolved, classes: int | None) -> Labelling:
    """Names for labels that are stored as numbers: of the first list that has one for each."""
    if classes is None:
        return Labelling()
    for names in resolved.class_names:
        if names.asked and len(names) != classes:
            raise DataError(f"{name}: expected names of {classes} classes, got {len(names)} in {names.source}")
        if len(names) >= classes:
            return Labelling(names=names.shown[:classes])
    return Labelling()
