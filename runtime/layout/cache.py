"""Blueprints and packings kept between runs, in the user's cache folder.

Finding a layout takes two optimizations of the model, and finding a packing takes packing it three times; reading them
back takes none. Nothing here is believed blindly: a damaged entry is ignored and written anew, and a session that opens
from one is compared with a fresh session on a flipped file like any other.
"""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from ftonnx.files import PART, write_whole
from ftonnx.graphs import stored_anywhere
from ftonnx.runtime.layout.blueprint import Blueprint
from ftonnx.runtime.layout.blueprint_file import blueprint_bytes, read_blueprint
from ftonnx.runtime.layout.draft import Draft, NotPossibleError
from ftonnx.runtime.layout.drawing import draw
from ftonnx.runtime.layout.memory import Memory
from ftonnx.runtime.layout.packing import Packing
from ftonnx.runtime.layout.packing_file import packing_bytes, read_packing
from ftonnx.sessions import give_back

__all__ = ["LayoutCache", "cache_folder"]

_MOST_BYTES: Final = 200 * 2**20
_VARIABLE: Final = "FTONNX_CACHE"
_SUFFIX: Final = ".layout"
_PACKED: Final = "-packed"
_REFUSED: Final = b"not possible: "
_DAMAGED: Final = (OSError, ValueError, KeyError, IndexError, TypeError)
_logger = logging.getLogger(__name__)
_Known = TypeVar("_Known")


class LayoutCache:
    """Opens memories for one session, from blueprints in a folder where they are there.

    Attributes:
        folder: where the entries lie; None keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._opened: dict[str, Memory] = {}
        self._read: set[str] = set()
        self._distrusted: set[str] = set()

    def open(self, draft: Draft) -> Memory:
        """Return what the draft becomes: opened before, read from the folder, or made now.

        Drafts that differ in what the optimizer does not know share one memory.

        Raises:
            NotPossibleError: a target has no place, found out now or when the entry was written.
        """
        key = draft.key
        if key not in self._opened:
            memory = self._from_entry(key, draft)
            if memory is None:
                memory = self._from_scratch(key, draft)
            self._opened[key] = memory
        return self._opened[key]

    def packing(self, draft: Draft, find: Callable[[], Packing]) -> Packing:
        """Return where kernels keep packed weights: read from the folder, or found now."""
        key = f"{draft.key}{_PACKED}"
        known = self._known(key, read_packing)
        if known is not None:
            return known
        found = find()
        self._write(key, packing_bytes(found))
        return found

    def distrust(self) -> bool:
        """Forget and delete the entries that were read; say whether there were any."""
        wrong = set(self._read)
        for key in wrong:
            _logger.debug("layout cache: entry %s is wrong and thrown away", key)
            self._opened.pop(key, None)
            with suppress(OSError):
                self._path(key).unlink()
        self._distrusted |= wrong
        self._read.clear()
        return bool(wrong)

    def _from_scratch(self, key: str, draft: Draft) -> Memory:
        try:
            memory = draw(draft)
        except NotPossibleError as error:
            # else every session would find that out again
            refusal = str(error).encode()
            self._write(key, _REFUSED + refusal)
            raise
        give_back()
        self._write(key, blueprint_bytes(memory.blueprint))
        return memory

    def _from_entry(self, key: str, draft: Draft) -> Memory | None:
        """Return what the folder's entry becomes; None where there is none that fits the model."""

        def read(data: bytes) -> Memory | str:
            if data.startswith(_REFUSED):
                return data.removeprefix(_REFUSED).decode()
            return _filled(read_blueprint(data), draft)

        found = self._known(key, read)
        if isinstance(found, str):
            raise NotPossibleError(found)
        return found

    def _known(self, key: str, read: Callable[[bytes], _Known]) -> _Known | None:
        """Return an entry as ``read`` makes it of its bytes; None where there is none, or a damaged one."""
        if self.folder is None or key in self._distrusted:
            return None
        try:
            known = read(self._entry(key))
        except FileNotFoundError:
            return None
        except _DAMAGED as error:
            _logger.debug("layout cache: entry %s is ignored: %s", key, error)
            return None
        self._used(key)
        return known

    def _entry(self, key: str) -> bytes:
        path = self._path(key)
        # not one of ours, whatever it is
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        return path.read_bytes()

    def _used(self, key: str) -> None:
        self._read.add(key)
        with suppress(OSError):
            os.utime(self._path(key))  # the entries that are not used go first

    def _path(self, key: str) -> Path:
        folder = self.folder or Path()
        return folder / f"{key}{_SUFFIX}"

    def _write(self, key: str, data: bytes) -> None:
        """Write an entry in one step, and remove the oldest ones beyond the limit."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(data, self._path(key))
            _prune(self.folder)
        except OSError as error:
            _logger.debug("layout cache: nothing is kept: %s", error)


def _filled(blueprint: Blueprint, draft: Draft) -> Memory:
    """Put the model's stored values into a blueprint.

    Raises:
        ValueError: the blueprint does not fit the model.
    """
    named = draft.named(draft.model.structure)
    tensors = stored_anywhere(named.model)
    weights = blueprint.weights(tensors)
    return Memory(blueprint, weights, draft.space, named.names)


def cache_folder() -> Path | None:
    """Return the user's cache folder for ftonnx; None where FTONNX_CACHE is ``off`` or there is no home.

    FTONNX_CACHE names another folder. Linux: ``$XDG_CACHE_HOME/ftonnx`` or ``~/.cache/ftonnx``.
    """
    chosen = os.environ.get(_VARIABLE, "")
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen).absolute()
    try:
        return _system_cache() / "ftonnx"
    except RuntimeError:
        return None


def _system_cache() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        if local:
            return Path(local)
        return Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the XDG specification: relative paths are to be ignored
    if configured.is_absolute():
        return configured
    return Path.home() / ".cache"


def _prune(folder: Path) -> None:
    """Remove the oldest files until the others fit, leftovers of killed processes among them."""
    aged = []
    for path in folder.iterdir():
        # the folder may be one that the user has chosen, with other files in it
        if path.suffix in (_SUFFIX, PART):
            age = path.stat().st_mtime_ns
            aged.append((age, path))
    total = 0
    for _, path in sorted(aged, reverse=True):
        total += path.stat().st_size
        if total > _MOST_BYTES:
            path.unlink(missing_ok=True)
