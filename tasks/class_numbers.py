"""Classification by models that give the class itself, behind an ArgMax, and no scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from ftonnx.tasks.arrays import bits_of, count_true, same_rows
from ftonnx.tasks.base import Counts, Fraction
from ftonnx.tasks.chance import near_chance
from ftonnx.tasks.one_output import ArrayJudge, OneOutputTask, described, rows_of

__all__ = ["ClassNumbers"]


@dataclass(frozen=True, kw_only=True)
class ClassNumbers(OneOutputTask):
    """The class of every image as a number; outputs are integers ``(batch,)`` or ``(batch, 1)``.

    Without scores nothing is known of a second choice or of confidence, and no NaN shows.

    Its counts:
        n: images.
        correct1: the class is the label.
        sdc1: silent data corruption; the class is not the golden run's.
        masked: the class is the golden run's.
        due: detected error; the run gave no outputs.
        beneficial: the class is the label, and the golden run's was not.

    >>> import numpy as np
    >>> ClassNumbers().count(np.array([3, 1]), np.array([3, 2]), np.array([3, 2]))
    Counts(n=2, correct1=1, sdc1=1, masked=1, due=0, beneficial=0)
    """

    name: ClassVar[str] = "class-numbers"
    counts: ClassVar[tuple[str, ...]] = ("n", "correct1", "sdc1", "masked", "due", "beneficial")
    fractions: ClassVar[Mapping[str, Fraction]] = {
        "top1": Fraction(count="correct1", label="top-1", title="top-1 accuracy", says="are classified correctly"),
        "sdc1": Fraction(count="sdc1", label="SDC-1", says="silently get another class"),
        "masked": Fraction(count="masked", label="masked", says="have the same class as without faults"),
        "due": Fraction(count="due", label="DUE", says="get no output"),
        "beneficial": Fraction(count="beneficial", label="beneficial", says="are right only with the fault"),
    }
    headline: ClassVar[str] = "top1"
    harm: ClassVar[str] = "sdc1"
    shown: ClassVar[tuple[str, ...]] = ("top1", "sdc1", "due")
    golden: ClassVar[tuple[str, ...]] = ("top1",)
    outcomes: ClassVar[tuple[str, ...]] = ("masked", "sdc1", "due")
    per_fault: ClassVar[tuple[str, ...]] = ("masked", "due")
    per_fault_brief: ClassVar[tuple[str, ...]] = ("masked", "due")

    @property
    def expects(self) -> str:
        """See ``OneOutputTask.expects``."""
        return "class numbers, integers of shape (batch,) or (batch, 1),"

    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return the classes ``(images,)``."""
        classes = rows_of(value)
        if classes is None or classes.ndim != 1 or classes.dtype.kind not in "iu":
            return None
        return classes

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require one class number per image."""
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            return f"class numbers (images,) were expected as labels, got {described(labels)}"
        return None

    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Compare the golden classes with the labels once for all runs of the batch."""
        return _NumberJudge(golden, labels)

    @property
    def meaning(self) -> str:
        """What the fractions mean."""
        return (
            "SDC (silent data corruption, SDC-1): another class, and nothing shows it. DUE (detected, uncorrectable "
            "error): the run gave no output, counted as wrong."
        )

    def clean_words(self, share: str, images: str) -> str:
        """Say how many images are right."""
        return f"classifies {share} of {images} images correctly"

    def caution(self, golden: float, classes: int | None, *, of: str = "") -> str | None:
        """Say that an accuracy is hardly better than guessing."""
        return near_chance(golden, classes, of=of)


class _NumberJudge(ArrayJudge):
    """Compares classes with golden classes and labels."""

    def __init__(self, golden: NDArray[Any], labels: NDArray[Any]) -> None:
        self._labels = labels
        self._bits = bits_of(golden)
        self._right = golden == labels

    def crashed(self) -> Counts:
        images = len(self._labels)
        return Counts(n=images, correct1=0, sdc1=0, masked=0, due=images, beneficial=0)

    def count(self, values: NDArray[Any]) -> Counts:
        right = values == self._labels
        same = same_rows(bits_of(values), self._bits)
        return Counts(
            n=len(values),
            correct1=count_true(right),
            sdc1=count_true(~same),
            masked=count_true(same),
            due=0,
            beneficial=count_true(right & ~self._right),
        )
