"""Classification: one class per image, right or wrong, silently another one, or a detected error."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.tasks.arrays import bits_of, count_true, finite_rows, same_rows
from ftonnx.tasks.base import SIZE, Counts, Fraction
from ftonnx.tasks.chance import near_chance
from ftonnx.tasks.one_output import ArrayJudge, OneOutputTask, described, outcome_shares, rows_of

__all__ = ["NAN_RULES", "Classification", "NanRule"]

NanRule = Literal["due", "argmax"]
NAN_RULES: Final[tuple[NanRule, ...]] = get_args(NanRule)

_TOP: Final = 5
_SUM_TOLERANCE: Final = 0.01  # of probabilities in half precision or eight bits


@dataclass(frozen=True, kw_only=True)
class Classification(OneOutputTask):
    """One class per image; outputs are scores ``(batch, classes)``, with further axes of size 1 or without.

    Equal scores rank by class number, as ``argmax`` does. Where a model has fewer than five
    classes, every finite output has the label among its top five.

    Confidence is the largest softmax probability. Outputs that are probabilities already (the golden
    ones of the batch lie in [0, 1] and sum to 1 within 0.01) are taken as they are, others get a softmax.

    An output with NaN or Inf is a detected error: neither right nor silent. With ``nan="argmax"`` it is counted as a
    detected error too, and is judged like any other output besides: NaN ranks before every number, of several NaN the
    lowest class first, as numpy's and torch's argmax have it, and infinities are numbers. A confidence that comes out
    as no finite number is off by more than any share of a golden one; where the golden one is none, nothing is said
    of confidences. A run without outputs then has another class.

    Its counts:
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

    Attributes:
        nan: ``due`` or ``argmax``.

    Raises:
        UsageError: ``nan`` is neither.

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

    name: ClassVar[str] = "classification"
    counts: ClassVar[tuple[str, ...]] = (
        "n", "correct1", "correct5", "sdc1", "sdc5", "sdc10", "sdc20", "masked", "due", "beneficial",
    )  # fmt: skip
    fractions: ClassVar[Mapping[str, Fraction]] = {
        "top1": Fraction(count="correct1", label="top-1", title="top-1 accuracy", says="are classified correctly"),
        "top5": Fraction(count="correct5", label="top-5", says="have the right class among the first five"),
        "sdc1": Fraction(count="sdc1", label="SDC-1", says="silently get another class"),
        "sdc5": Fraction(count="sdc5", label="SDC-5", says="silently get a class far down the list"),
        "sdc10": Fraction(count="sdc10", label="SDC-10 %", says="get a confidence off by more than a tenth"),
        "sdc20": Fraction(count="sdc20", label="SDC-20 %", says="get a confidence off by more than a fifth"),
        "masked": Fraction(count="masked", label="masked", says="have a bit-identical output"),
        "due": Fraction(count="due", label="DUE", says="have NaN or Inf in the output, or none"),
        "beneficial": Fraction(count="beneficial", label="beneficial", says="are right only with the fault"),
    }
    headline: ClassVar[str] = "top1"
    harm: ClassVar[str] = "sdc1"
    shown: ClassVar[tuple[str, ...]] = ("top1", "sdc1", "due")
    golden: ClassVar[tuple[str, ...]] = ("top1", "top5")
    outcomes: ClassVar[tuple[str, ...]] = ("masked", "sdc1", "sdc5", "sdc10", "sdc20", "due")
    per_fault: ClassVar[tuple[str, ...]] = ("masked", "sdc5", "due")
    per_fault_brief: ClassVar[tuple[str, ...]] = ("masked", "due")
    judges_images: ClassVar[bool] = True
    parts: ClassVar[tuple[str, ...]] = ("masked", "tolerable", "SDC", "DUE")
    _MEANING: ClassVar[str] = (
        "Masked: the output is bit-identical to the fault-free one. Tolerable: it differs, the class does not. "
        "SDC (silent data corruption, SDC-1): another class, and nothing shows it. SDC-5: a class that is not among "
        "the fault-free run's first five. SDC-10 % and SDC-20 %: the confidence in the class is off by more than that. "
        "DUE (detected, uncorrectable error): NaN or Inf in the output, or no output; counted as wrong."
    )

    nan: NanRule = "due"

    def __post_init__(self) -> None:
        """Check the rule."""
        if self.nan not in NAN_RULES:
            raise UsageError(f"nan {self.nan!r} is not known: use {' or '.join(NAN_RULES)}")

    @property
    def expects(self) -> str:
        """See ``OneOutputTask.expects``."""
        return "a classifier's output, numbers of shape (batch, classes),"

    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return scores ``(images, classes)``, axes of size 1 left out; of one class alone there is no other."""
        scores = rows_of(value)
        if scores is None or scores.ndim != 2 or scores.dtype.kind not in "fiu":
            return None
        return scores

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require one class number per image, and a score for every class."""
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            return f"class numbers (images,) were expected as labels, got {described(labels)}"
        known = classes or int(labels.max()) + 1
        if known > values.shape[1]:
            return f"the labels name {known} classes, but the model scores only {values.shape[1]}"
        return None

    def hits_of(self, values: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
        """Say of every image whether the label is its top-1 class."""
        right: NDArray[np.bool_] = values.argmax(axis=1) == labels
        return right if self.nan == "argmax" else right & finite_rows(values)

    def decisions_of(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return every image's top-1 class."""
        classes: NDArray[np.int64] = values.argmax(axis=1)
        return classes

    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Rank the golden scores once for all runs of the batch."""
        return _ScoreJudge(golden, labels, by_argmax=self.nan == "argmax")

    @property
    def meaning(self) -> str:
        """What parts and fractions mean."""
        if self.nan == "due":
            return self._MEANING
        return (
            f"{self._MEANING} Here NaN counts by argmax: an output with NaN has the class that argmax finds, so "
            "it is masked, tolerable or SDC, and is counted as DUE once more in the table."
        )

    def clean_words(self, share: str, images: str) -> str:
        """Say how many images are right."""
        return f"classifies {share} of {images} images correctly"

    def counts_words(self, counts: Mapping[str, int]) -> str:
        """Say what one run's counts are."""
        return (
            f"of {counts['n']} images {counts['correct1']} top-1 correct, {counts['sdc1']} SDC-1, "
            f"{counts['masked']} masked, {counts['due']} DUE"
        )

    def outcome_words(self, shares: Mapping[str, str]) -> str:
        """Say how many outputs are silently wrong, detectably wrong, and unchanged."""
        return (
            f"{shares['sdc1']} of the images silently get another class, {shares['due']} of the outputs hold NaN or "
            f"Inf, which can be detected, and {shares['masked']} are bit-identical to the fault-free ones"
        )

    def shares(self, fractions: Mapping[str, float]) -> tuple[float, ...]:
        """Return the shares of ``parts``.

        Where NaN counts by argmax, every output has a class, and none is left for DUE.
        """
        due = 0.0 if self.nan == "argmax" else fractions["due"]
        return outcome_shares(fractions, self.harm, due)

    def caution(self, golden: float, classes: int | None, *, of: str = "") -> str | None:
        """Say that an accuracy is hardly better than guessing."""
        return near_chance(golden, classes, of=of)


class _ScoreJudge(ArrayJudge):
    """Compares scores with golden scores and labels.

    Runs are many and small, so whatever depends on the golden run alone is held.
    """

    def __init__(self, golden: NDArray[Any], labels: NDArray[np.int64], *, by_argmax: bool) -> None:
        self._bits = bits_of(golden)
        self._labels = labels
        self._by_argmax = by_argmax
        self._rows = np.arange(len(labels))
        columns = np.arange(golden.shape[1])
        self._before = columns < labels[:, np.newaxis]
        finite = finite_rows(golden)
        self._top1 = golden.argmax(axis=1)
        self._answered = self._answers(finite)
        self._right = self._answered & (self._top1 == labels)
        self._probabilities = _are_probabilities(golden[finite])
        self._confidence = self._confidence_of(golden, self._top1)
        self._confident = self._answered & np.isfinite(self._confidence)
        self._top5 = _top5(golden)
        self._unchanged = self._compared(golden, np.ones(len(labels), np.bool_))

    def crashed(self) -> Counts:
        lost = ("due", "sdc1", "sdc5", "sdc10", "sdc20") if self._by_argmax else ("due",)
        images = len(self._labels)
        nothing = dict.fromkeys(Classification.counts, 0)
        return Counts(nothing | dict.fromkeys((SIZE, *lost), images))

    def count(self, outputs: NDArray[Any]) -> Counts:
        same = same_rows(bits_of(outputs), self._bits)
        if same.all():  # most runs with few faults
            return self._unchanged
        return self._compared(outputs, same)

    def _compared(self, outputs: NDArray[Any], same: NDArray[np.bool_]) -> Counts:
        finite = finite_rows(outputs)
        top1 = outputs.argmax(axis=1)  # the first NaN, where there is one
        answered = self._answers(finite)
        right = answered & (top1 == self._labels)
        among5 = answered & (self._label_rank(outputs) < _TOP)
        # Silent is what differs between two answers; an output without one is detected.
        silent = answered & self._answered
        other1 = silent & (top1 != self._top1)
        other5 = silent & ~self._top5[self._rows, top1]
        confident = answered & self._confident
        # Rows with NaN or Inf have no change of confidence, or an infinite one.
        with np.errstate(all="ignore"):
            change = np.abs(self._confidence_of(outputs, top1) - self._confidence)
        # Not "above": a change that is NaN is off by more than anything.
        off10 = confident & ~(change <= 0.1 * self._confidence)
        off20 = confident & ~(change <= 0.2 * self._confidence)
        return Counts(
            n=len(finite),
            correct1=count_true(right),
            correct5=count_true(among5),
            sdc1=count_true(other1),
            sdc5=count_true(other5),
            sdc10=count_true(off10),
            sdc20=count_true(off20),
            masked=count_true(same),
            due=len(finite) - count_true(finite),
            beneficial=count_true(right & ~self._right),
        )

    def _answers(self, finite: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which rows have a class: those without NaN and Inf, or all of them."""
        return np.ones_like(finite) if self._by_argmax else finite

    def _label_rank(self, scores: NDArray[Any]) -> NDArray[np.int64]:
        """Return how many classes come before the label: higher scores, or equal ones with lower number."""
        own = scores[self._rows, self._labels][:, np.newaxis]
        higher = scores > own
        equal = scores == own
        if self._by_argmax:  # NaN is neither higher nor equal, but comes first
            nan = np.isnan(scores)
            own_nan = np.isnan(own)
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
