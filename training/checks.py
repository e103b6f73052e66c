"""What is checked before a training: the classes of the images, and the names of the files."""

from pathlib import Path

import numpy as np

from ftonnx.datasets import Dataset
from ftonnx.errors import DataError, UsageError
from ftonnx.files import check_not_overwritten, check_target
from ftonnx.training.records import LOG_ENDING

__all__ = ["check_classes", "checked_log_path"]


def check_classes(data: Dataset, validation: Dataset, classes: int | None = None) -> None:
    """Refuse images of one class only, and classes that do not fit each other.

    Args:
        data: training images.
        validation: images that say which epoch is best.
        classes: size of the classifier, where somebody said one.

    Raises:
        DataError: training images are of one class, or validation images of others.
        UsageError: there are more classes than the classifier has.
    """
    if np.count_nonzero(data.counts()) < 2:
        raise DataError(f"{data.name}: images of two classes or more were expected, got one")
    if validation.classes != data.classes:
        expected = f"{data.classes} classes, as the training images have"
        raise DataError(f"{validation.name}: expected {expected}, got {validation.classes}")
    if classes is not None and classes < (data.classes or 0):
        raise UsageError(f"classes: {data.classes} or more were expected, as {data.name} has, got {classes}")


def checked_log_path(output: Path, *sources: Path) -> Path:
    """Return where the log of a training lies: beside its output.

    Args:
        output: what the training writes.
        sources: checkpoints that it starts from.

    Raises:
        UsageError: the output cannot be written, has the name of its own log, or is a source.
    """
    check_target(output)
    log = output.with_suffix(LOG_ENDING)
    if log == output:
        raise UsageError(f"{output}: this is the name of the log, which lies beside the output; choose another suffix")
    for source in sources:
        if source.exists():
            check_not_overwritten(output, source, "the checkpoint that it starts from")
    return log
