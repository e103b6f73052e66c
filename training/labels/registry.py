"""The kinds of labels; a new one needs a file of its own and its name here."""

from typing import Final

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError
from ftonnx.training.labels.base import Labels
from ftonnx.training.labels.class_numbers import ClassNumbers
from ftonnx.training.labels.label_maps import LabelMaps

__all__ = ["KINDS", "labels_of"]

KINDS: Final[tuple[type[Labels], ...]] = (ClassNumbers, LabelMaps)


def labels_of(data: Dataset, validation: Dataset, classes: int | None = None) -> Labels:
    """Return what is learnt from some images.

    Args:
        data: Training images.
        validation: Images that say which epoch is best.
        classes: Their number, where somebody said one.

    Raises:
        DataError: They have labels of no such kind, of one class only, or of others for validation.
        UsageError: There are more classes than were said.
    """
    for kind in KINDS:
        if kind.fit(data):
            return kind.of(data, validation, classes)
    expected = " or ".join(kind.form for kind in KINDS)
    labels = data.labels
    raise DataError(f"{data.name}: {expected} were expected as labels, got {labels.dtype} of shape {labels.shape}")
