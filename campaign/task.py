"""Tasks: what a model's outputs are worth, as integer counts per unit."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError, ModelError

__all__ = ["NAN_RULES", "Classification", "Judge", "NanRule", "Outcomes", "Task"]

NanRule = Literal["due", "argmax"]
NAN_RULES: Final[tuple[NanRule, ...]] = get_args(NanRule)

_TOP: Final = 5
_SUM_TOLERANCE: Final = 0.01  # of probabilities in half precision or eight bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How many images of one run had which outcome.

    Attributes:
        n: images.
        correct1: label is the top-1 class.
        correct5: label is among the top-5 classes.
        sdc1: silent data corruption; the top-1 class is not the golden run's.
        sdc5: the top-1 class is not among the golden run's top-5.
        sdc10: the confidence in the top-1 class, whichever it is, is off by more than 10 % of the golden run's.
        sdc20: the same with 20 % (Li et al., SC'17).
        masked: output bit-identical to the golden run's.
        due: detected error; the output holds NaN or Inf. Neither correct nor silent, unless NaN counts by argmax.
        beneficial: the top-1 class is the label, and the golden run's was not.
    """

    n: int
    correct1: int
    correct5: int
    sdc1: int
    sdc5: int
    sdc10: int
    sdc20: int
    masked: int
    due: int
    beneficial: int


_NOTHING: Final = Outcomes(n=0, correct1=0, correct5=0, sdc1=0, sdc5=0, sdc10=0, sdc20=0, masked=0, due=0, beneficial=0)


class Judge(ABC):
    """Counts the outcomes of runs of one batch, whose golden run it knows."""

    @abstractmethod
    def count(self, outputs: NDArray[Any]) -> Outcomes:
        """Count the outcomes of one run."""


class Task(ABC):
    """Turns outputs and labels into counts."""

    @abstractmethod
    def check(self, outputs: NDArray[Any], images: int, classes: int) -> None:
        """Raise ModelError or DataError when golden outputs do not fit the task and the data."""

    @abstractmethod
    def judge(self, golden: NDArray[Any], labels: NDArray[np.int64]) -> Judge:
        """Return what counts the outcomes of all runs of one batch."""

    def count(self, outputs: NDArray[Any], golden: NDArray[Any], labels: NDArray[np.int64]) -> Outcomes:
        """Count the outcomes of one run."""
        return self.judge(golden, labels).count(outputs)

    def crashed(self, images: int) -> Outcomes:
        """Return the outcomes of a run that gave no outputs: every image is a detected error."""
        return replace(_NOTHING, n=images, due=images)


class Classification(Task):
    """One class per image; outputs are scores ``(batch, classes)``.

    Equal scores rank by class number, as ``argmax`` does. Where a model has fewer than five
    classes, every finite output has the label among its top five.

    Confidence is the largest softmax probability. Outputs that are probabilities already (the golden
    ones of the batch lie in [0, 1] and sum to 1 within 0.01) are taken as they are, others get a softmax.

    An output with NaN or Inf is a detected error: neither right nor silent. With ``nan="argmax"`` it is counted as a
    detected error too, and is judged like any other output besides: NaN ranks before every number, of several NaN the
    lowest class first, as numpy's and torch's argmax have it, and infinities are numbers. A confidence that comes out
    as no finite number is off by more than any share of a golden one; where the golden one is none, nothing is said
    of confidences. A run without outputs then has another class.

    Args:
        nan: ``due`` or ``argmax``.

    >>> golden = np.array([[.6, .3, .1, 0, 0, 0]])
    >>> faulty = np.array([[.3, .6, .1, 0, 0, 0]])
    >>> found = Classification().count(faulty, golden, np.array([0]))
    >>> found.correct1, found.correct5, found.sdc1, found.sdc5, found.sdc10
    (0, 1, 1, 0, 0)
    >>> broken = np.array([[.3, np.nan, .1, 0, 0, 0]])
    >>> [(found.due, found.sdc1) for rule in ("due", "argmax")
    ...  for found in [Classification(nan=rule).count(broken, golden, np.array([0]))]]
    [(1, 0), (1, 1)]
    """

    _nan: NanRule = "due"  # of subclasses too that have an __init__ of their own

    def __init__(self, *, nan: NanRule = "due") -> None:
        self._nan = nan

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

    def judge(self, golden: NDArray[Any], labels: NDArray[np.int64]) -> Judge:
        """Rank the golden scores once for all runs of the batch."""
        return _ScoreJudge(golden, labels, by_argmax=self._nan == "argmax")

    def crashed(self, images: int) -> Outcomes:
        """Return the outcomes of a run that gave no outputs."""
        lost = super().crashed(images)
        if self._nan == "due":
            return lost
        return replace(lost, sdc1=images, sdc5=images, sdc10=images, sdc20=images)


