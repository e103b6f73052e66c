"""Layouts as files: what they are, a digest, an index in JSON, and plain numbers. Nothing in them is run."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["LENGTH_BYTES", "sealed", "unsealed"]

LENGTH_BYTES: Final = 8
"""Of the index's length, with which a body begins."""

_DIGEST_BYTES: Final = 32


def sealed(magic: bytes, index: Mapping[str, Any], pieces: Iterable[bytes]) -> bytes:
    """Return a file: ``magic`` says what it is and in which version, the body is the index and the pieces behind it."""
    head = json.dumps(index).encode()
    length = len(head).to_bytes(LENGTH_BYTES, "little")
    body = b"".join([length, head, *pieces])
    return magic + hashlib.sha256(body).digest() + body


def unsealed(magic: bytes, data: bytes, what: str) -> bytes:
    """Return the body of a file.

    Raises:
        ValueError: the bytes are damaged, of another version, or not ``what`` was expected.
    """
    start = len(magic) + _DIGEST_BYTES
    digest = data[len(magic) : start]
    body = data[start:]
    if not data.startswith(magic) or digest != hashlib.sha256(body).digest():
        raise ValueError(f"not {what}, of another version, or damaged")
    return body
