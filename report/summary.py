"""Markdown for pull-request comments and job summaries."""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["markdown_table", "markdown_text"]

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    r"""Return a GitHub-flavoured Markdown table; text is shown as it is, never as markup.

    Args:
        header: column titles.
        rows: cells, as many per row as there are titles.
        left: the first so many columns are left-aligned, the others hold numbers.

    >>> print(markdown_table(["goal", "top-1"], [["a|b", "98.1 %"]]))
    | goal | top-1 |
    | :--- | ---: |
    | a\|b | 98.1 % |
    """
    marks = [":---" if column < left else "---:" for column in range(len(header))]
    lines = [
        [markdown_text(title) for title in header],
        marks,
        *([markdown_text(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    r"""Put a backslash before what Markdown would read as markup, and stay on one line.

    >>> markdown_text("<script>\nlayer_1.weight")
    '\\<script\\> layer\\_1.weight'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
