"""Images kept as they were stored: preprocessed when they are read, so that a model can still say how."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.base import Dataset
from ftonnx.datasets.request import Resolved

__all__ = ["StoredDataset"]


class StoredDataset(Dataset):
    """A data set whose preprocessing is ftonnx's own; a leaf says how it looks with another one."""

    def __init__(
        self,
        *,
        name: str,
        split: str | None,
        classes: int,
        resolved: Resolved,
        sample_shape: tuple[int, int, int],
        labels: NDArray[np.int64],
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

    @abstractmethod
    def _preprocessed_by(self, resolved: Resolved) -> Self:
        """The same images with another preprocessing; this data set is left as it is."""

    @final
    def completed(self, model_metadata: Mapping[str, str] | None) -> Dataset:
        """See ``Dataset.completed``."""
        resolved = self._resolved.completed(model_metadata)
        # the same object, so that what was measured on it can be reused
        if resolved == self._resolved:
            return self
        made = self._preprocessed_by(resolved)
        if self.source:
            # opened again from its source, it shall be fed as it is now
            preprocess = made.preprocess.as_dict()
            made.source = {**self.source, "preprocess": preprocess}
        return made
