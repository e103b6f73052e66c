"""One class per image: cross entropy of logits, by RAdam, as in the paper's fine-tuning for earth observation."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, UsageError
from ftonnx.training.labels.base import Labels, got
from ftonnx.training.loop import Step, Totals

__all__ = ["ClassNumbers"]


class ClassNumbers(Labels):
    """The number of every image's class."""

    form: ClassVar[str] = "one class number per image"
    rate: ClassVar[float] = 1e-3

    @classmethod
    def fit(cls, data: Dataset) -> bool:
        """See ``Labels.fit``."""
        return data.classes is not None

    @classmethod
    def of(cls, data: Dataset, validation: Dataset, classes: int | None) -> Self:
        """See ``Labels.of``."""
        if np.count_nonzero(data.counts()) < 2:
            raise DataError(f"{data.name}: images of two classes or more were expected, got one")
        if validation.classes != data.classes:
            expected = f"{data.classes} classes, as the training images have"
            raise DataError(f"{validation.name}: expected {expected}, got {validation.classes}")
        known = data.classes or 0
        if classes is not None and classes < known:
            raise UsageError(f"classes: {known} or more were expected, as {data.name} has, got {classes}")
        return cls(classes or known)

    def optimizer(self, parameters: Iterable[Tensor], rate: float) -> torch.optim.Optimizer:
        """See ``Labels.optimizer``."""
        return torch.optim.RAdam(parameters, lr=rate)

    def misfit(self, scores: Any, labels: Tensor) -> str | None:
        """See ``Labels.misfit``."""
        if not isinstance(scores, Tensor) or scores.ndim != 2:
            return f"logits (batch, classes) were expected from the network, got {got(scores)}"
        if scores.shape[1] < self.classes:
            return f"logits of {self.classes} classes were expected from the network, got {scores.shape[1]}"
        return None

    def learnt(self, scores: Tensor, labels: Tensor) -> Step:
        """See ``Labels.learnt``."""
        loss = functional.cross_entropy(scores, labels)
        right = int((scores.argmax(1) == labels).sum())
        return Step(loss=loss, weight=len(labels), images=len(labels), watched={"right": right})

    def accuracy(self, totals: Totals) -> float:
        """See ``Labels.accuracy``: the share of images that are right."""
        return totals.watched["right"] / totals.images
