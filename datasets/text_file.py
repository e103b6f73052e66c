"""Text files from strangers."""

from pathlib import Path

from ftonnx.errors import DataError, describe
from ftonnx.files import require_plain

__all__ = ["read_text"]


def read_text(path: Path, expected: str, most_bytes: int) -> str:
    """Return the text of a file, without the mark that Windows editors begin it with.

    Args:
        path: The file.
        expected: What should be in it, for messages.
        most_bytes: A larger file is taken for something else.

    Raises:
        DataError: It cannot be read, is too large, or no UTF-8.
    """
    try:
        require_plain(path, most_bytes)
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected {expected} in UTF-8, got {describe(error)}") from error
