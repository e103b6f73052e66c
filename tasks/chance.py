"""What a reader of accuracies must know before believing them: pure functions that return a text or nothing."""

from typing import Final

__all__ = ["CAUSES", "ONE_BATCH", "near_chance"]

CAUSES: Final = (
    "labels in another order or shifted by one, class folders missing or sorted differently, pixels from 0 to 1 where "
    "the model takes 0 to 255 or the other way round, a mean and std that are not the training's, channels in another "
    "order (RGB, BGR), or the wrong output of the model"
)

ONE_BATCH: Final = (
    "one batch of images says nothing of new ones, so there are no intervals: let fewer images share a pattern"
)

_NEAR: Final = 0.25  # of the way from guessing to being always right


def near_chance(accuracy: float, classes: int | None, *, of: str = "") -> str | None:
    """Say that a fault-free accuracy is hardly better than guessing; None where it is, or where nobody can tell.

    Chance is 1 / classes, and near it is what lies less than a quarter of the way up to 1. Fewer than two classes, or
    an unknown number of them, have no chance level; then only an accuracy of 0 is one of the kind.

    Args:
        accuracy: fault-free top-1 accuracy.
        classes: that the data know; None where nobody knows.
        of: whose accuracy, where it is not that of all images, such as `` of the first 128 images``.

    >>> near_chance(0.33, 10), near_chance(0.3, None), near_chance(0.5, 1)
    (None, None, None)
    >>> print(near_chance(0.3, 10))
    the fault-free accuracy, 30.00 %, is near chance (10.00 % for 10 classes), so these numbers say nothing about ...
    """
    if classes is None or classes < 2:
        level = "not one image is right"
        near = accuracy == 0
    else:
        chance = 1 / classes
        level = f"{100 * chance:.2f} % for {classes} classes"
        near = (accuracy - chance) / (1 - chance) < _NEAR
    if not near:
        return None
    return (
        f"the fault-free accuracy{of}, {100 * accuracy:.2f} %, is near chance ({level}), so these numbers say nothing "
        f"about faults; usual causes: {CAUSES}"
    )
