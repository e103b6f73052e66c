"""Blueprints kept between runs, in the user's cache folder.

Finding a layout takes two optimizations of the model; reading it back takes none. Nothing here is
believed blindly: a damaged entry is ignored and written anew, and a session that opens from one is
compared with a fresh session on a flipped file like any other.
"""

import logging
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from ftonnx.runtime.blueprint import Contents, NotPossibleError, read_blueprint
from ftonnx.runtime.draft import Draft
from ftonnx.runtime.onnx_session import give_back

__all__ = ["LayoutCache", "Source", "cache_folder"]

_MOST_BYTES: Final = 200 * 2**20
_VARIABLE: Final = "FTONNX_CACHE"
_SUFFIX: Final = ".layout"
_PART: Final = ".part"
_REFUSED: Final = b"not possible: "
_logger = logging.getLogger(__name__)


class Source(Protocol):
    """Where a memory gets its blueprint and its arrays from."""

    def open(self, draft: Draft) -> Contents:
        """Return what the draft becomes.

        Raises:
            NotPossibleError: a target would have no place.
        """


class LayoutCache:
    """Blueprints by key: those opened through this object, and those in a folder.

    Attributes:
        folder: where the entries lie; None keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._opened: dict[str, Contents] = {}
        self._read: set[str] = set()
        self._distrusted: set[str] = set()

    def open(self, draft: Draft) -> Contents:
        """Return what the draft becomes: opened before, read from the folder, or made now.

        Raises:
            NotPossibleError: a target has no place, found out now or when the entry was written.
        """
        key = draft.key
        if key not in self._opened:
            self._opened[key] = self._read_entry(key, draft) or self._made(key, draft)
        return self._opened[key]

    def distrust(self) -> bool:
        """Forget and delete the entries that were read; say whether there were any."""
        found = bool(self._read)
        for key in self._read:
            _logger.debug("layout cache: entry %s is wrong and thrown away", key)
            self._opened.pop(key, None)
            with suppress(OSError):
                self._path(key).unlink()
        self._distrusted |= self._read
        self._read.clear()
        return found

    def _made(self, key: str, draft: Draft) -> Contents:
        try:
            blueprint = draft.draw()
        except NotPossibleError as error:
            self._write(key, _REFUSED + str(error).encode())
            raise
        give_back()
        self._write(key, blueprint.to_bytes())
        return draft.fill(blueprint)

    def _path(self, key: str) -> Path:
        return (self.folder or Path()) / f"{key}{_SUFFIX}"

    def _read_entry(self, key: str, draft: Draft) -> Contents | None:
        if self.folder is None or key in self._distrusted:
            return None
        try:
            if self._path(key).stat().st_size > _MOST_BYTES:
                raise ValueError("too large")
            data = self._path(key).read_bytes()
            if data.startswith(_REFUSED):
                refusal = data.removeprefix(_REFUSED).decode()
            else:
                filled = draft.fill(read_blueprint(data))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            _logger.debug("layout cache: entry %s is ignored: %s", key, error)
            return None
        self._read.add(key)
        with suppress(OSError):
            os.utime(self._path(key))  # the entries that are not used go first
        if data.startswith(_REFUSED):
            raise NotPossibleError(refusal)
        return filled

    def _write(self, key: str, data: bytes) -> None:
        """Write an entry in one step, and remove the oldest ones beyond the limit."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_whole(self._path(key), data)
            _prune(self.folder)
        except OSError as error:
            _logger.debug("layout cache: nothing is kept: %s", error)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file so that others see all of it or nothing."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=_PART, delete=False) as file:
        try:
            file.write(data)
            file.close()
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


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
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return configured if configured.is_absolute() else Path.home() / ".cache"


def _prune(folder: Path) -> None:
    """Remove the oldest files until the others fit, leftovers of killed processes among them."""
    entries = [path for path in folder.iterdir() if path.suffix in (_SUFFIX, _PART)]
    ages = sorted(((path.stat().st_mtime_ns, path) for path in entries), reverse=True)
    total = 0
    for _, path in ages:
        total += path.stat().st_size
        if total > _MOST_BYTES:
            path.unlink(missing_ok=True)
