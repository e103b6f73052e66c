"""Image files told apart: pixels from bands, and files by their bytes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftonnx.datasets.checks import check_image_file
from ftonnx.errors import DataError, describe

__all__ = ["digest_of_files", "is_picture"]


def is_picture(image: NDArray[Any]) -> bool:
    """Whether an image is of pixels, and not of bands in units of their own."""
    return image.dtype == np.uint8


def digest_of_files(files: Iterable[Path]) -> bytes:
    """A SHA-256 digest over the files' own bytes: what they show is the same, and need not be decoded."""
    digest = hashlib.sha256()
    for file in files:
        content = _bytes(file)
        of_file = hashlib.sha256(content)
        digest.update(of_file.digest())
    return digest.digest()


def _bytes(file: Path) -> bytes:
    check_image_file(file)
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: expected a readable image, got {describe(error)}") from error
