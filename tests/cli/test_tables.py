"""Tables that fit are drawn by ftonnx itself, as rich would."""

import io
import random

import pytest
from rich.console import Console
from rich.table import Table

from ftonnx.cli.tables import ColumnTable

LETTERS = "ab 日é[]:x"


def printed(table, width):
    """Return what a console prints."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(table)
    return out.getvalue()


@pytest.mark.parametrize("seed", range(30))
def test_a_table_is_the_one_that_rich_draws(seed):
    """Wide letters, folded cells and empty ones included."""
    rng = random.Random(seed)
    columns = [rng.choice(["", "a", "tensor", "日本"]) for _ in range(rng.randrange(1, 7))]
    left = rng.randrange(len(columns) + 1)
    mine = ColumnTable(*columns, left=left)
    other = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        other.add_column(column, justify="left" if place < left else "right", overflow="fold")
    for _ in range(rng.randrange(6)):
        cells = ["".join(rng.choices(LETTERS, k=rng.randrange(12))).strip() for _ in columns]
        mine.add_row(*cells)
        other.add_row(*cells)
    for width in (20, 160):
        assert printed(mine, width) == printed(other, width)
