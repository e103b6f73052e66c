"""Tables as files."""

import io

import polars as pl

from ftonnx.words import as_cell

__all__ = ["csv_of", "parquet_of"]


def csv_of(frame: pl.DataFrame) -> bytes:
    """Return a table as CSV whose texts no spreadsheet takes for formulas."""
    safe = frame.with_columns(pl.col(pl.String).map_elements(as_cell, return_dtype=pl.String))
    return safe.write_csv().encode()


def parquet_of(frame: pl.DataFrame) -> bytes:
    """Return a table as Parquet."""
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()
