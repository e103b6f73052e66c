"""Multi-label classification: several yes-or-no questions about every image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from ftonnx.tasks.arrays import bits_of, count_true, finite_rows, same_rows
from ftonnx.tasks.base import Counts, Fraction
from ftonnx.tasks.one_output import ArrayJudge, described, rows_of
from ftonnx.tasks.threshold import ThresholdTask

__all__ = ["MultiLabel"]


@dataclass(frozen=True, kw_only=True)
class MultiLabel(ThresholdTask):
    """Any number of classes per image; outputs are scores ``(batch, classes)``, labels 0 and 1 of the same shape.

    An image whose output holds NaN or Inf is a detected error: none of its decisions is right or silent.

    Its counts:
        n: images.
        exact: every decision is right.
        sdc: silent data corruption; a decision is not the golden run's.
        masked: output bit-identical to the golden run's.
        due: detected error; the output holds NaN or Inf.
        decisions: images times classes.
        right: decisions that are right.
        positives: labels that are 1.
        hits: of these, those with a yes.
        alarms: labels that are 0, with a yes.

    >>> import numpy as np
    >>> labels = np.array([[1, 0], [0, 1]])
    >>> found = MultiLabel().count(np.array([[.9, .1], [.8, .2]]), np.array([[.9, .1], [.8, .7]]), labels)
    >>> found.exact, found.sdc, found.right, MultiLabel().figures(found)["micro F1"]
    (1, 1, 2, 0.5)
    """

    name: ClassVar[str] = "multi-label"
    counts: ClassVar[tuple[str, ...]] = (
        "n", "exact", "sdc", "masked", "due", "decisions", "right", "positives", "hits", "alarms",
    )  # fmt: skip
    fractions: ClassVar[Mapping[str, Fraction]] = {
        "exact": Fraction(count="exact", label="exact match", says="get exactly the right labels"),
        "right": Fraction(count="right", whole="decisions", label="right decisions", says="(label by label) are right"),
        "sdc": Fraction(count="sdc", label="SDC", says="silently get other labels"),
        "masked": Fraction(count="masked", label="masked", says="have a bit-identical output"),
        "due": Fraction(count="due", label="DUE", says="have NaN or Inf in the output, or none"),
    }
    headline: ClassVar[str] = "exact"
    harm: ClassVar[str] = "sdc"
    shown: ClassVar[tuple[str, ...]] = ("exact", "right", "sdc", "due")
    golden: ClassVar[tuple[str, ...]] = ("exact", "right")
    outcomes: ClassVar[tuple[str, ...]] = ("masked", "sdc", "due")
    per_fault: ClassVar[tuple[str, ...]] = ("masked", "due")
    per_fault_brief: ClassVar[tuple[str, ...]] = ("masked", "due")

    @property
    def expects(self) -> str:
        """See ``OneOutputTask.expects``."""
        return "scores of shape (batch, classes)"

    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return the scores ``(images, classes)``."""
        scores = rows_of(value)
        if scores is None or scores.ndim != 2:
            return None
        return scores

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require a label 0 or 1 for every score."""
        if labels.shape != values.shape:
            return f"labels of shape {values.shape}, one for each score, were expected; got {described(labels)}"
        if not ((labels == 0) | (labels == 1)).all():
            return "labels 0 and 1 were expected, got others"
        return None

    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Decide the golden scores once for all runs of the batch."""
        return _LabelsJudge(self, golden, labels)

    @property
    def meaning(self) -> str:
        """What the fractions mean."""
        return (
            "Masked: the output is bit-identical to the fault-free one. SDC (silent data corruption): at least one "
            "label is decided otherwise, and nothing shows it. DUE (detected, uncorrectable error): NaN or Inf in the "
            "output, or no output; counted as wrong."
        )

    def clean_words(self, share: str, images: str) -> str:
        """Say how many images are right."""
        return f"labels {share} of {images} images exactly"

    def figures(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the F1 score over all decisions."""
        whole = counts["positives"] + counts["hits"] + counts["alarms"]
        return {"micro F1": 2 * counts["hits"] / whole} if whole else {}


class _LabelsJudge(ArrayJudge):
    """Compares decisions with golden decisions and labels."""

    def __init__(self, task: MultiLabel, golden: NDArray[Any], labels: NDArray[Any]) -> None:
        self._task = task
        self._bits = bits_of(golden)
        self._positive = labels == 1
        self._finite = finite_rows(golden)
        self._yes = task.decide(golden)
        self._positives = count_true(self._positive)

    def crashed(self) -> Counts:
        images = len(self._positive)
        nothing = dict.fromkeys(MultiLabel.counts, 0)
        sizes = {"n": images, "due": images, "decisions": self._positive.size, "positives": self._positives}
        return Counts(nothing | sizes)

    def count(self, values: NDArray[Any]) -> Counts:
        finite = finite_rows(values)
        # a row without an answer has no decisions at all
        answered = finite[:, None]
        yes = self._task.decide(values)
        right = answered & (yes == self._positive)
        changed = (yes != self._yes).any(axis=1)
        return Counts(
            n=len(values),
            exact=count_true(right.all(axis=1)),
            sdc=count_true(finite & self._finite & changed),
            masked=count_true(same_rows(bits_of(values), self._bits)),
            due=len(values) - count_true(finite),
            decisions=values.size,
            right=count_true(right),
            positives=self._positives,
            hits=count_true(right & self._positive),
            alarms=count_true(answered & yes & ~self._positive),
        )
