"""Whole numbers that texts from strangers say."""

from typing import Final

__all__ = ["whole_of"]

_MOST_DIGITS: Final = 18
"""All such numbers fit an int64; Python refuses to read those of more than 4,300 digits."""


def whole_of(text: str) -> int | None:
    """Return the number that up to eighteen digits say, and None for any other text.

    Digits are those of ASCII: others, such as ``²``, are no numbers to ``int``, or not the ones that are seen.

    >>> whole_of("0012"), whole_of("-1"), whole_of("²"), whole_of(""), whole_of("9" * 19)
    (12, None, None, None, None)
    """
    is_whole = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if is_whole else None
