"""Tasks that judge one of a model's outputs, as an array of a fixed form."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ftonnx.errors import DataError
from ftonnx.tasks.base import Counts, Judge, MisfitError, Outputs, Task

__all__ = ["ArrayJudge", "OneOutputTask", "described", "outcome_shares", "rows_of"]

_INT_KEYS: Final = (int, np.integer)


class ArrayJudge(ABC):
    """Counts the outcomes of runs of one batch, given the judged output as an array."""

    @abstractmethod
    def count(self, values: NDArray[Any]) -> Counts:
        """Count the outcomes of one run."""

    @abstractmethod
    def crashed(self) -> Counts:
        """Return the outcomes of a run that gave no outputs."""


@dataclass(frozen=True, kw_only=True)
class OneOutputTask(Task):
    """A task that looks at one output.

    A leaf says how an output becomes the array that it judges (``arranged``), whether labels fit (``misfit``), and
    judges arrays (``judge_values``). Wherever outputs are expected, the only one may stand for itself.
    """

    @property
    @abstractmethod
    def expects(self) -> str:
        """What an output must be, for messages."""

    @abstractmethod
    def arranged(self, value: Any) -> NDArray[Any] | None:
        """Return an output as the array that is judged, one row per image; None where it cannot be one."""

    @abstractmethod
    def misfit(self, values: NDArray[Any], labels: NDArray[Any], classes: int | None) -> str | None:
        """Say why labels do not fit an arranged output; None where they do."""

    @abstractmethod
    def judge_values(self, golden: NDArray[Any], labels: NDArray[Any]) -> ArrayJudge:
        """Return what counts the outcomes of all runs of one batch, given the arranged golden output."""

    def check(self, outputs: Outputs | NDArray[Any], labels: NDArray[Any], classes: int | None) -> None:
        """See ``Task.check``."""
        value = _only(outputs)
        values = self.arranged(value)
        if values is None or len(values) != len(labels):
            got = f"{described(value)} for {len(labels)} images"
            raise MisfitError(f"{self.expects} was expected; got {got}; name another `output` or `task`")
        reason = self.misfit(values, labels, classes)
        if reason is not None:
            raise DataError(reason)

    def fitting(self, outputs: Outputs, labels: NDArray[Any], classes: int | None) -> list[str]:
        """Return the names of the outputs that have the form and fit the labels."""
        names = []
        for name, value in outputs.items():
            values = self.arranged(value)
            if values is None or len(values) != len(labels):
                continue
            if self.misfit(values, labels, classes) is None:
                names.append(name)
        return names

    def choose(self, outputs: Outputs, labels: NDArray[Any], classes: int | None) -> str | None:
        """See ``Task.choose``: the only output that has the form and fits the labels."""
        names = self.fitting(outputs, labels, classes)
        if len(names) == 1:
            return names[0]
        of_the_form = [name for name, value in outputs.items() if self._rows(value) == len(labels)]
        if len(of_the_form) == 1:
            # it is the labels that do not fit
            self.check({of_the_form[0]: outputs[of_the_form[0]]}, labels, classes)
        count = f"{len(names)} of them" if names else "none of them"
        listed = "; ".join(f"{name!r}: {described(value)}" for name, value in outputs.items())
        raise MisfitError(
            f"the model has {len(outputs)} outputs, and {count} can be what task {self.name} judges: {listed}; "
            "name one as `output`"
        )

    def _rows(self, value: Any) -> int | None:
        values = self.arranged(value)
        return None if values is None else len(values)

    def judge(self, golden: Outputs | NDArray[Any], labels: NDArray[Any]) -> Judge:
        """See ``Task.judge``."""
        return _OneOutputJudge(self, golden, labels)

    def hits(self, outputs: Outputs | NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_] | None:
        """See ``Task.hits``."""
        values = self.arranged(_only(outputs))
        return None if values is None else self.hits_of(values, labels)

    def hits_of(self, values: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Say of every image whether the headline counts it, given the arranged output."""
        return None

    def decisions(self, outputs: Outputs | NDArray[Any]) -> NDArray[Any] | None:
        """See ``Task.decisions``."""
        values = self.arranged(_only(outputs))
        return None if values is None else self.decisions_of(values)

    def decisions_of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what every image is taken for, given the arranged output: that itself, unless a leaf says better."""
        return values

    def count(self, outputs: Outputs | NDArray[Any], golden: Outputs | NDArray[Any], labels: NDArray[Any]) -> Counts:
        """Count the outcomes of one run."""
        return self.judge(golden, labels).count(_named(outputs))


class _OneOutputJudge(Judge):
    """Arranges the judged output before it is counted."""

    def __init__(self, task: OneOutputTask, golden: Outputs | NDArray[Any], labels: NDArray[Any]) -> None:
        values = task.arranged(_only(golden))
        if values is None:
            raise MisfitError(f"{task.expects} was expected; got {described(_only(golden))}")
        self._arranged = task.arranged
        self._shape = values.shape
        self._judge = task.judge_values(values, labels)

    def count(self, outputs: Outputs | NDArray[Any]) -> Counts:
        values = self._arranged(_only(outputs))
        # a fault in a shape can change that of the output
        if values is None or values.shape != self._shape:
            return self._judge.crashed()
        return self._judge.count(values)

    def crashed(self) -> Counts:
        return self._judge.crashed()


def _named(outputs: Outputs | NDArray[Any]) -> Outputs:
    return outputs if isinstance(outputs, Mapping) else {"output": outputs}


def _only(outputs: Outputs | NDArray[Any]) -> Any:
    """Return the only output.

    Raises:
        MisfitError: there are several.
    """
    if not isinstance(outputs, Mapping):
        return outputs
    if len(outputs) != 1:
        listed = ", ".join(outputs)
        raise MisfitError(f"one output was expected, got {len(outputs)}: {listed}; name one as `output`")
    return next(iter(outputs.values()))


def outcome_shares(fractions: Mapping[str, float], harm: str, due: float) -> tuple[float, float, float, float]:
    """Return the shares of images that are masked, tolerable, silently harmed and detected errors, which sum to 1.

    Args:
        fractions: with ``masked``, and what is silently harmed.
        harm: name of the latter.
        due: share of detected errors; a model that gives NaN without faults can be masked and one of them at once.

    >>> outcome_shares({"masked": 0.5, "sdc": 0.25}, "sdc", 0.0)
    (0.5, 0.25, 0.25, 0.0)
    """
    silent = fractions[harm]
    masked = min(fractions["masked"], 1 - due - silent)
    tolerable = max(0.0, 1 - masked - silent - due)
    return masked, tolerable, silent, due


def rows_of(value: Any) -> NDArray[Any] | None:
    """Return an output as an array ``(images, ...)`` without axes of size 1 behind the first; None where it is none.

    A list of one map per image, as converted scikit-learn models give it, is read as a column per key: keys that are
    numbers are class numbers and must be 0, 1, 2, ...; others are taken in their sorted order, as scikit-learn has it.

    >>> rows_of(np.zeros((2, 3, 1, 1))).shape, rows_of(np.zeros((1, 1))).shape
    ((2, 3), (1,))
    >>> rows_of([{0: .25, 1: .75}]).tolist()
    [[0.25, 0.75]]
    """
    array = _table(value) if isinstance(value, list) else value
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "fiub":
        # bfloat16 and the like have a kind of their own
        return None
    sizes = [size for size in array.shape[1:] if size != 1]
    return array.reshape((len(array), *sizes))


def _table(maps: list[Any]) -> NDArray[Any] | None:
    if not maps or not all(isinstance(each, dict) and each.keys() == maps[0].keys() for each in maps):
        return None
    keys = sorted(maps[0])
    numbered = all(isinstance(key, _INT_KEYS) for key in keys)
    if numbered and keys != list(range(len(keys))):
        return None
    return np.array([[each[key] for key in keys] for each in maps], np.float32)


def described(value: Any) -> str:
    """Return what an output is, for messages.

    >>> described(np.zeros((2, 3), np.float32)), described([{0: .5}])
    ('float32 of shape (2, 3)', 'a list of dict')
    """
    if isinstance(value, np.ndarray):
        kind = "texts" if value.dtype == object else value.dtype
        return f"{kind} of shape {value.shape}"
    if isinstance(value, list) and value:
        return f"a list of {type(value[0]).__name__}"
    return type(value).__name__
