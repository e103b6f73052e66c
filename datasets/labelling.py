"""What is to be said about the labels of a data set: which class is which, and what was left out."""

from dataclasses import dataclass

__all__ = ["Labelling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """How classes got their numbers.

    Attributes:
        names: One per class, None for a class without one; empty where nobody knows any.
        rule: By which rule the numbers were given, in words; empty where the data holds them as numbers.
        unused: Files and folders (these end in a slash) that lie there and are no part of the data set.
        warnings: What may be meant otherwise, one sentence each.
    """

    names: tuple[str | None, ...] = ()
    rule: str = ""
    unused: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
