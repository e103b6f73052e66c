"""Regression: numbers that are right within a tolerance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import UsageError
from ftonnx.tasks.arrays import bits_of, count_true, finite_rows, same_rows
from ftonnx.tasks.base import Counts, Fraction
from ftonnx.tasks.one_output import ArrayJudge, OneOutputTask, described, rows_of

__all__ = ["Regression"]

_STEPS: Final = 100  # of an error, per tolerance
_MOST_STEPS: Final = 1000 * _STEPS  # so that no sum of squares leaves 64 bits


@dataclass(frozen=True, kw_only=True)
class Regression(OneOutputTask):
    """One or several numbers per image; outputs and labels are ``(batch, ...)``, axes of size 1 left out.

    An image is right where all its numbers are. Errors are counted in hundredths of the tolerance and, so that one
    flipped exponent does not drown all others, as a thousand tolerances at most.

    Its counts:
        n: images.
        within: every number is within the tolerance of its label.
        sdc: silent data corruption; a number is off the golden run's by more than the tolerance.
        masked: output bit-identical to the golden run's.
        due: detected error; the output holds NaN or Inf.
        numbers: numbers of images without a detected error.
        absolute: the sum of their absolute errors.
        squared: the sum of their squared errors.

    Attributes:
        tolerance: in the labels' unit.

    Raises:
        UsageError: the tolerance is missing, or no number above 0.

    >>> task = Regression(tolerance=.5)
    >>> found = task.count(np.array([1., 3.]), np.array([1., 2.]), np.array([1.25, 2.]))
    >>> found.within, found.sdc, task.figures(found)
    (1, 1, {'MAE': 0.625, 'RMSE': 0.7288689868556625})
    """

    name: ClassVar[str] = "regression"
    counts: ClassVar[tuple[str, ...]] = ("n", "within", "sdc", "masked", "due", "numbers", "absolute", "squared")
    fractions: ClassVar[Mapping[str, Fraction]] = {
        "within": Fraction(count="within", label="within tolerance", says="are right within the tolerance"),
        "sdc": Fraction(count="sdc", label="SDC", says="silently get a number off by more than the tolerance"),
        "masked": Fraction(count="masked", label="masked", says="have a bit-identical output"),
        "due": Fraction(count="due", label="DUE", says="have NaN or Inf in the output, or none"),
    }
    headline: ClassVar[str] = "within"
    harm: ClassVar[str] = "sdc"
    shown: ClassVar[tuple[str, ...]] = ("within", "sdc", "due")
    golden: ClassVar[tuple[str, ...]] = ("within",)
    outcomes: ClassVar[tuple[str, ...]] = ("masked", "sdc", "due")
    per_fault: ClassVar[tuple[str, ...]] = ("masked", "due")
    per_fault_brief: ClassVar[tuple[str, ...]] = ("masked", "due")

    tolerance: float = math.nan

    def __post_init__(self) -> None:
        """Check the tolerance."""
        number = isinstance(self.tolerance, int | float)
        if not number or not 0 < self.tolerance < math.inf:
            got = "none" if number and math.isnan(self.tolerance) else self.tolerance
            raise UsageError(
                "task regression needs a tolerance, the largest error that is no harm, in the labels' unit, as in "
                f"regression:tolerance=0.5; got {got}"
            )

    @property
    def expects(self) -> str:
        """See ``OneOutputTask.expects``."""
        return "numbers (batch, ...)"

    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return the numbers ``(images, numbers of one image)``."""
        numbers = rows_of(value)
        if numbers is None or numbers.dtype.kind not in "fiu":
            return None
        return numbers.reshape(len(numbers), -1)

    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Require a label for every number."""
        targets = self.arranged(labels)
        if targets is None or targets.shape != values.shape:
            return f"labels of shape {values.shape}, one for each number, were expected; got {described(labels)}"
        return None

    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Compare with the labels, and with the golden numbers."""
        return _ErrorJudge(self.tolerance, golden, labels.reshape(golden.shape).astype(np.float64))

    @property
    def meaning(self) -> str:
        """What the fractions mean."""
        return (
            f"The tolerance is {self.tolerance:g}. Masked: the output is bit-identical to the fault-free one. SDC "
            "(silent data corruption): a number is off the fault-free one by more than the tolerance, and nothing "
            "shows it. DUE (detected, uncorrectable error): NaN or Inf in the output, or no output; counted as wrong."
        )

    def clean_words(self, share: str, images: str) -> str:
        """Say how many images are right."""
        return f"is right within {self.tolerance:g} on {share} of {images} images"

    def figures(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the mean absolute error and the root of the mean squared one, in the labels' unit."""
        if not counts["numbers"]:
            return {}
        step = self.tolerance / _STEPS
        mean = step * counts["absolute"] / counts["numbers"]
        root = step * math.sqrt(counts["squared"] / counts["numbers"])
        return {"MAE": mean, "RMSE": root}


class _ErrorJudge(ArrayJudge):
    """Compares numbers with golden numbers and labels."""

    def __init__(self, tolerance: float, golden: NDArray[Any], labels: NDArray[np.float64]) -> None:
        self._tolerance = tolerance
        self._labels = labels
        self._bits = bits_of(golden)
        self._golden = golden.astype(np.float64)
        self._finite = finite_rows(golden)

    def crashed(self) -> Counts:
        images = len(self._labels)
        nothing = dict.fromkeys(Regression.counts, 0)
        return Counts(nothing | {"n": images, "due": images})

    def count(self, values: NDArray[Any]) -> Counts:
        finite = finite_rows(values)
        numbers = values.astype(np.float64)
        # rows with NaN or Inf are left out of all that follows from differences
        with np.errstate(all="ignore"):
            errors = np.abs(numbers - self._labels)
            changes = np.abs(numbers - self._golden)
        within = finite & (errors <= self._tolerance).all(axis=1)
        changed = (changes > self._tolerance).any(axis=1)
        steps = np.rint(np.minimum(errors[finite] * (_STEPS / self._tolerance), _MOST_STEPS)).astype(np.int64)
        return Counts(
            n=len(values),
            within=count_true(within),
            sdc=count_true(finite & self._finite & changed),
            masked=count_true(same_rows(bits_of(values), self._bits)),
            due=len(values) - count_true(finite),
            numbers=steps.size,
            absolute=int(steps.sum()),
            squared=int((steps * steps).sum()),
        )
