"""What a file holds, told by few bytes."""

import hashlib
from pathlib import Path

__all__ = ["digest_of"]


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file's content, 32 bytes; the file may be larger than the memory.

    Raises:
        OSError: it cannot be read.
        ValueError: the path is none.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