class _ScoreJudge(Judge):
    """Compares scores with golden scores and labels.

    Runs are many and small, so whatever depends on the golden run alone is held.
    """

    def __init__(self, golden: NDArray[Any], labels: NDArray[np.int64], *, by_argmax: bool) -> None:
        self._words, self._labels, self._by_argmax = _words(golden), labels, by_argmax
        self._rows, self._columns = np.arange(len(labels)), np.arange(golden.shape[1])
        self._before = self._columns < labels[:, np.newaxis]
        finite, self._top1 = _finite(golden), golden.argmax(axis=1)
        self._answered = self._answers(finite)
        self._right = self._answered & (self._top1 == labels)
        self._probabilities = _are_probabilities(golden[finite])
        self._confidence = self._confidence_of(golden, self._top1)
        self._confident = self._answered & np.isfinite(self._confidence)
        self._top5 = _top5(golden)
        self._unchanged = self._compared(golden, np.ones(len(labels), np.bool_))

    def count(self, outputs: NDArray[Any]) -> Outcomes:
        same = (_words(outputs) == self._words).all(axis=1)
        return self._unchanged if same.all() else self._compared(outputs, same)

    def _compared(self, outputs: NDArray[Any], same: NDArray[np.bool_]) -> Outcomes:
        finite, top1 = _finite(outputs), outputs.argmax(axis=1)  # the first NaN, where there is one
        answered = self._answers(finite)
        silent, right = answered & self._answered, answered & (top1 == self._labels)
        confident = answered & self._confident
        with np.errstate(all="ignore"):  # rows with NaN or Inf have no change of confidence, or an infinite one
            change = np.abs(self._confidence_of(outputs, top1) - self._confidence)
        return Outcomes(
            n=len(finite),
            correct1=_sum(right),
            correct5=_sum(answered & (self._label_rank(outputs) < _TOP)),
            sdc1=_sum(silent & (top1 != self._top1)),
            sdc5=_sum(silent & ~self._top5[self._rows, top1]),
            sdc10=_sum(confident & ~(change <= 0.1 * self._confidence)),
            sdc20=_sum(confident & ~(change <= 0.2 * self._confidence)),
            masked=_sum(same),
            due=len(finite) - _sum(finite),
            beneficial=_sum(right & ~self._right),
        )

    def _answers(self, finite: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which rows have a class: those without NaN and Inf, or all of them."""
        return np.ones_like(finite) if self._by_argmax else finite

    def _label_rank(self, scores: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many classes come before the label: higher scores, or equal ones with lower number."""
        own = scores[self._rows, self._labels][:, np.newaxis]
        higher, equal = scores > own, scores == own
        if self._by_argmax:  # NaN is neither higher nor equal, but comes first
            nan, own_nan = np.isnan(scores), np.isnan(own)
            higher |= nan & ~own_nan
            equal |= nan & own_nan
        rank: NDArray[np.int64] = (higher | (equal & self._before)).sum(axis=1)
        return rank

    def _confidence_of(self, scores: NDArray[Any], top1: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probability of each row's best class."""
        best = scores[self._rows, top1]
        if self._probabilities:
            return best.astype(np.float64)
        wide = scores if scores.dtype == np.float32 else scores.astype(np.float64)
        with np.errstate(all="ignore"):  # rows with NaN or Inf are left out afterwards
            confidence: NDArray[np.float64] = 1 / np.exp(wide - best[:, np.newaxis]).sum(axis=1, dtype=np.float64)
        return confidence


def _are_probabilities(scores: NDArray[Any]) -> bool:
    """Say whether every row lies in [0, 1] and sums to 1.

    >>> _are_probabilities(np.array([[.75, .25], [0, 1]])), _are_probabilities(np.array([[3., -2.]]))
    (True, False)
    """
    sums = scores.sum(axis=1, dtype=np.float64)
    return bool(((scores >= 0) & (scores <= 1)).all() and (np.abs(sums - 1) <= _SUM_TOLERANCE).all())


def _top5(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which classes are among each row's five best; of equal scores the lower class number is better.

    >>> _top5(np.array([[1, 2, 1, 1, 1, 1, 1]])).astype(int).tolist()
    [[1, 1, 1, 1, 1, 0, 0]]
    """
    backwards = np.argsort(scores[:, ::-1], axis=1, kind="stable")[:, -_TOP:]
    chosen = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(chosen, scores.shape[1] - 1 - backwards, True, axis=1)
    return chosen


def _finite(scores: NDArray[Any]) -> NDArray[np.bool_]:
    finite: NDArray[np.bool_] = np.isfinite(scores).all(axis=1)
    return finite


def _words(scores: NDArray[Any]) -> NDArray[Any]:
    """Return the scores' bits."""
    return np.ascontiguousarray(scores).view(f"u{scores.dtype.itemsize}")


def _sum(flags: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))
