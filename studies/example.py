"""A study's file to begin with, on the embedded model and data."""

from pathlib import Path
from typing import Final

__all__ = ["example"]

_FILE: Final = Path(__file__).parent / "example.toml"


def example() -> str:
    """Return the text of a study's file, with comments; it runs in less than a minute."""
    return _FILE.read_text(encoding="utf-8")
