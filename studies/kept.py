"""Model files that are kept: which of them are there, whole and of the right content, and making the others.

Beside a file lies a record of what it was made from and of its digest, which is written last: without one, or with
another digest, a file is made again.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ftonnx.errors import FtonnxError, Interrupted
from ftonnx.files import digest_of, read_document, write_file
from ftonnx.inject import load_model
from ftonnx.studies.model_files import GivenFile, ModelFile
from ftonnx.studies.workshop import Workshop
from ftonnx.words import parsed_json

__all__ = ["KeptFiles"]

_logger: Final = logging.getLogger(__name__)


class KeptFiles:
    """The model files of a study.

    Attributes:
        shop: what making them needs.
    """

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._there: dict[ModelFile, Path] = {}
        self._failed: dict[ModelFile, FtonnxError] = {}
        self._digests: dict[tuple[Path, int, int], str] = {}

    def is_there(self, file: ModelFile) -> bool:
        """Say whether a file need not be made.

        Raises:
            FtonnxError: something that it is made from cannot be read.
        """
        path = file.path(self.shop)
        if isinstance(file, GivenFile):
            return True
        record = _recorded(_record_of(path))
        if record.get("key") != file.key(self.shop):
            return False
        return self._digest(path) == record.get("sha256")

    def made(self, file: ModelFile) -> Path:
        """Return the path of a file, which is made now where it is not there; what failed once is not tried again.

        Raises:
            FtonnxError: it cannot be made.
        """
        if file in self._failed:
            raise self._failed[file]
        if file not in self._there:
            try:
                self._there[file] = self._found_or_made(file)
            except Interrupted:
                raise
            except FtonnxError as error:
                self._failed[file] = error
                raise
        return self._there[file]

    def _digest(self, path: Path) -> str | None:
        """Return the digest of a file, which is read again once it was written; None where it cannot be read."""
        try:
            found = path.stat()
            seen = (path, found.st_mtime_ns, found.st_size)
            if seen not in self._digests:
                self._digests[seen] = digest_of(path).hex()
        except OSError:
            return None
        return self._digests[seen]

    def _found_or_made(self, file: ModelFile) -> Path:
        target = file.path(self.shop)
        if self.is_there(file):
            return target
        source = None if file.source is None else load_model(self.made(file.source))
        self.shop.check_stop()
        _logger.info("making %s", target)
        self.shop.begin(f"{file.model}/{file.name}")
        self.shop.make_folder(target.parent)
        file.make(target, source, self.shop)
        record = file.about(self.shop) | {"key": file.key(self.shop), "sha256": self._digest(target)}
        content = json.dumps(record, indent=1, sort_keys=True)
        write_file(content.encode(), _record_of(target))
        return target


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _recorded(path: Path) -> Mapping[str, Any]:
    """Return what is recorded of a file; nothing where there is no record that can be read."""
    try:
        found = parsed_json(read_document(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
