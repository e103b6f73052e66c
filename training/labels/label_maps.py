"""One class per pixel: cross entropy of the pixels with a label, by Adam, as in the code of the paper's SwinUNet."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError
from ftonnx.tasks import Counts, Segmentation
from ftonnx.tasks.map_forms import MOST_CLASSES
from ftonnx.training.labels.base import Labels, got
from ftonnx.training.loop import Step, Totals

__all__ = ["LabelMaps"]

_IGNORE: Final = Segmentation().ignore


class LabelMaps(Labels):
    """A map of class numbers for every image; 255 is a pixel without a label, which nothing is learnt from."""

    form: ClassVar[str] = "maps of class numbers (batch, height, width)"
    rate: ClassVar[float] = 1e-5

    @classmethod
    def fit(cls, data: Dataset) -> bool:
        """See ``Labels.fit``."""
        return data.labels.ndim == 3 and data.labels.dtype.kind in "iu"

    @classmethod
    def of(cls, data: Dataset, validation: Dataset, classes: int | None) -> Self:
        """See ``Labels.of``; where nobody says how many classes there are, the highest label does."""
        if not cls.fit(validation):
            labels = validation.labels
            expected = "label maps, as the training images have,"
            raise DataError(f"{validation.name}: {expected} were expected, got {labels.dtype} of shape {labels.shape}")
        found = _present(data)
        tested = _present(validation)
        if len(found) < 2:
            raise DataError(f"{data.name}: label maps of two classes or more were expected, got {found.tolist()}")
        if not len(tested):
            raise DataError(f"{validation.name}: pixels with a label were expected, got none but {_IGNORE}")
        most = classes or max(int(found.max()), int(tested.max())) + 1
        for each, present in ((data, found), (validation, tested)):
            _check(each, present, min(most, MOST_CLASSES))
        return cls(most)

    def optimizer(self, parameters: Iterable[Tensor], rate: float) -> torch.optim.Optimizer:
        """See ``Labels.optimizer``."""
        return torch.optim.Adam(parameters, lr=rate)

    def misfit(self, scores: Any, labels: Tensor) -> str | None:
        """See ``Labels.misfit``."""
        if not isinstance(scores, Tensor) or scores.ndim != 4:
            return f"scores (batch, classes, height, width) were expected from the network, got {got(scores)}"
        if scores.shape[1] < self.classes:
            return f"scores of {self.classes} classes were expected from the network, got {scores.shape[1]}"
        if scores.shape[2:] != labels.shape[1:]:
            height, width = labels.shape[1:]
            return f"scores of {height}x{width} pixels, as the label maps have, were expected, got {got(scores)}"
        return None

    def learnt(self, scores: Tensor, labels: Tensor) -> Step:
        """See ``Labels.learnt``."""
        total = functional.cross_entropy(scores, labels, ignore_index=_IGNORE, reduction="sum")
        labelled = int((labels != _IGNORE).sum())
        # a batch without a label teaches nothing, and is no 0 / 0
        loss = total / max(labelled, 1)
        counts = self._counted(scores.detach().float().cpu().numpy(), labels.cpu().numpy())
        return Step(loss=loss, weight=labelled, images=len(labels), watched=counts)

    def accuracy(self, totals: Totals) -> float:
        """See ``Labels.accuracy``: the mean over the classes of the share of their pixels that are right."""
        counts = Counts({name: int(value) for name, value in totals.watched.items()})
        return self._task.main.of(counts)

    def _counted(self, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Counts:
        """Count pixels as the task does; a network may have more classes than the labels."""
        task = Segmentation(classes=scores.shape[1], form="channels-first")
        return task.count(scores, scores, labels)

    @cached_property
    def _task(self) -> Segmentation:
        return Segmentation(classes=self.classes)


def _present(data: Dataset) -> NDArray[np.int64]:
    """Return which labels there are, in order."""
    numbers = np.unique(data.labels).astype(np.int64)
    found: NDArray[np.int64] = numbers[numbers != _IGNORE]
    return found


def _check(data: Dataset, present: NDArray[np.int64], classes: int) -> None:
    wrong = present[(present < 0) | (present >= classes)]
    if wrong.size:
        raise DataError(
            f"{data.name}: labels from 0 to {classes - 1}, or {_IGNORE} for pixels without one, were expected, got "
            f"{wrong[0]}; renumber them, or say more `classes`"
        )
