"""Binary classification: one score per image, yes or no."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.arrays import bits_of, count_true, finite_rows, same_rows
from ftonnx.tasks.base import Counts, Fraction
from ftonnx.tasks.chance import near_chance
from ftonnx.tasks.one_output import ArrayJudge, described, outcome_shares, rows_of
from ftonnx.tasks.threshold import ThresholdTask

__all__ = ["Auroc", "Binary"]


@dataclass(frozen=True, kw_only=True)
class Binary(ThresholdTask):
    """One score per image, a probability or a logit; outputs ``(batch,)`` or ``(batch, 1)``, labels 0 and 1.

    An output with NaN or Inf is a detected error: neither right nor silent.

    Its counts:
        n: images.
        correct: the decision is the label.
        sdc: silent data corruption; the decision is not the golden run's.
        masked: output bit-identical to the golden run's.
        due: detected error; the output is NaN or Inf.
        beneficial: the decision is the label, and the golden run's was not.
        positives: images with label 1.
        hits: of these, those with decision 1.
        alarms: images with label 0 and decision 1.
        won: pairs of an image with label 1 and one with label 0 of the batch where the first has the higher score,
            counted double, and pairs with equal scores; an output with NaN or Inf wins nothing.
        pairs: pairs, counted double.

    >>> scores = np.array([.9, .2, .6])
    >>> found = Binary().count(np.array([.9, .8, .6]), scores, np.array([1, 0, 1]))
    >>> found.correct, found.sdc, found.masked, found.won / found.pairs
    (2, 1, 2, 0.5)
    """

    name: ClassVar[str] = "binary"
    counts: ClassVar[tuple[str, ...]] = (
        "n", "correct", "sdc", "masked", "due", "beneficial", "positives", "hits", "alarms", "won", "pairs",
    )  # fmt: skip
    fractions: ClassVar[Mapping[str, Fraction]] = {
        "accuracy": Fraction(count="correct", label="accuracy", says="are decided correctly"),
        "sdc": Fraction(count="sdc", label="SDC", says="silently get the other decision"),
        "masked": Fraction(count="masked", label="masked", says="have a bit-identical output"),
        "due": Fraction(count="due", label="DUE", says="have NaN or Inf as output, or none"),
        "beneficial": Fraction(count="beneficial", label="beneficial", says="are right only with the fault"),
    }
    headline: ClassVar[str] = "accuracy"
    harm: ClassVar[str] = "sdc"
    shown: ClassVar[tuple[str, ...]] = ("accuracy", "sdc", "due")
    golden: ClassVar[tuple[str, ...]] = ("accuracy",)
    outcomes: ClassVar[tuple[str, ...]] = ("masked", "sdc", "due")
    per_fault: ClassVar[tuple[str, ...]] = ("masked", "due")
    per_fault_brief: ClassVar[tuple[str, ...]] = ("masked", "due")
    parts: ClassVar[tuple[str, ...]] = ("masked", "tolerable", "SDC", "DUE")

    @property
    def expects(self) -> str:
        """See ``OneOutputTask.expects``."""
        return "one score per image, floats of shape (batch,) or (batch, 1),"

    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return the scores ``(images,)``."""
        scores = rows_of(value)
        if scores is None or scores.ndim != 1 or scores.dtype.kind != "f":
            return None
        return scores

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require labels 0 and 1."""
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            return f"labels 0 and 1, (images,), were expected, got {described(labels)}"
        known = classes or int(labels.max()) + 1
        if known > 2:
            return f"the labels name {known} classes, but the model gives one score per image, which tells two apart"
        return None

    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Decide the golden scores once for all runs of the batch."""
        return _DecisionJudge(self, golden, labels)

    @property
    def meaning(self) -> str:
        """What parts and fractions mean."""
        return (
            "Masked: the output is bit-identical to the fault-free one. Tolerable: it differs, the decision does not. "
            "SDC (silent data corruption): the other decision, and nothing shows it. DUE (detected, uncorrectable "
            "error): NaN or Inf as output, or no output; counted as wrong."
        )

    def clean_words(self, share: str, images: str) -> str:
        """Say how many images are right."""
        return f"decides {share} of {images} images correctly"

    def figures(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return sensitivity, specificity and the area under the ROC curve, of pairs within batches."""
        found = {}
        negatives = counts["n"] - counts["positives"]
        if counts["positives"]:
            found["sensitivity"] = counts["hits"] / counts["positives"]
        if negatives:
            found["specificity"] = 1 - counts["alarms"] / negatives
        if counts["pairs"]:
            found["auroc"] = counts["won"] / counts["pairs"]
        return found

    def shares(self, fractions: Mapping[str, float]) -> tuple[float, ...]:
        """Return the shares of ``parts``."""
        return outcome_shares(fractions, self.harm, fractions["due"])

    def caution(self, golden: float, classes: int | None, *, of: str = "") -> str | None:
        """Say that an accuracy is hardly better than guessing."""
        return near_chance(golden, 2, of=of)


@dataclass(frozen=True, kw_only=True)
class Auroc(Binary):
    """The same, but models are compared by the area under the ROC curve, over the pairs of images within each batch.

    Every batch must hold images of both labels.
    """

    name: ClassVar[str] = "auroc"
    counts: ClassVar[tuple[str, ...]] = Binary.counts
    fractions: ClassVar[Mapping[str, Fraction]] = {
        "auroc": Fraction(count="won", whole="pairs", label="AUROC", says="are ranked correctly"),
        **Binary.fractions,
    }
    headline: ClassVar[str] = "auroc"
    shown: ClassVar[tuple[str, ...]] = ("auroc", "accuracy", "sdc", "due")
    golden: ClassVar[tuple[str, ...]] = ("auroc", "accuracy")
    compares_images: ClassVar[bool] = True

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require both labels."""
        reason = super().misfit(values, labels, classes)
        if reason is None and labels.min() == labels.max():
            return f"a batch with images of both labels was expected, got only label {labels[0]}; use larger batches"
        return reason

    def clean_words(self, share: str, images: str) -> str:
        """Say how well images are ranked."""
        return f"reaches an AUROC of {share} on {images} images"

    def caution(self, golden: float, classes: int | None, *, of: str = "") -> str | None:
        """Say that a ranking is hardly better than chance."""
        return near_chance(golden, 2, of=of)


class _DecisionJudge(ArrayJudge):
    """Compares decisions with golden decisions and labels."""

    def __init__(self, task: Binary, golden: NDArray[Any], labels: NDArray[Any]) -> None:
        self._task = task
        self._bits = bits_of(golden)
        self._positive = labels == 1
        self._finite = finite_rows(golden)
        self._yes = task.decide(golden)
        self._right = self._finite & (self._yes == self._positive)
        negatives = count_true(~self._positive)
        self._positives = count_true(self._positive)
        self._pairs = 2 * self._positives * negatives

    def crashed(self) -> Counts:
        images = len(self._positive)
        nothing = dict.fromkeys(Binary.counts, 0)
        return Counts(nothing | {"n": images, "due": images, "positives": self._positives, "pairs": self._pairs})

    def count(self, values: NDArray[Any]) -> Counts:
        finite = finite_rows(values)
        yes = self._task.decide(values)
        right = finite & (yes == self._positive)
        silent = finite & self._finite & (yes != self._yes)
        return Counts(
            n=len(values),
            correct=count_true(right),
            sdc=count_true(silent),
            masked=count_true(same_rows(bits_of(values), self._bits)),
            due=len(values) - count_true(finite),
            beneficial=count_true(right & ~self._right),
            positives=self._positives,
            hits=count_true(right & self._positive),
            alarms=count_true(finite & yes & ~self._positive),
            won=_won(values, self._positive, finite),
            pairs=self._pairs,
        )


def _won(scores: NDArray[Any], positive: NDArray[np.bool_], finite: NDArray[np.bool_]) -> int:
    """Return the pairs in which the positive image has the higher score, double, and those with equal scores.

    Twice the statistic of Mann and Whitney (1947).

    >>> scores = np.array([.9, .5, .5, .1])
    >>> _won(scores, np.array([True, True, False, False]), np.isfinite(scores))
    7
    """
    high = scores[positive & finite]
    low = np.sort(scores[~positive & finite])
    below = np.searchsorted(low, high, side="left")
    not_above = np.searchsorted(low, high, side="right")
    return int(below.sum() + not_above.sum())
