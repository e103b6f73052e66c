"""Detection, as a task of one's own: `ftonnx inject MODEL --data ... --task detection.py:Detection:score=0.3`.

The model gives `boxes` (images, boxes, 4), as x1 y1 x2 y2, and `scores` (images, boxes); labels are the boxes of the
objects (images, objects, 4), with rows of zeros where an image has fewer.
"""

from dataclasses import dataclass

import numpy as np

from ftonnx.errors import DataError
from ftonnx.tasks import Counts, Fraction, Judge, MisfitError, Task


@dataclass(frozen=True, kw_only=True)
class Detection(Task):
    """An object is found by a box above the score that overlaps it enough; harm is a box that comes or goes."""

    name = "detection"
    counts = ("n", "objects", "found", "sdc", "masked", "due")
    fractions = {
        "recall": Fraction(count="found", whole="objects", label="recall", says="(object by object) are found"),
        "sdc": Fraction(count="sdc", label="SDC", says="silently get or lose a box"),
        "masked": Fraction(count="masked", label="masked", says="have bit-identical boxes and scores"),
        "due": Fraction(count="due", label="DUE", says="have NaN or Inf in boxes or scores, or none"),
    }
    headline = "recall"
    harm = "sdc"
    shown = ("recall", "sdc", "due")
    golden = ("recall",)
    outcomes = ("masked", "sdc", "due")

    score: float = 0.5
    overlap: float = 0.5

    def check(self, outputs, labels, classes):
        if not {"boxes", "scores"} <= set(outputs):
            raise MisfitError(f"outputs boxes and scores were expected, got {', '.join(outputs)}")
        if labels.ndim != 3 or not labels.any():
            raise DataError(f"boxes (images, objects, 4) were expected as labels, got shape {labels.shape}")

    def judge(self, golden, labels):
        return Detections(self, golden, labels)


class Detections(Judge):
    def __init__(self, task, golden, labels):
        self.task, self.golden, self.labels = task, golden, labels
        self.objects = int(labels.any(axis=2).sum())

    def count(self, outputs):
        boxes, scores = outputs["boxes"], outputs["scores"]
        finite = np.isfinite(boxes).all(axis=(1, 2)) & np.isfinite(scores).all(axis=1)
        kept = (scores > self.task.score) & finite[:, None]
        before = self.golden["scores"] > self.task.score
        found = self._hit(self.labels, boxes, kept) & self.labels.any(axis=2)
        gone = before & ~self._hit(self.golden["boxes"], boxes, kept)
        new = kept & ~self._hit(boxes, self.golden["boxes"], before)
        same = (boxes == self.golden["boxes"]).all(axis=(1, 2)) & (scores == self.golden["scores"]).all(axis=1)
        changed = finite & (gone.any(axis=1) | new.any(axis=1))
        outcomes = {"found": found, "sdc": changed, "masked": same, "due": ~finite}
        sums = {name: int(flags.sum()) for name, flags in outcomes.items()}
        return Counts({"n": len(boxes), "objects": self.objects} | sums)

    def crashed(self):
        images = len(self.labels)
        return Counts({"n": images, "objects": self.objects, "found": 0, "sdc": 0, "masked": 0, "due": images})

    def _hit(self, wanted, boxes, kept):
        """Say which of the wanted boxes overlap a kept one enough (intersection over union)."""
        with np.errstate(all="ignore"):  # boxes with NaN or Inf are not kept
            low = np.maximum(wanted[:, :, None, :2], boxes[:, None, :, :2])
            high = np.minimum(wanted[:, :, None, 2:], boxes[:, None, :, 2:])
            shared = np.clip(high - low, 0, None).prod(axis=3)
            union = _area(wanted)[:, :, None] + _area(boxes)[:, None, :] - shared
            return ((shared > self.task.overlap * union) & kept[:, None, :]).any(axis=2)


def _area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
