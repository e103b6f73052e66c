"""One memory for several processes: its arrays in a file that each of them maps, copy on write.

The process that proved a strategy writes the folder; the others check that it is about the same
model, space and options, and trust the proof. Pages without flipped bits are held once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from ftonnx.errors import StoreError, message_of
from ftonnx.files import reason_of
from ftonnx.inject.formats import Words
from ftonnx.runtime.layout.blueprint import Weights
from ftonnx.runtime.layout.blueprint_file import blueprint_bytes, read_blueprint
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.memory import Memory
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.layout.packing_file import packing_bytes, read_packing
from ftonnx.runtime.layout.pages import PAGE

__all__ = ["SharedFolder", "share_memory"]

_BLUEPRINT: Final = "blueprint"
_WEIGHTS: Final = "weights"
_PACKING: Final = "packing"
_INDEX: Final = "index.json"
_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, DecodeError)
About = Mapping[str, Any]
"""JSON values: which model, space and options a folder is about, and how the session runs."""
_Entries = dict[str, dict[str, Any]]
"""Per array where it begins in the file, and how many words of which type it has."""


def share_memory(
    folder: Path,
    about: About,
    inputs: Sequence[onnx.ValueInfoProto],
    memory: Memory | None,
    packing: Packing | None,
) -> None:
    """Write what other processes need in order to open the same memory.

    Args:
        folder: made if it does not exist.
        about: what the others must agree with, and need to know; ``disabled`` names the optimizers left out.
        inputs: the model's inputs that take data.
        memory: None where there is nothing to share.
        packing: where kernels keep packed weights; None where nobody needs to know.

    Raises:
        StoreError: the folder cannot be written.
    """
    groups: list[_Entries] = []
    names: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if memory is not None:
            blueprint = blueprint_bytes(memory.blueprint)
            (folder / _BLUEPRINT).write_bytes(blueprint)
            with (folder / _WEIGHTS).open("wb") as file:
                arrays = _written(memory.weights.arrays, file)
                parameters = _written(memory.weights.parameters, file)
            groups = [arrays, parameters]
            names = list(memory.names)
        if packing is not None:
            (folder / _PACKING).write_bytes(packing_bytes(packing))
        index = {
            "about": about,
            "groups": groups,
            "names": names,
            "inputs": [value.SerializeToString().hex() for value in inputs],
        }
        # last: a folder without an index holds nothing
        (folder / _INDEX).write_text(json.dumps(index))
    except OSError as error:
        raise StoreError(f"{folder}: the weights cannot be shared: {reason_of(error, folder / _INDEX)}") from error


def _written(arrays: Mapping[str, Words], file: BinaryIO) -> _Entries:
    """Write arrays, each from the beginning of a page on."""
    entries: _Entries = {}
    for name, words in arrays.items():
        rounded_up = -(-file.tell() // PAGE)
        file.seek(rounded_up * PAGE)
        entries[name] = {
            "offset": file.tell(),
            "words": len(words),
            "type": words.dtype.str,
        }
        words.tofile(file)
    return entries


class SharedFolder:
    """Opens what ``share_memory`` wrote.

    Attributes:
        about: what was written with it.
        inputs: the model's inputs that take data.
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
            written = [bytes.fromhex(each) for each in index["inputs"]]
            self.inputs = [onnx.ValueInfoProto.FromString(each) for each in written]
            self._groups: list[_Entries] = index["groups"]
            self._names: list[str] = index["names"]
        except _UNREADABLE as error:
            raise StoreError(f"{folder}: shared weights were expected: {message_of(error)}") from error

    def check(self, identity: About) -> None:
        """Refuse to serve another model, space or provider.

        Raises:
            StoreError: what was written differs.
        """
        different = []
        for name, value in identity.items():
            written = self.about.get(name)
            if written != value:
                different.append(name)
        if different:
            others = " and ".join(different)
            raise StoreError(f"{self._folder}: these shared weights are of another {others}")

    def open(self, draft: Draft) -> Memory:
        """Map the arrays; what a process writes into them is its own.

        Raises:
            NotPossibleError: they were written for other options than the draft's.
            StoreError: the folder is damaged.
        """
        if self.about.get("disabled") != list(draft.options.disabled):
            raise NotPossibleError("the shared weights are those of a graph that was optimized otherwise")
        try:
            data = (self._folder / _BLUEPRINT).read_bytes()
            blueprint = read_blueprint(data)
            arrays, parameters = self._groups
            weights = Weights(
                arrays=self._mapped(arrays),
                parameters=self._mapped(parameters),
            )
        except _UNREADABLE as error:
            raise StoreError(f"{self._folder}: the shared weights are damaged: {message_of(error)}") from error
        return Memory(blueprint, weights, draft.space, self._names)

    def packing(self, draft: Draft, find: Callable[[], Packing]) -> Packing:
        """Return where kernels keep packed weights; nothing is looked for.

        Raises:
            StoreError: the folder is damaged.
        """
        try:
            data = (self._folder / _PACKING).read_bytes()
            return read_packing(data)
        except _UNREADABLE as error:
            raise StoreError(f"{self._folder}: the shared weights are damaged: {message_of(error)}") from error

    def _mapped(self, entries: _Entries) -> dict[str, Words]:
        return {name: self._map(**entry) for name, entry in entries.items()}

    def _map(self, offset: int, words: int, type: str) -> Words:
        mapped = np.memmap(
            self._folder / _WEIGHTS,
            np.dtype(type),
            mode="c",  # what is written into it is this process's own
            offset=offset,
            shape=(words,),
        )
        # numpy's own class: a memmap is slower to index
        return mapped.view(np.ndarray)
