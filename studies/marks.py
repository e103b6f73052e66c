"""How an entry of a table stands out, and what that means.

Every form of a table, from Markdown to the page, shows the same marks with signs of its own.
"""

from collections.abc import Mapping
from enum import Flag, auto
from typing import Final

__all__ = ["COMPARED", "JUDGED", "RANKED", "SIGNS", "Mark", "legend_of"]


class Mark(Flag):
    """How an entry compares with the others of its column, with the same model as it is, or with a published number.

    A second best that overlaps with the best has both marks.
    """

    NONE = 0
    BEST = auto()
    SECOND = auto()
    OVERLAPS = auto()
    BETTER = auto()
    WORSE = auto()
    WITHIN = auto()
    APART = auto()

    @property
    def words(self) -> str:
        """The names of the marks, in this order; empty where there are none.

        >>> (Mark.OVERLAPS | Mark.SECOND).words
        'second overlaps'
        """
        return " ".join(str(mark.name).lower() for mark in self)


RANKED: Final = (Mark.BEST, Mark.SECOND, Mark.OVERLAPS)
"""The marks of a table of accuracies."""

COMPARED: Final = (Mark.BETTER, Mark.WORSE)
"""The marks of a table of differences."""

JUDGED: Final = (Mark.WITHIN, Mark.APART)
"""The marks of a table of published numbers."""

SIGNS: Final[Mapping[Mark, str]] = {
    Mark.BEST: "bold",
    Mark.SECOND: "italics",
    Mark.OVERLAPS: "†",
    Mark.BETTER: "↑",
    Mark.WORSE: "↓",
    Mark.WITHIN: "=",
    Mark.APART: "≠",
}
"""How marks are shown where a text can be bold."""

_MEANINGS: Final[Mapping[Mark, str]] = {
    Mark.BEST: "the best of a column",
    Mark.SECOND: "the second best",
    Mark.OVERLAPS: "the interval overlaps with the best one's",
    Mark.BETTER: "better than what it is compared with",
    Mark.WORSE: "worse",
    Mark.WITHIN: "within what faults and images leave open of both",
    Mark.APART: "further apart than that",
}


def legend_of(signs: Mapping[Mark, str]) -> str:
    """Return what the signs of a table mean.

    >>> legend_of({Mark.BEST: "bold", Mark.SECOND: "italics"})
    'bold: the best of a column; italics: the second best'
    """
    return "; ".join(f"{sign}: {_MEANINGS[mark]}" for mark, sign in signs.items())
