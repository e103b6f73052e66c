"""One memory for several processes: its arrays in a file that each of them maps, copy on write.

The process that proved a strategy writes the folder; the others check that it is about the same
model, space and options, and trust the proof. Pages without flipped bits are held once.
"""

import json
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from ftonnx.errors import StoreError, message_of
from ftonnx.inject.formats import Words
from ftonnx.runtime.blueprint import Contents, NotPossibleError, read_blueprint
from ftonnx.runtime.draft import Draft

__all__ = ["CopiedPages", "SharedFolder", "share_contents"]

_PAGE: Final = 4096
_LEAST_COPIES: Final = 256  # pages; less is not worth the system calls
_BLUEPRINT: Final = "blueprint"
_WEIGHTS: Final = "weights"
_INDEX: Final = "index.json"
About = Mapping[str, Any]
"""JSON values: which model, space and options a folder is about, and how the session runs."""


def share_contents(folder: Path, about: About, given: onnx.ValueInfoProto, contents: Contents | None) -> None:
    """Write what other processes need in order to open the same memory.

    Args:
        folder: made if it does not exist.
        about: what the others must agree with, and need to know; ``disabled`` names the optimizers left out.
        given: the model's input.
        contents: the memory; None where there is nothing to share.

    Raises:
        StoreError: the folder cannot be written.
    """
    places: list[dict[str, dict[str, Any]]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if contents is not None:
            (folder / _BLUEPRINT).write_bytes(contents.blueprint.to_bytes())
            with (folder / _WEIGHTS).open("wb") as file:
                for group in (contents.arrays, contents.parameters):
                    places.append({})
                    for name, words in group.items():
                        file.seek(-(-file.tell() // _PAGE) * _PAGE)
                        places[-1][name] = {"offset": file.tell(), "words": len(words), "type": words.dtype.str}
                        words.tofile(file)
        (folder / _INDEX).write_text(
            json.dumps({"about": about, "groups": places, "input": given.SerializeToString().hex()})
        )
    except OSError as error:
        raise StoreError(f"{folder}: the weights cannot be shared: {message_of(error)}") from error


class SharedFolder:
    """Opens what ``share_contents`` wrote.

    Attributes:
        about: what was written with it.
        input: the model's input.
    """

    def __init__(self, folder: Path) -> None:
        """Read the folder's index.

        Raises:
            StoreError: the folder holds no shared weights, or damaged ones.
        """
        self._folder = folder
        try:
            index = json.loads((folder / _INDEX).read_text())
            self.about: About = index["about"]
            self.input = onnx.ValueInfoProto.FromString(bytes.fromhex(index["input"]))
            self._groups: list[dict[str, dict[str, Any]]] = index["groups"]
        except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
            raise StoreError(f"{folder}: shared weights were expected: {message_of(error)}") from error

    def check(self, identity: About) -> None:
        """Refuse to serve another model, space or provider.

        Raises:
            StoreError: what was written differs.
        """
        different = [name for name, value in identity.items() if self.about.get(name) != value]
        if different:
            raise StoreError(f"{self._folder}: these shared weights are of another {' and '.join(different)}")

    def open(self, draft: Draft) -> Contents:
        """Map the arrays; what a process writes into them is its own.

        Raises:
            NotPossibleError: they were written for other options than the draft's.
            StoreError: the folder is damaged.
        """
        if self.about.get("disabled") != list(draft.options.disabled):
            raise NotPossibleError("the shared weights are those of a graph that was optimized otherwise")
        try:
            blueprint = read_blueprint((self._folder / _BLUEPRINT).read_bytes())
            arrays, parameters = ({name: self._map(**place) for name, place in g.items()} for g in self._groups)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self._folder}: the shared weights are damaged: {message_of(error)}") from error
        return Contents(blueprint=blueprint, arrays=arrays, parameters=parameters)

    def _map(self, offset: int, words: int, type: str) -> Words:
        return np.memmap(self._folder / _WEIGHTS, np.dtype(type), "c", offset, (words,)).view(np.ndarray)


class CopiedPages:
    """Gives back the copies that flips leave behind of pages of mapped arrays, before they are many.

    A page stays a process's own copy after its bits have been flipped back.
    """

    def __init__(self, arrays: Iterable[Words]) -> None:
        """Find the mappings; arrays that are not mapped have none."""
        self._mappings = [found for words in arrays if (found := _mapping_of(words)) is not None]
        pages = sum(len(mapping) for mapping in self._mappings) // _PAGE
        self._most, self._copies = max(_LEAST_COPIES, pages // 8), 0

    def restored(self, elements: int) -> None:
        """Note that so many elements have their original values again, as all others have.

        After a pattern that alone needs more copies than allowed nothing is given back: the next one like it would
        make them again, which takes a microsecond or two each.
        """
        self._copies += elements
        if elements <= self._most < self._copies and hasattr(mmap, "MADV_DONTNEED"):
            for mapping in self._mappings:
                mapping.madvise(mmap.MADV_DONTNEED)
            self._copies = 0


def _mapping_of(words: Words) -> mmap.mmap | None:
    base: Any = words
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
