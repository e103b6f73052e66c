"""Pages of mapped memory that a process holds because it has written into them."""

import mmap
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from ftonnx.inject.formats import Words

__all__ = ["PAGE", "CopiedPages"]

PAGE: Final = 4096
_LEAST_COPIES: Final = 256  # pages; less is not worth the system calls
_SHARE: Final = 8  # of all pages, so many to one may be copies


class CopiedPages:
    """Gives back the pages of mapped arrays that flips leave behind, before they are many.

    A page of a private mapping stays a process's own copy after its bits have been flipped back; one of a shared
    mapping stays in its resident set.
    """

    def __init__(self, arrays: Iterable[Words]) -> None:
        """Find the mappings; arrays that are not mapped have none."""
        self._mappings = _mappings_of(arrays)
        size = sum(len(mapping) for mapping in self._mappings)
        pages = size // PAGE
        self._most = max(_LEAST_COPIES, pages // _SHARE)
        self._copies = 0

    def restored(self, elements: int) -> None:
        """Note that so many elements have their original values again, as all others have.

        After a pattern that alone needs more copies than allowed nothing is given back: the next one like it would
        make them again, which takes a microsecond or two each.
        """
        # at worst each of them lies in a page of its own
        self._copies += elements
        too_many = self._copies > self._most
        if too_many and elements <= self._most:
            self.give_back()

    def give_back(self) -> None:
        """Give back all pages, whose elements have their original values."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapping in self._mappings:
                mapping.madvise(mmap.MADV_DONTNEED)
        self._copies = 0


def _mappings_of(arrays: Iterable[Words]) -> list[mmap.mmap]:
    mappings = []
    for words in arrays:
        mapping = _mapping_of(words)
        if mapping is not None:
            mappings.append(mapping)
    return mappings


def _mapping_of(words: Words) -> mmap.mmap | None:
    """Return the mapped file behind an array, which may be a view of a view."""
    base: Any = words
    while isinstance(base, np.ndarray):
        base = base.base
    # what numpy sees of a buffer
    if isinstance(base, memoryview):
        base = base.obj
    return base if isinstance(base, mmap.mmap) else None
