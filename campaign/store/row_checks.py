"""Check values of recorded rows, by which a bit that flipped in a database is noticed."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING", "Row", "RowChecks", "Verified"]

Row = tuple[Any, ...]
"""The values of a row's columns."""

NOTHING: Final = -(1 << 63)
"""Stands for NULL, as a signed number; no column has such a one."""

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)


class Verified(NamedTuple):
    """What rows are compared with.

    Attributes:
        values: the bits of their columns, (rows, columns).
        checks: the check values that they should have, (rows,).
        is_good: which of them have these, (rows,).
    """

    values: NDArray[np.uint64]
    checks: NDArray[np.int64]
    is_good: NDArray[np.bool_]


class RowChecks:
    """Computes the check values of one table's rows, 64 bits each.

    A row's value is mixed of its columns, one after the other, by steps of which each can be undone: a row in which
    one column differs has another value for certain, one in which several do with probability 1 - 2^-64. The mixing
    starts at a key, so that a row of another campaign, or of another table, does not pass for one of this.
    """

    def __init__(self, fingerprint: str, table: str, types: Iterable[str]) -> None:
        """Say whose rows these are.

        Args:
            fingerprint: of the campaign's identity.
            table: its name.
            types: of its columns in SQL: ``REAL``, ``INTEGER`` or ``BLOB``.
        """
        key = hashlib.blake2b(f"{fingerprint} {table}".encode(), digest_size=8).digest()
        self._key = np.frombuffer(key, np.uint64)[0]
        layout = "=" + "".join("d" if kind == "REAL" else "q" for kind in types)
        self._row = struct.Struct(layout)
        self._row_and_check = struct.Struct(f"{layout}q")

    def of(self, rows: Sequence[Row]) -> NDArray[np.int64]:
        """Return the check values of rows, (rows,).

        Raises:
            ValueError: a column has a value of another type.
        """
        bits, is_read = _bits(rows, self._row)
        if not is_read.all():
            raise ValueError(f"a number was expected in every column, got {rows[int(is_read.argmin())]!r}")
        return self._mixed(bits)

    def verified(self, rows: Sequence[Row]) -> Verified:
        """Compare rows, each with its check value behind it, with what that should be."""
        bits, is_read = _bits(rows, self._row_and_check)
        values, recorded = bits[:, :-1], bits[:, -1]
        checks = self._mixed(values)
        return Verified(values, checks, is_read & (checks == recorded.view(np.int64)))

    def _mixed(self, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
        found = np.full(len(bits), self._key)
        for column in bits.T:
            found ^= column
            found *= _ODD
            found ^= found >> _HALF
        return found.view(np.int64)


def _bits(rows: Sequence[Row], layout: struct.Struct) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the bits of rows of numbers, (rows, columns), and which rows are of these types, (rows,)."""
    pack = layout.pack
    is_read = np.ones(len(rows), np.bool_)
    try:
        packed = [pack(*row) for row in rows]
    except struct.error:
        # a row with a NULL or bytes among them, or a damaged one
        found = [_packed(row, layout) for row in rows]
        is_read = np.array([each is not None for each in found], np.bool_)
        packed = [bytes(layout.size) if each is None else each for each in found]
    return np.frombuffer(b"".join(packed), np.uint64).reshape(-1, layout.size // 8), is_read


def _packed(row: Row, layout: struct.Struct) -> bytes | None:
    """Return the bytes of one row; None where a column has a value of another type."""
    try:
        return layout.pack(*map(_number, row))
    except struct.error:
        return None


def _number(value: Any) -> Any:
    """Return what stands for a value that is no number."""
    if value is None:
        return NOTHING
    if isinstance(value, bytes):
        return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest(), "little", signed=True)
    return value
