"""Rows that wait for the next transaction, which costs as much as many of them."""

import math
import time
from typing import Any, Final

__all__ = ["WaitingRows"]

_COMMIT_SECONDS: Final = 0.05

Row = tuple[Any, ...]


class WaitingRows:
    """Rows by table, in order, and how long ago the last transaction was.

    Attributes:
        rows: that wait.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self._committed = -math.inf

    def add(self, table: str, rows: list[Row]) -> None:
        """Let rows wait."""
        self.rows.setdefault(table, []).extend(rows)

    @property
    def are_due(self) -> bool:
        """Whether the last transaction is so long ago that the next one is worth it: small units share one."""
        return time.monotonic() - self._committed >= _COMMIT_SECONDS

    def committed(self) -> None:
        """Note that all of them are on disk."""
        self.rows.clear()
        self._committed = time.monotonic()
