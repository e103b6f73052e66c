"""What every kind of labels is: a base class that says when labels and a network fit, and what leaves say."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor

from ftonnx.datasets import Dataset
from ftonnx.errors import ModelError
from ftonnx.training.loop import Step, Totals
from ftonnx.training.settings import TrainingSettings

__all__ = ["Labels"]


class Labels(ABC):
    """Labels of some classes that a network learns.

    A leaf says which data sets have such labels and checks them, how a network that learns them is optimized, what its
    loss is, and how accurate it is.

    Attributes:
        form: What labels are, for messages.
        rate: Learning rate where nobody says one.
        classes: Their number.
    """

    form: ClassVar[str]
    rate: ClassVar[float]

    @final
    def __init__(self, classes: int) -> None:
        """Take the number of classes, see ``of``."""
        self.classes = classes

    @classmethod
    @abstractmethod
    def fit(cls, data: Dataset) -> bool:
        """Say whether a data set has such labels."""

    @classmethod
    @abstractmethod
    def of(cls, data: Dataset, validation: Dataset, classes: int | None) -> Self:
        """Return the labels of a data set that has such ones.

        Args:
            data: Training images.
            validation: Images that say which epoch is best.
            classes: Their number, where somebody said one.

        Raises:
            DataError: There is one class only, or the validation images have others.
            UsageError: There are more classes than were said.
        """

    @abstractmethod
    def optimizer(self, parameters: Iterable[Tensor], rate: float) -> torch.optim.Optimizer:
        """Return what takes the steps."""

    @abstractmethod
    def misfit(self, scores: Any, labels: Tensor) -> str | None:
        """Say why what a network gives is no scores for labels, as "... were expected, got ..."; None where it is."""

    @abstractmethod
    def learnt(self, scores: Tensor, labels: Tensor) -> Step:
        """Return the loss of scores that fit, and what their accuracy is made of."""

    @abstractmethod
    def accuracy(self, totals: Totals) -> float:
        """Return the accuracy on the images of some steps, from 0 to 1."""

    @final
    def step(self, scores: Any, labels: Tensor) -> Step:
        """Return what a network's output comes to.

        Raises:
            ModelError: It is no scores for these labels.
        """
        reason = self.misfit(scores, labels)
        if reason is not None:
            raise ModelError(f"{reason}; the labels are {self.form}")
        return self.learnt(scores, labels)

    @final
    def completed(self, settings: TrainingSettings) -> TrainingSettings:
        """Return settings with the learning rate that is meant where nobody said one."""
        return replace(settings, learning_rate=self.rate_of(settings))

    @final
    def rate_of(self, settings: TrainingSettings) -> float:
        """Return the learning rate that settings mean."""
        return self.rate if settings.learning_rate is None else settings.learning_rate


def got(scores: Any) -> str:
    """Return what a network gives, for messages: the shape of a tensor, or a type."""
    return str(tuple(scores.shape)) if isinstance(scores, Tensor) else type(scores).__name__
