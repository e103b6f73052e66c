"""Which of a data set's splits is meant."""

from collections.abc import Collection
from typing import Final

from ftonnx.errors import UsageError
from ftonnx.words import near

__all__ = ["USUAL_SPLIT", "chosen_split"]

USUAL_SPLIT: Final = "test"

_SAME: Final = ({"val", "valid", "validation", "dev"}, {"test", "testing"}, {"train", "training"})
"""Names that people use for one thing."""


def chosen_split(names: Collection[str], wanted: str | None, where: str) -> str:
    """The split that is wanted; where none is named, the test images, or the only split that there is.

    >>> chosen_split(["train", "test"], None, "here"), chosen_split(["train", "validation"], "val", "here")
    ('test', 'validation')

    Args:
        names: Of the splits that there are, at least one; an empty one where data are of no split.
        wanted: The one that was asked for, if any.
        where: They were found, for messages.

    Raises:
        UsageError: There is none of that name, or nobody can tell which is meant.
    """
    have = ", ".join(name for name in names if name) or "none"
    if wanted is None:
        if len(names) == 1:
            return next(iter(names))
        if USUAL_SPLIT in names:
            return USUAL_SPLIT
        raise UsageError(f"{where}: expected `split` to be one of {have}, got none; name one")
    if wanted in names:
        return wanted
    for same in _SAME:
        others = same.intersection(names)
        if wanted in same and len(others) == 1:
            return others.pop()
    raise UsageError(f"{where}: expected a split of {have}, got {wanted!r}{near(wanted, names)}")
