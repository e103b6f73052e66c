"""Tasks: what a model's outputs are worth, as integer counts per unit."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError

__all__ = ["Classification", "Outcomes", "Task"]

_TOP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How many images of one run had which outcome.

    Attributes:
        n: images.
        correct1: label is the top-1 class.
        correct5: label is among the top-5 classes.
        sdc1: silent data corruption; the top-1 class is not the golden run's.
        sdc5: the top-1 class is not among the golden run's top-5.
        masked: output bit-identical to the golden run's.
        due: detected error; the output holds NaN or Inf. Neither correct nor silent.
    """

    n: int
    correct1: int
    correct5: int
    sdc1: int
    sdc5: int
    masked: int
    due: int


class Task(ABC):
    """Turns outputs and labels into counts."""

    @abstractmethod
    def check(self, outputs: NDArray[Any], images: int, classes: int) -> None:
        """Raise ModelError or DataError when golden outputs do not fit the task and the data."""

    @abstractmethod
    def count(self, outputs: NDArray[Any], golden: NDArray[Any], labels: NDArray[np.int64]) -> Outcomes:
        """Count the outcomes of one run."""

    def crashed(self, images: int) -> Outcomes:
        """Return the outcomes of a run that gave no outputs: every image is a detected error."""
        return Outcomes(n=images, correct1=0, correct5=0, sdc1=0, sdc5=0, masked=0, due=images)


class Classification(Task):
    """One class per image; outputs are scores ``(batch, classes)``.

    Equal scores rank by class number, as ``argmax`` does. Where a model has fewer than five
    classes, every finite output has the label among its top five.
    """

    def check(self, outputs: NDArray[Any], images: int, classes: int) -> None:
        """Require scores for every image and every class that the labels name."""
        numbers = isinstance(outputs, np.ndarray) and outputs.dtype.kind in "fiu"  # not a sequence, map or string
        if not numbers or outputs.ndim != 2 or len(outputs) != images:
            got = f"{outputs.dtype} of shape {outputs.shape}" if isinstance(outputs, np.ndarray) else "no array"
            raise ModelError(
                f"a classifier's output, numbers of shape (batch, classes), was expected; got {got} for {images} images"
            )
        if classes > outputs.shape[1]:
            raise DataError(f"the labels name {classes} classes, but the model scores only {outputs.shape[1]}")

    def count(self, outputs: NDArray[Any], golden: NDArray[Any], labels: NDArray[np.int64]) -> Outcomes:
        """Count the outcomes of one run.

        >>> golden = np.array([[.6, .3, .1, 0, 0, 0]])
        >>> faulty = np.array([[.3, .6, .1, 0, 0, 0]])
        >>> Classification().count(faulty, golden, np.array([0]))
        Outcomes(n=1, correct1=0, correct5=1, sdc1=1, sdc5=0, masked=0, due=0)
        """
        finite, golden_finite = _finite(outputs), _finite(golden)
        label_rank, top1 = _rank(outputs, labels), _top1(outputs)
        silent = finite & golden_finite
        return Outcomes(
            n=len(labels),
            correct1=_sum(finite & (label_rank == 0)),
            correct5=_sum(finite & (label_rank < _TOP)),
            sdc1=_sum(silent & (top1 != _top1(golden))),
            sdc5=_sum(silent & (_rank(golden, top1) >= _TOP)),
            masked=_sum(_same_rows(outputs, golden)),
            due=_sum(~finite),
        )


def _finite(scores: NDArray[Any]) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.isfinite(scores).all(axis=1)
    return finite


def _top1(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the best class; rows with NaN get some class, which the caller must not use."""
    return np.asarray(scores.argmax(axis=1), np.int64)


def _rank(scores: NDArray[Any], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes come before the chosen one: higher scores, or equal ones with lower number."""
    own = np.take_along_axis(scores, chosen[:, np.newaxis], axis=1)
    before = np.arange(scores.shape[1]) < chosen[:, np.newaxis]
    rank: NDArray[np.int64] = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return rank


def _same_rows(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    """Compare row by row, bit for bit."""
    a, b = (np.ascontiguousarray(x).view(np.uint8).reshape(len(x), -1) for x in (left, right))
    same: NDArray[np.bool_] = (a == b).all(axis=1)
    return same


def _sum(flags: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))
