"""Texts from strangers, such as names of tensors, as terminals, logs, charts and spreadsheets may be given them."""

from typing import Final

__all__ = ["as_cell", "of_cell", "printable"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the begin of something to compute."""


def printable(text: str) -> str:
    r"""Return a text without the control characters that a terminal would obey, and a chart's renderer dies of.

    >>> printable("conv1\x1b[31m.weight")
    'conv1?[31m.weight'
    """
    return "".join(char if char.isprintable() else "?" for char in text)


def as_cell(text: str) -> str:
    """Return a text as a cell of a CSV file, which no spreadsheet computes.

    >>> as_cell("=HYPERLINK(1)"), as_cell("conv1.weight")
    ("'=HYPERLINK(1)", 'conv1.weight')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def of_cell(cell: str) -> str:
    """Return the text that ``as_cell`` made a cell of.

    >>> of_cell("'=HYPERLINK(1)"), of_cell("'quoted'")
    ('=HYPERLINK(1)', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
