"""Tasks that decide by a threshold: scores of which everything above it means yes."""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from ftonnx.tasks.base import Outputs
from ftonnx.tasks.one_output import OneOutputTask

__all__ = ["ThresholdTask", "usual_threshold"]

_OF_PROBABILITIES: Final = 0.5
_OF_LOGITS: Final = 0.0


@dataclass(frozen=True, kw_only=True)
class ThresholdTask(OneOutputTask):
    """Scores above a threshold mean yes.

    Attributes:
        threshold: None for 0.5 where the golden scores of the first batch all lie in [0, 1], and for 0 (of logits)
            where they do not.
    """

    threshold: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether there is a threshold."""
        return self.threshold is not None

    def settled(self, outputs: Outputs, labels: NDArray[Any]) -> Self:
        """Return the task with the threshold that the scores ask for."""
        if self.threshold is not None:
            return self
        found = [usual_threshold(scores) for scores in map(self.arranged, outputs.values()) if scores is not None]
        return replace(self, threshold=min(found, default=_OF_PROBABILITIES))

    def decisions_of(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which scores of every image mean yes."""
        return self.decide(values)

    def decide(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which scores mean yes; a NaN does not."""
        level = _OF_PROBABILITIES if self.threshold is None else self.threshold
        yes: NDArray[np.bool_] = scores > level
        return yes


def usual_threshold(scores: NDArray[Any]) -> float:
    """Return the threshold that golden scores ask for: that of probabilities where all lie in [0, 1], else of logits.

    >>> usual_threshold(np.array([0.2, 1.0])), usual_threshold(np.array([0.2, 1.1]))
    (0.5, 0.0)
    """
    return _OF_PROBABILITIES if bool(((scores >= 0) & (scores <= 1)).all()) else _OF_LOGITS
